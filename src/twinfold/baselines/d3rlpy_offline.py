"""BCQ and CQL by the library d3rlpy: a policy from recorded data alone.

- BCQ: Fujimoto, Meger, Precup, ICML 2019; for discrete actions Fujimoto, Conti, Ghavamzadeh,
  Pineau, 2019 (arXiv 1910.01708).
- CQL: Kumar, Zhou, Tucker, Levine, NeurIPS 2020.

Either learns one policy from the trajectories of all agents (*-P* in the PerSim paper) or one from
those of a single agent (*-A*). The library computes losses and steps. Batches are drawn here, from
arrays, because its own sampling, transition by transition in Python, takes longer than its steps;
and what it learned is taken out of it (``offline_policy``), because its own files are pickles.

Needs the extra ``baselines``.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import importlib.metadata
import io
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.baselines.experience import Experience, experience_of
from twinfold.baselines.offline_policy import (
    BestGenerated,
    BestLikelyValue,
    BestValue,
    Layers,
    MeanAction,
    OfflineActor,
    OfflineInfo,
    OfflinePolicy,
    Rule,
)
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
from twinfold.models.factor_model import Layer
from twinfold.models.run_info import HIDDEN
from twinfold.tasks.task import Task
from twinfold.utils.seeds import check_seed

Progress = Callable[[str, int, int], None]

_DEVICE = "cpu:0"
_REPORT = 50  # steps between two calls of progress
_LAST = 20  # the losses in the record are the mean of one of so many parts, the last


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
    require_d3rlpy()
    chosen = dataset if agents is None else dataset.select_agents(agents)
    one_agent = agents is not None and len(agents) == 1
    return train_offline(
        experience_of(chosen, task),
        task,
        algorithm,
        settings or offline_settings(task.action_type, one_agent=one_agent),
        seed,
        agents=None if agents is None else chosen.agent_ids,
        fingerprint=dataset.fingerprint(),
        source=source,
        progress=progress,
    )


def train_offline(
    experience: Experience,
    task: Task,
    algorithm: Algorithm,
    settings: OfflineSettings,
    seed: int,
    *,
    agents: tuple[AgentId, ...] | None,
    fingerprint: str,
    source: Mapping[str, Any] | None = None,
    augmentation: AugmentationSettings | None = None,
    simulated: int = 0,
    progress: Progress | None = None,
) -> OfflinePolicy:
    """Return a policy learned from transitions.

    Args:
        experience: all transitions.
        task: gives the range of the actions.
        algorithm: ``"bcq"`` or ``"cql"``.
        settings: of the training.
        seed: of the weights and the batches.
        agents: whose transitions these are, for the record; None for all of a data set.
        fingerprint: of that data set, for the record.
        source: where it comes from, for the record.
        augmentation: how simulated transitions were made, for the record.
        simulated: number of them, for the record.
        progress: receives (what, steps done, steps in all).

    Raises:
        UsageError: the algorithm is unknown, the seed cannot be used, or d3rlpy is not installed.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"unknown algorithm {algorithm!r}; {one_of(ALGORITHMS)}")
    check_seed(seed)
    begun = time.perf_counter()
    mean, scale = _standardisation(experience)
    with _one_thread(seed):
        learner = make_learner(task, algorithm, settings)
        losses = _learn(
            learner,
            batch_arrays(experience, task, mean, scale),
            settings,
            seed,
            f"training of {algorithm.upper()}",
            progress,
        )
        rule = extract_rule(learner, task, algorithm, settings, seed)
    low, high = task.action_low, task.action_high
    return OfflinePolicy(
        actor=OfflineActor(
            rule=rule,
            state_mean=jnp.asarray(mean),
            state_scale=jnp.asarray(scale),
            action_low=None if low is None else jnp.asarray(low, jnp.float32),
            action_high=None if high is None else jnp.asarray(high, jnp.float32),
        ),
        algorithm=algorithm,
        task=task.name,
        settings=settings,
        seed=seed,
        augmentation=augmentation,
        info=OfflineInfo(
            twinfold=__version__,
            d3rlpy=importlib.metadata.version("d3rlpy"),
            torch=importlib.metadata.version("torch"),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            fingerprint=fingerprint,
            source={key: value for key, value in (source or {}).items() if key not in HIDDEN},
            agents=agents,
            episodes=int(experience.episode[-1]) + 1,
            transitions=len(experience),
            ends=int(experience.terminal.sum()),
            simulated=simulated,
            steps=settings.steps,
            losses=losses,
            seconds=round(time.perf_counter() - begun, 2),
        ),
    )


def require_d3rlpy() -> None:
    """Refuse to go on without the library.

    Raises:
        UsageError: it is not installed; the message says how to install it.
    """
    _library("d3rlpy")


def make_learner(task: Task, algorithm: Algorithm, settings: OfflineSettings) -> Any:
    """Return the library's object for a task, with new weights.

    Args:
        task: its number of states and its actions.
        algorithm: ``"bcq"`` or ``"cql"``.
        settings: of the training.
    """
    library = _library("d3rlpy")
    encoder = library.models.VectorEncoderFactory(hidden_units=list(settings.hidden))
    shared = {"batch_size": settings.batch, "gamma": settings.discount}
    rate = settings.learning_rate
    if task.n_actions is not None:
        shared |= {
            "learning_rate": rate,
            "encoder_factory": encoder,
            "target_update_interval": settings.target_interval,
        }
        if algorithm == "bcq":
            own = library.algos.DiscreteBCQConfig(
                action_flexibility=settings.bcq_threshold, **shared
            )
        else:
            own = library.algos.DiscreteCQLConfig(alpha=settings.cql_weight, **shared)
    else:
        shared |= {
            "actor_learning_rate": rate,
            "critic_learning_rate": rate,
            "actor_encoder_factory": encoder,
            "critic_encoder_factory": encoder,
            "tau": settings.target_rate,
        }
        if algorithm == "bcq":
            own = library.algos.BCQConfig(
                imitator_learning_rate=rate,
                imitator_encoder_factory=encoder,
                action_flexibility=settings.bcq_perturbation,
                n_action_samples=settings.bcq_candidates,
                **shared,
            )
        else:
            own = library.algos.CQLConfig(
                temp_learning_rate=rate,
                alpha_learning_rate=rate,
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


def _learn(
    learner: Any,
    arrays: dict[str, NDArray[np.float32]],
    settings: OfflineSettings,
    seed: int,
    what: str,
    progress: Progress | None,
) -> dict[str, float | None]:
    """Take all steps; return the mean losses of the last of them."""
    torch = _library("torch")
    batch_of = _library("d3rlpy.torch_utility").TorchMiniBatch
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


@contextlib.contextmanager
def _one_thread(seed: int) -> Iterator[None]:
    """Let PyTorch compute on one thread, with a seed; leave it as it was.

    Small nets gain nothing from a second thread, and policies are trained side by side in
    processes.
    """
    torch = _library("torch")
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _library(module: str) -> Any:
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
