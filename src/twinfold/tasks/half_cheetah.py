"""HalfCheetah: a planar runner with six joints; agents differ by the scale of mass and of damping.

The physics are MuJoCo's, on the model file that comes with Gymnasium (``half_cheetah.xml``). For an
agent every ``body_mass`` and every ``dof_damping`` is multiplied by its scale, and nothing else
changes (arXiv 2102.06961). One control step is five steps of 0.01 s. The state is

    s = (forward velocity over the last control step, qpos[1:], qvel)

in m/s, m, rad, m/s and rad/s; the position along the track is left out, because nothing depends on
it. The reward is the forward velocity after the step minus 0.1 |a|^2; no episode ends early.

A step is a pure function of state and action: the solver starts every control step afresh and the
state is float32, so steps differ from an uninterrupted simulation in the last digits.
:func:`rollout` is that uninterrupted simulation.

Needs the extra ``mujoco``.
"""

from __future__ import annotations

import copy
import functools
import importlib.resources
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from twinfold.errors import UsageError
from twinfold.tasks.task import Task
from twinfold.utils.cores import usable_cores

if TYPE_CHECKING:
    from mujoco import MjModel  # pyright: ignore[reportAttributeAccessIssue]

FRAME_SKIP = 5
TIME_STEP = 0.05  # s per control step
CONTROL_COST = 0.1
RESET_NOISE = 0.001
DIVERGED = 1e3  # m/s or rad/s that no runner reaches: the integrator has broken down
_JOINTS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")


class HalfCheetahCovariates(NamedTuple):
    """Hidden physics of one agent: factors on the masses and on the joints' damping."""

    mass: Float[Array, ""]
    damping: Float[Array, ""]


def _mujoco() -> Any:
    try:
        import mujoco
        import mujoco.rollout
    except ImportError:
        raise UsageError(
            "task 'half_cheetah' needs MuJoCo; install it with: pip install 'twinfold[mujoco]'"
        ) from None
    return mujoco


@functools.cache
def _default_model() -> MjModel:
    mujoco = _mujoco()
    try:
        folder = importlib.resources.files("gymnasium")
    except ModuleNotFoundError:
        raise UsageError(
            "the model file of 'half_cheetah' comes with Gymnasium, which is missing; "
            "install it with: pip install 'twinfold[mujoco]'"
        ) from None
    path = folder / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    # MuJoCo 4 warns, on the terminal and in a file, of an attribute in Gymnasium's file.
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        return mujoco.MjModel.from_xml_string(path.read_text(encoding="utf-8"))
    finally:
        mujoco.set_mju_user_warning(None)


@functools.lru_cache(maxsize=2048)
def make_model(mass: float, damping: float) -> MjModel:
    """MuJoCo's model of one agent.

    Raises:
        UsageError: MuJoCo or the model file is not installed.
    """
    model = copy.copy(_default_model())
    model.body_mass[:] *= mass
    model.dof_damping[:] *= damping
    return model


class _Pool:
    """MuJoCo's threads and their working memory, used by one caller at a time."""

    def __init__(self) -> None:
        threads = usable_cores()
        self._data = [_mujoco().MjData(_default_model()) for _ in range(threads)]
        self._rollout = _mujoco().rollout.Rollout(nthread=threads)
        self._lock = threading.Lock()

    def __call__(
        self, models: Sequence[MjModel], start: NDArray[np.float64], control: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        with self._lock:
            return self._rollout.rollout(models, self._data, start, control)[0]


# Made here and not at the first step: made inside a callback of JAX, MuJoCo's threads crash.
_POOL = _Pool()


def rollout(
    models: Sequence[MjModel], state: NDArray[np.floating], actions: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Simulate a batch without interruption, on all cores.

    Args:
        models: one per row, from :func:`make_model`.
        state: ``(B, 18)``, where each row starts.
        actions: ``(B, L, 6)``.

    Returns:
        ``(B, L, 18)``, the states after each control step; NaN in a row whose start or actions are
        not finite, and from the step on at which the simulation has diverged.
    """
    batch = len(actions)
    usable: Any = np.isfinite(state).all(axis=1) & np.isfinite(actions).all(axis=(1, 2))
    state = np.where(usable[:, None], state, 0.0)
    actions = np.where(usable[:, None, None], actions, 0.0)
    # MuJoCo's own state: time, qpos (the place along the track starts at zero), qvel.
    start = np.concatenate([np.zeros((batch, 2)), state[:, 1:]], axis=1).astype(np.float64)
    control = np.repeat(actions, FRAME_SKIP, axis=1).astype(np.float64)
    path = _POOL(list(models), start, control)
    after = path[:, FRAME_SKIP - 1 :: FRAME_SKIP, 1:]  # (B, L, 18) qpos, qvel
    place = np.concatenate([np.zeros((batch, 1)), after[:, :, 0]], axis=1)
    out = after.copy()
    out[:, :, 0] = np.diff(place, axis=1) / TIME_STEP
    out[~usable] = np.nan
    # A search finds where the engine itself breaks down and pays any speed: that is no step.
    # MuJoCo answers a breakdown by starting anew, so its clock stands elsewhere than it should.
    clock = path[:, FRAME_SKIP - 1 :: FRAME_SKIP, 0]
    anew = np.abs(clock - TIME_STEP * np.arange(1, clock.shape[1] + 1)) > TIME_STEP / 100
    broken = anew | (np.abs(out).max(axis=2) > DIVERGED)
    out[np.logical_or.accumulate(broken, axis=1)] = np.nan
    return out


def _host_step(mass: Any, damping: Any, state: Any, action: Any) -> NDArray[np.float32]:
    """One control step of any batch: ``(...)``, ``(...)``, ``(..., 18)``, ``(..., 6)``."""
    state, action = np.asarray(state), np.asarray(action)
    scales = zip(np.ravel(mass).tolist(), np.ravel(damping).tolist(), strict=True)
    models = [make_model(*scale) for scale in scales]
    flat = rollout(models, state.reshape(-1, 18), action.reshape(-1, 1, 6))
    return flat[:, 0].reshape(state.shape).astype(np.float32)


def reset(covariates: HalfCheetahCovariates, key: Array) -> Float[Array, " 18"]:
    """Lying at rest, every coordinate with noise of standard deviation 0.001; not yet moving on."""
    del covariates
    return jnp.concatenate([jnp.zeros(1), RESET_NOISE * jax.random.normal(key, (17,))])


def step(
    covariates: HalfCheetahCovariates, state: Float[Array, " 18"], action: Float[Array, " 6"]
) -> Float[Array, " 18"]:
    """One control step, computed by MuJoCo on the host; a vmapped one is one batch there."""
    return jax.pure_callback(
        _host_step,
        jax.ShapeDtypeStruct((18,), jnp.float32),
        covariates.mass,
        covariates.damping,
        state,
        action,
        vmap_method="broadcast_all",
    )


def reward(
    state: Float[Array, " 18"], action: Float[Array, " 6"], next_state: Float[Array, " 18"]
) -> Float[Array, ""]:
    """Forward velocity over the step minus the cost of control."""
    del state
    return next_state[0] - CONTROL_COST * jnp.sum(action**2)


def terminated(next_state: Float[Array, " 18"]) -> Bool[Array, ""]:
    """Never."""
    return jnp.zeros((), bool) & (next_state[0] > 0)


TASK = Task(
    name="half_cheetah",
    state_names=(
        "forward_velocity",
        "root_z",
        "root_angle",
        *_JOINTS,
        "root_x_velocity",
        "root_z_velocity",
        "root_angle_velocity",
        *(f"{joint}_velocity" for joint in _JOINTS),
    ),
    action_names=tuple(f"{joint}_torque" for joint in _JOINTS),
    action_type="continuous",
    n_actions=None,
    action_low=-np.ones(6),
    action_high=np.ones(6),
    covariate_names=HalfCheetahCovariates._fields,
    covariate_low=np.array([0.2, 0.2]),
    covariate_high=np.array([1.8, 1.8]),
    test_agents=np.array([[0.3, 1.7], [1.7, 0.3], [0.3, 0.3], [1.7, 1.7], [1.0, 1.0]]),
    max_steps=1000,
    # For pictures: what runners and fallers reach.
    state_low=np.array([-5.0, -0.7, -4.0, *[-1.2] * 6, -5.0, -5.0, -10.0, *[-25.0] * 6]),
    state_high=np.array([10.0, 0.7, 4.0, *[1.2] * 6, 10.0, 5.0, 10.0, *[25.0] * 6]),
    make_covariates=HalfCheetahCovariates,
    reset=reset,
    step=step,
    reward=reward,
    terminated=terminated,
    angle_names=("root_angle",),
)
