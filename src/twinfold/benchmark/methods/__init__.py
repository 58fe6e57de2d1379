"""The methods that a suite can name: what each is, what it can do, how it is fitted and asked.

``method`` is what the benchmark asks of a method, ``registry`` the list of all, ``simulators`` what
those made of ``twinfold.fit`` share; every other file is a method. Nothing else of the benchmark
knows a method by its name. Describing and configuring methods needs no JAX; fitting them does.
"""
