"""What the library d3rlpy is asked for: a learner with our settings, our data, and its nets.

The library's batches are filled from arrays, because its own sampling, transition by transition in
Python, takes longer than its steps; and what it learned is taken out of it, because its own files
are pickles.

Needs the extra ``baselines``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold.baselines.experience import Experience
from twinfold.baselines.offline_policy import (
    BestGenerated,
    BestLikelyValue,
    BestValue,
    Layers,
    MeanAction,
    Rule,
)
from twinfold.baselines.offline_settings import Algorithm, OfflineSettings
from twinfold.errors import UsageError
from twinfold.models.factor_model import Layer
from twinfold.tasks.task import Task


def make_learner(task: Task, algorithm: Algorithm, settings: OfflineSettings) -> Any:
    """Return the library's object for a task, with new weights.

    Args:
        task: its number of states and its actions.
        algorithm: ``"bcq"`` or ``"cql"``.
        settings: of the training.
    """
    d3rlpy = library("d3rlpy")
    encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=list(settings.hidden))
    shared = {"batch_size": settings.batch, "gamma": settings.discount}
    rate = settings.learning_rate
    if task.n_actions is not None:
        shared |= {
            "learning_rate": rate,
            "encoder_factory": encoder,
            "target_update_interval": settings.target_interval,
        }
        if algorithm == "bcq":
            own = d3rlpy.algos.DiscreteBCQConfig(
                action_flexibility=settings.bcq_threshold, beta=settings.bcq_penalty, **shared
            )
        else:
            own = d3rlpy.algos.DiscreteCQLConfig(alpha=settings.cql_weight, **shared)
    else:
        shared |= {
            "actor_learning_rate": rate,
            "critic_learning_rate": rate,
            "actor_encoder_factory": encoder,
            "critic_encoder_factory": encoder,
            "tau": settings.target_rate,
        }
        if algorithm == "bcq":
            own = d3rlpy.algos.BCQConfig(
                imitator_learning_rate=rate,
                imitator_encoder_factory=encoder,
                action_flexibility=settings.bcq_perturbation,
                n_action_samples=settings.bcq_candidates,
                **shared,
            )
        else:
            own = d3rlpy.algos.CQLConfig(
                temp_learning_rate=rate,
                alpha_learning_rate=0.0,  # the weight stays
                conservative_weight=settings.cql_weight_continuous,
                **shared,
            )
    learner = own.create(device=False)
    learner.create_impl((len(task.state_names),), task.n_actions or len(task.action_names))
    return learner


def batch_arrays(
    experience: Experience, task: Task, mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return transitions as the library's batches hold them, ``(K, ...)`` by their names there.

    States are standardised, continuous actions moved to [-1, 1]. The state behind a true end is
    never read: the library multiplies its value with 1 - terminal.

    Args:
        experience: K transitions.
        task: gives the range of the actions.
        mean: of the states, ``(D,)``.
        scale: ``(D,)``.
    """
    action = experience.action.reshape(len(experience), -1).astype(np.float32)
    if task.action_low is not None and task.action_high is not None:
        width = task.action_high - task.action_low
        action = (2.0 * (action - task.action_low) / width - 1.0).astype(np.float32)
    return {
        "observations": (experience.state - mean) / scale,
        "actions": action,
        "rewards": experience.reward[:, None],
        "next_observations": (experience.next_state - mean) / scale,
        "terminals": experience.terminal[:, None].astype(np.float32),
    }


def extract_rule(
    learner: Any, task: Task, algorithm: Algorithm, settings: OfflineSettings, seed: int
) -> Rule:
    """Return what a trained object of the library does in a state, as our own nets.

    Args:
        learner: from :func:`make_learner`.
        task: whether its actions are levels.
        algorithm: ``"bcq"`` or ``"cql"``.
        settings: of the training.
        seed: of the latents of BCQ with continuous actions.
    """
    modules = learner.impl.modules
    if task.n_actions is not None:
        values = _layers(modules.q_funcs[0], "_fc")
        if algorithm == "cql":
            return BestValue(values)
        return BestLikelyValue(values, _layers(modules.imitator, "_fc"), settings.bcq_threshold)
    if algorithm == "cql":
        return MeanAction(_layers(modules.policy, "_mu"))
    shape = settings.bcq_candidates, 2 * len(task.action_names)
    drawn = np.random.default_rng((seed, 1)).standard_normal(shape)
    return BestGenerated(
        generator=_layers(modules.vae_decoder, "_fc"),
        perturbation=_layers(modules.policy, "_fc"),
        values=_layers(modules.q_funcs[0], "_fc"),
        latents=jnp.asarray(np.clip(drawn, -0.5, 0.5), jnp.float32),  # as the library clips them
        reach=settings.bcq_perturbation,
    )


def _layers(module: Any, head: str) -> Layers:
    """Return the dense layers of one of the library's nets; PyTorch stores their transposes."""
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    chain = [name for name in names if "_encoder." in name]  # in the order of the net
    return tuple(
        Layer(
            jnp.asarray(weights[f"{name}.weight"].T.copy()),
            jnp.asarray(weights[f"{name}.bias"].copy()),
        )
        for name in (*chain, head)
    )


@contextlib.contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """Let PyTorch compute on one thread, with a seed; leave it as it was.

    Small nets gain nothing from a second thread, and policies are trained side by side in
    processes.
    """
    torch = library("torch")
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def library(module: str) -> Any:
    """Return a module of the library, or PyTorch.

    Raises:
        UsageError: it is not installed.
    """
    try:
        # An old package that the library still imports prints that it is old.
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module(module)
    except ImportError:
        raise UsageError(
            "BCQ and CQL need d3rlpy; install it with: pip install 'twinfold[baselines]'"
        ) from None
