"""HalfCheetah against plain MuJoCo steps and Gymnasium, and under the transforms of JAX."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from twinfold.tasks import agent_covariates, get_task
from twinfold.tasks.half_cheetah import (
    FRAME_SKIP,
    HalfCheetahCovariates,
    make_model,
    rollout,
)

mujoco: Any = importlib.import_module("mujoco")  # compiled: its names are not seen by pyright

TASK = get_task("half_cheetah")
SCALES = [tuple(map(float, row)) for row in agent_covariates(TASK, 8, 0)]
_STEP = jax.jit(jax.vmap(TASK.step))


@pytest.fixture(scope="module", autouse=True)
def no_log(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MuJoCo logs unstable simulations to the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("log"))
        yield


@pytest.fixture(scope="module")
def env() -> Any:
    return gymnasium.make("HalfCheetah-v5").unwrapped


def draw(n: int, length: int, seed: int = 0) -> tuple[Any, Any]:
    """States ``(n, 18)`` near the ground, at most some of them at rest, and random actions."""
    rng = np.random.default_rng(seed)
    states = np.concatenate([rng.normal(0, 0.1, (n, 9)), rng.normal(0, 1.0, (n, 9))], axis=1)
    return states, rng.uniform(-1, 1, (n, length, 6))


def covariates(scales: Any) -> HalfCheetahCovariates:
    values = np.asarray(scales, np.float32)
    return HalfCheetahCovariates(jnp.asarray(values[:, 0]), jnp.asarray(values[:, 1]))


def as_float32(scales: Any) -> list[Any]:
    """The models that a step of JAX uses: it holds the covariates in float32."""
    return [make_model(*row) for row in np.asarray(scales, np.float32).tolist()]


def by_hand(model: Any, state: Any, actions: Any) -> npt.NDArray[np.float64]:
    """A plain loop of ``mj_step``."""
    data = mujoco.MjData(model)
    data.qpos[1:], data.qvel[:] = state[1:9], state[9:]
    path = []
    for action in actions:
        before = float(data.qpos[0])
        data.ctrl[:] = action
        for _ in range(FRAME_SKIP):
            mujoco.mj_step(model, data)
        velocity = (float(data.qpos[0]) - before) / 0.05
        path.append(np.concatenate([[velocity], data.qpos[1:], data.qvel]))
    return np.array(path)


def test_a_batch_of_agents_moves_as_in_plain_loops() -> None:
    models = [make_model(*scale) for scale in SCALES]
    states, actions = draw(len(models), 250)
    path = rollout(models, states, actions)
    assert path.dtype == np.float64
    assert path.shape == (8, 250, 18)
    for model, state, own, found in zip(models, states, actions, path, strict=True):
        np.testing.assert_array_equal(found, by_hand(model, state, own))
    # Agents differ, or the comparison says little.
    same = rollout(models, states[:1].repeat(8, 0), actions[:1].repeat(8, 0))
    assert len(np.unique(same[:, 20, 0])) == 8


def test_a_thousand_steps_equal_gymnasiums(env: Any) -> None:
    env.reset(seed=0)
    place, velocity = env.data.qpos.copy(), env.data.qvel.copy()
    place[0] = 0
    env.set_state(place, velocity)
    env.data.qacc_warmstart[:] = 0
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, 6))
    path = rollout([make_model(1.0, 1.0)], np.r_[0.0, place[1:], velocity][None], actions[None])[0]
    before = np.zeros(18)
    for action, found in zip(actions, path, strict=True):
        observation, reward, terminated, _, info = env.step(action)
        np.testing.assert_array_equal(found, np.r_[info["x_velocity"], observation])
        ours = TASK.reward(jnp.asarray(before), jnp.asarray(action), jnp.asarray(found))
        assert float(ours) == pytest.approx(reward, abs=1e-5)
        assert bool(TASK.terminated(jnp.asarray(found))) is terminated is False
        before = found


def test_the_default_agent_and_its_names_are_gymnasiums(env: Any) -> None:
    model = make_model(1.0, 1.0)
    assert tuple(TASK.test_agents[4]) == (1.0, 1.0)
    assert TASK.state_names[1:9] == tuple(
        env.model.joint(i).name.replace("root", "root_").replace("root_y", "root_angle")
        for i in range(1, 9)
    )
    assert TASK.action_names == tuple(f"{model.actuator(i).name}_torque" for i in range(6))
    assert (env.frame_skip, env.dt, TASK.max_steps) == (FRAME_SKIP, 0.05, 1000)
    np.testing.assert_array_equal(model.actuator_ctrlrange.T, [TASK.action_low, TASK.action_high])


def test_only_masses_and_damping_are_scaled(env: Any) -> None:
    model, plain = make_model(0.3, 1.7), env.model
    np.testing.assert_array_equal(model.body_mass, 0.3 * plain.body_mass)
    np.testing.assert_array_equal(model.dof_damping, 1.7 * plain.dof_damping)
    arrays = [
        name
        for name in dir(plain)
        if not name.startswith("_") and isinstance(getattr(plain, name), np.ndarray)
    ]
    assert len(arrays) > 100
    differ = [
        name for name in arrays if not np.array_equal(getattr(model, name), getattr(plain, name))
    ]
    assert sorted(differ) == ["body_mass", "dof_damping"]
    assert model.opt.timestep == plain.opt.timestep == 0.01
    assert make_model(1.0, 1.0).body_mass.tolist() == plain.body_mass.tolist()  # not scaled twice


def test_velocity_is_that_of_the_torso_over_the_step() -> None:
    """In NumPy 2.4 ``np.copy(a.flat)`` aliases ``a``: a place copied so would never differ."""
    states, actions = draw(1, 20)
    path = rollout([make_model(1.0, 1.0)], states, actions)[0]
    assert np.abs(path[:, 0]).min() > 0
    # The mean of the speeds at the ends is near the speed between them, and is not the same.
    middle = (path[1:, 9] + path[:-1, 9]) / 2
    assert np.corrcoef(middle, path[1:, 0])[0, 1] > 0.8
    assert not np.array_equal(path[:, 0], path[:, 9])


def test_steps_of_jax_are_steps_of_a_rollout() -> None:
    states, actions = draw(8, 1)
    states, actions = states.astype(np.float32), actions[:, 0].astype(np.float32)
    expected = rollout(as_float32(SCALES), states, actions[:, None])[:, 0]
    together = _STEP(covariates(SCALES), states, actions)
    assert together.dtype == jnp.float32
    np.testing.assert_array_equal(together, expected.astype(np.float32))
    for i in range(8):
        own = HalfCheetahCovariates(*(leaf[i] for leaf in covariates(SCALES)))
        np.testing.assert_array_equal(TASK.step(own, states[i], actions[i]), together[i])
    one = HalfCheetahCovariates(*(leaf[2] for leaf in covariates(SCALES)))
    grid = jax.vmap(jax.vmap(TASK.step, (None, 0, None)), (None, None, 0))(one, states, actions)
    assert grid.shape == (8, 8, 18)  # action, state
    np.testing.assert_array_equal(grid[5, 3], TASK.step(one, states[3], actions[5]))


def test_steps_within_loops_of_jax() -> None:
    states, actions = draw(8, 5)
    own, start = covariates(SCALES), jnp.asarray(states, jnp.float32)
    moves = jnp.asarray(actions.swapaxes(0, 1), jnp.float32)  # (5, 8, 6)
    expected = start
    for move in moves:
        expected = _STEP(own, expected, move)

    def scanned() -> jax.Array:
        def body(state: jax.Array, move: jax.Array) -> tuple[jax.Array, None]:
            return jax.vmap(TASK.step)(own, state, move), None

        return jax.lax.scan(body, start, moves)[0]

    def looped() -> jax.Array:
        def body(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            i, state = carry
            return i + 1, jax.vmap(TASK.step)(own, state, moves[i])

        return jax.lax.while_loop(lambda carry: carry[0] < 5, body, (jnp.asarray(0), start))[1]

    def mapped() -> jax.Array:
        def one(case: tuple[Any, jax.Array, jax.Array]) -> jax.Array:
            scales, state, own_moves = case
            body = lambda s, move: (TASK.step(scales, s, move), None)  # noqa: E731
            return jax.lax.scan(body, state, own_moves)[0]

        return jax.lax.map(one, (own, start, moves.swapaxes(0, 1)))

    for function in (scanned, looped, mapped):
        np.testing.assert_array_equal(jax.jit(function)(), expected)


def test_two_threads_at_once_neither_wait_forever_nor_mix() -> None:
    states, actions = draw(8, 1)
    own, start = covariates(SCALES), jnp.asarray(states, jnp.float32)
    move = jnp.asarray(actions[:, 0], jnp.float32)

    @jax.jit
    def run(sign: jax.Array) -> jax.Array:
        body = lambda s, _: (jax.vmap(TASK.step)(own, s, sign * move), None)  # noqa: E731
        return jax.lax.scan(body, start, length=60)[0]

    signs = [jnp.asarray(1.0), jnp.asarray(-1.0)]
    alone = [np.asarray(run(sign)) for sign in signs]
    found: dict[int, Any] = {}

    def work(i: int) -> None:
        found[i] = [np.asarray(run(signs[i])) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    for i in range(2):
        for path in found[i]:
            np.testing.assert_array_equal(path, alone[i])
    assert not np.array_equal(alone[0], alone[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_its_own_row_only(value: float) -> None:
    states, actions = draw(6, 4)
    models = [make_model(*scale) for scale in SCALES[:6]]
    clean = rollout(models, states, actions)
    states[1, 7], actions[4, 3, 2] = value, value
    path = rollout(models, states, actions)
    assert np.isnan(path[[1, 4]]).all()
    np.testing.assert_array_equal(path[[0, 2, 3, 5]], clean[[0, 2, 3, 5]])
    reached = _STEP(covariates(SCALES[:6]), states.astype(np.float32), actions[:, 3])
    assert np.isnan(reached).all(axis=1).tolist() == [False, True, False, False, True, False]


def test_starts_are_at_rest_with_small_noise() -> None:
    own = TASK.covariates(TASK.test_agents[0])
    starts = jax.vmap(lambda key: TASK.reset(own, key))(jax.random.split(jax.random.key(0), 2000))
    assert starts.shape == (2000, 18)
    assert not starts[:, 0].any()
    np.testing.assert_allclose(starts[:, 1:].std(axis=0), 0.001, rtol=0.1)
    np.testing.assert_allclose(starts[:, 1:].mean(axis=0), 0.0, atol=1e-4)
    other = TASK.covariates(TASK.test_agents[1])
    key = jax.random.key(7)
    np.testing.assert_array_equal(TASK.reset(own, key), TASK.reset(other, key))


def test_reward_is_velocity_reached_less_control() -> None:
    before, after = jnp.arange(18.0), jnp.arange(18.0) + 3.5
    assert float(TASK.reward(before, jnp.zeros(6), after)) == 3.5
    assert float(TASK.reward(before, jnp.full(6, -0.5), after)) == pytest.approx(3.5 - 0.15)
    assert not TASK.terminated(after)
    assert not TASK.terminated(jnp.full(18, jnp.nan))


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from twinfold.cli import main
sys.exit(main({words!r}))
"""


@pytest.mark.parametrize("package", ["mujoco", "gymnasium"])
def test_a_missing_package_is_named_with_its_extra(package: str, tmp_path: Any) -> None:
    words = ["data", "collect", "--task", "half_cheetah", "--agents", "2", "--out", "d.csv"]
    code = BLOCKED.format(package=package, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert "pip install 'twinfold[mujoco]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_simulation_that_breaks_down_is_no_step() -> None:
    """A search would find it and be paid any speed."""
    state = np.zeros((2, 18))
    state[1, 9:] = 1e5  # speeds that the integrator cannot follow
    path = rollout([make_model(1.0, 1.0)] * 2, state, np.zeros((2, 3, 6)))
    assert np.isfinite(path[0]).all()
    assert np.isnan(path[1]).all()
