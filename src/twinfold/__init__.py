"""A digital twin for every agent, from one trajectory each.

What most programs need is here; each package exports the rest (``twinfold.planning``,
``twinfold.ope``, ...). A name that is also the name of its module (``fit``, ``adapt``,
``validate``, ``policy_value``, ``collect``) is exported here only: in its package the module would
hide it.

Names are loaded when they are first used: ``import twinfold`` is instant and loads nothing else,
so that the command hears Ctrl-C almost from its start.
"""

__version__ = "0.1.0"


def _attach() -> None:
    """Put the public names in place; until then their loader is not loaded either."""
    import lazy_loader

    names = lazy_loader.attach_stub(__name__, __file__)
    globals().update(zip(("__getattr__", "__dir__", "__all__"), names, strict=True))


def __getattr__(name: str) -> object:
    _attach()
    return globals()["__all__"] if name == "__all__" else __getattr__(name)


def __dir__() -> list[str]:
    _attach()
    return __dir__()
