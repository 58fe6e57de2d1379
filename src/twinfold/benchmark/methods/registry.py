"""All methods, one line each; their order is that of messages. No JAX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twinfold.benchmark.methods.cadm import CADM, CADM_PETS
from twinfold.benchmark.methods.method import Ability, Method
from twinfold.benchmark.methods.morel import MOREL_A, MOREL_P
from twinfold.benchmark.methods.offline import BCQ_A, BCQ_P, CQL_A, CQL_P, PERSIM_BCQ, PERSIM_CQL
from twinfold.benchmark.methods.per_agent import PER_AGENT
from twinfold.benchmark.methods.persim import PERSIM
from twinfold.benchmark.methods.pooled import POOLED
from twinfold.benchmark.methods.true_env_mpc import TRUE_ENV_MPC
from twinfold.errors import UsageError, one_of

_METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        PERSIM,
        CADM,
        CADM_PETS,
        POOLED,
        PER_AGENT,
        BCQ_P,
        BCQ_A,
        CQL_P,
        CQL_A,
        MOREL_P,
        MOREL_A,
        PERSIM_BCQ,
        PERSIM_CQL,
        TRUE_ENV_MPC,
    )
}


def method_names(ability: Ability | None = None) -> tuple[str, ...]:
    """Return the names of all methods, or of those with an ability."""
    return tuple(
        name for name, method in _METHODS.items() if ability is None or ability in method.abilities
    )


def get_method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in _METHODS:
        raise UsageError(f"unknown method {name!r}; {one_of(_METHODS)}")
    return _METHODS[name]


def method_of(model: Any) -> Method:
    """Return the method that a fit is of, by its type.

    Raises:
        UsageError: no method knows it.
    """
    for method in _METHODS.values():
        if method.owns(model):
            return method
    raise UsageError(f"no method of the benchmark knows what a {type(model).__name__} is")


def register(method: Method) -> None:
    """Add a method of one's own for as long as this process runs.

    Raises:
        UsageError: the name is taken.
    """
    if method.name in _METHODS:
        raise UsageError(f"there is a method {method.name!r} already; choose another name")
    _METHODS[method.name] = method


@contextmanager
def registered(method: Method) -> Iterator[None]:
    """Have a method of one's own within a block."""
    register(method)
    try:
        yield
    finally:
        _METHODS.pop(method.name, None)
