"""BCQ and CQL by the library d3rlpy: a policy from recorded data alone.

- BCQ: Fujimoto, Meger, Precup, ICML 2019; for discrete actions Fujimoto, Conti, Ghavamzadeh,
  Pineau, 2019 (arXiv 1910.01708).
- CQL: Kumar, Zhou, Tucker, Levine, NeurIPS 2020.

Either learns one policy from the trajectories of all agents (*-P* in the PerSim paper) or one from
those of a single agent (*-A*). The library computes losses and steps (``d3rlpy_learner``); a
learned policy acts without it (``offline_policy``).

Needs the extra ``baselines``.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.baselines.d3rlpy_learner import (
    batch_arrays,
    extract_rule,
    library,
    make_learner,
    one_thread,
)
from twinfold.baselines.experience import Experience, experience_of
from twinfold.baselines.offline_policy import OfflineActor, OfflineInfo, OfflinePolicy
from twinfold.baselines.offline_settings import (
    ALGORITHMS,
    Algorithm,
    AugmentationSettings,
    OfflineSettings,
    offline_settings,
)
from twinfold.data.ids import AgentId
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError, one_of
from twinfold.models.run_info import HIDDEN
from twinfold.tasks.task import Task
from twinfold.utils.seeds import check_seed

Progress = Callable[[str, int, int], None]

_DEVICE = "cpu:0"
_REPORT = 50  # steps between two calls of progress
_LAST = 20  # the losses in the record are the mean of one of so many parts, the last


class Origin(NamedTuple):
    """Where transitions come from, for the record.

    Attributes:
        fingerprint: of the data set.
        agents: ids of those whose trajectories these are; None for all of the data set.
        source: where the data set comes from.
        augmentation: how simulated transitions were made; None if there are none.
        simulated: number of these.
    """

    fingerprint: str
    agents: tuple[AgentId, ...] | None = None
    source: Mapping[str, Any] | None = None
    augmentation: AugmentationSettings | None = None
    simulated: int = 0


def fit_offline(
    dataset: PanelDataset,
    task: Task,
    algorithm: Algorithm,
    agents: Sequence[AgentId] | None = None,
    settings: OfflineSettings | None = None,
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> OfflinePolicy:
    """Return a policy learned from recorded trajectories.

    Args:
        dataset: the trajectories.
        task: gives rewards, ends, and the range of the actions; its dynamics are not used.
        algorithm: ``"bcq"`` or ``"cql"``.
        agents: ids of the agents to learn from; None for all (-P), a single one for -A.
        settings: of the training; those of the case if None (``offline_settings``).
        seed: of the weights and the batches.
        source: where the data comes from, for the record; true physics are left out.
        progress: receives (what, steps done, steps in all).

    Raises:
        UsageError: an agent or the algorithm is unknown, the data does not fit the task, the seed
            cannot be used, or d3rlpy is not installed.
    """
    library("d3rlpy")
    chosen = dataset if agents is None else dataset.select_agents(agents)
    one_agent = agents is not None and len(agents) == 1
    return train_offline(
        experience_of(chosen, task),
        task,
        algorithm,
        settings or offline_settings(task.action_type, one_agent=one_agent),
        seed,
        Origin(dataset.fingerprint(), None if agents is None else chosen.agent_ids, source),
        progress,
    )


def train_offline(
    experience: Experience,
    task: Task,
    algorithm: Algorithm,
    settings: OfflineSettings,
    seed: int,
    origin: Origin,
    progress: Progress | None = None,
) -> OfflinePolicy:
    """Return a policy learned from transitions.

    Args:
        experience: all transitions.
        task: gives the range of the actions.
        algorithm: ``"bcq"`` or ``"cql"``.
        settings: of the training.
        seed: of the weights and the batches.
        origin: of the transitions, for the record.
        progress: receives (what, steps done, steps in all).

    Raises:
        UsageError: the algorithm is unknown, the seed cannot be used, or d3rlpy is not installed.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"unknown algorithm {algorithm!r}; {one_of(ALGORITHMS)}")
    check_seed(seed)
    begun = time.perf_counter()
    mean, scale = _standardisation(experience)
    with one_thread(seed):
        learner = make_learner(task, algorithm, settings)
        arrays = batch_arrays(experience, task, mean, scale)
        what = f"training of {algorithm.upper()}"
        losses = _learn(learner, arrays, settings, seed, what, progress)
        rule = extract_rule(learner, task, algorithm, settings, seed)
    low, high = task.action_low, task.action_high
    actor = OfflineActor(
        rule=rule,
        state_mean=jnp.asarray(mean),
        state_scale=jnp.asarray(scale),
        action_low=None if low is None else jnp.asarray(low, jnp.float32),
        action_high=None if high is None else jnp.asarray(high, jnp.float32),
    )
    return OfflinePolicy(
        actor=actor,
        algorithm=algorithm,
        task=task.name,
        settings=settings,
        seed=seed,
        augmentation=origin.augmentation,
        info=_info(experience, settings, losses, time.perf_counter() - begun, origin),
    )


def _learn(
    learner: Any,
    arrays: dict[str, NDArray[np.float32]],
    settings: OfflineSettings,
    seed: int,
    what: str,
    progress: Progress | None,
) -> dict[str, float | None]:
    """Take all steps; return the mean losses of the last of them."""
    torch = library("torch")
    batch_of = library("d3rlpy.torch_utility").TorchMiniBatch
    tensors = {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
    unused = torch.zeros(settings.batch, 1)  # these algorithms read neither
    ones = torch.ones(settings.batch, 1)
    rng = np.random.default_rng((seed, 0))
    first = settings.steps - max(1, settings.steps // _LAST)
    sums: defaultdict[str, float] = defaultdict(float)
    for step in range(settings.steps):
        rows = torch.from_numpy(rng.integers(0, len(arrays["rewards"]), settings.batch))
        chosen = {name: tensor[rows] for name, tensor in tensors.items()}
        batch = batch_of(
            **chosen,
            next_actions=chosen["actions"],
            returns_to_go=unused,
            intervals=ones,
            device=_DEVICE,
        )
        found = learner.impl.update(batch, step)
        if step >= first:
            for name, loss in found.items():
                sums[name] += loss / (settings.steps - first)
        if progress is not None and ((step + 1) % _REPORT == 0 or step + 1 == settings.steps):
            progress(what, step + 1, settings.steps)
    return {name: loss if math.isfinite(loss) else None for name, loss in sums.items()}


def _standardisation(experience: Experience) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of the states; 1 for one that never changes."""
    mean, scale = experience.state.mean(axis=0), experience.state.std(axis=0)
    return mean.astype(np.float32), np.where(scale > 0, scale, 1.0).astype(np.float32)


def _info(
    experience: Experience,
    settings: OfflineSettings,
    losses: dict[str, float | None],
    seconds: float,
    origin: Origin,
) -> OfflineInfo:
    """Return where a policy comes from."""
    source = origin.source or {}
    return OfflineInfo(
        twinfold=__version__,
        d3rlpy=importlib.metadata.version("d3rlpy"),
        torch=importlib.metadata.version("torch"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        fingerprint=origin.fingerprint,
        source={key: value for key, value in source.items() if key not in HIDDEN},
        agents=origin.agents,
        episodes=int(experience.episode[-1]) + 1,
        transitions=len(experience),
        ends=int(experience.terminal.sum()),
        simulated=origin.simulated,
        steps=settings.steps,
        losses=losses,
        seconds=round(seconds, 2),
    )
