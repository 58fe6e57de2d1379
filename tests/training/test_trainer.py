"""Several members trained side by side: order, progress, interruption and resumption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.models.normalizer import Normalizer
from twinfold.training import trainer as schedule
from twinfold.training.run_writer import RunWriter
from twinfold.training.train_step import CHUNK, TrainData, Unroll
from twinfold.training.trainer import MemberJob, run_jobs

CONFIG = FitConfig(rank=3, state_net=(8,), batch_size=4)
ROWS = np.arange(3, 40, dtype=np.int32)
SEPARABLE, JOINT = Structure(False, 3), Structure(True, 2)
JOBS = [
    MemberJob("short", 4, 300, 0.0, SEPARABLE),
    MemberJob("long", 0, 3 * CHUNK, 0.1, SEPARABLE),
    MemberJob("other", 5, 3 * CHUNK, 0.1, JOINT),
    MemberJob("twin", 1, 3 * CHUNK, 0.3, SEPARABLE),
    MemberJob("middle", 2, CHUNK + 1, 0.0, SEPARABLE),
]


def data() -> TrainData:
    rng = np.random.default_rng(0)
    return TrainData(
        agent=jnp.asarray(rng.integers(0, 4, 40), jnp.int32),
        inputs=jnp.asarray(rng.normal(size=(40, 2)), jnp.float32),
        action=jnp.asarray(rng.integers(0, 3, 40), jnp.int32),
        target=jnp.asarray(rng.normal(size=(40, 2)), jnp.float32),
    )


def init(job: MemberJob) -> FactorModel:
    return init_factor_model(jax.random.key(job.member), CONFIG, 4, 2, 3, True, job.structure)


def run(jobs: list[MemberJob], progress: Any = None, writer: RunWriter | None = None) -> Any:
    return run_jobs(jobs, data(), ROWS, init, CONFIG, progress, writer, "stage")


def assert_equal(got: Any, expected: Any) -> None:
    for leaf, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)


@pytest.fixture(scope="module")
def trained() -> Any:
    return run(JOBS)


def test_members_come_back_in_the_order_of_the_jobs(trained: Any) -> None:
    members, losses = trained
    assert len(losses) == len(members) == len(JOBS)
    for k in (0, 4):
        (alone,), loss = run([JOBS[k]])
        assert_equal(members[k], alone)
        assert loss[0] == losses[k]
    backwards, reversed_losses = run(JOBS[::-1])
    assert_equal(members, backwards[::-1])
    np.testing.assert_array_equal(reversed_losses[::-1], losses)


def test_members_of_several_structures_train_side_by_side(trained: Any) -> None:
    members, losses = trained
    got = [Structure(member.joint, member.rank) for member in members]
    assert got == [job.structure for job in JOBS]
    (alone,), loss = run([JOBS[2]])
    assert_equal(members[2], alone)
    assert loss[0] == losses[2]
    for member, job in zip(members, JOBS, strict=True):
        moved = np.abs(np.asarray(member.head.weight) - init(job).head.weight)
        assert moved.max() > 0.02


def test_groups_of_one_length_train_as_single_members_do(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens on an accelerator."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    # One structure and one length to a group: what one program can train.
    assert sorted(len(group) for group in schedule._grouped(JOBS)) == [1, 1, 1, 2]
    members, losses = run(JOBS)
    np.testing.assert_allclose(losses, trained[1], rtol=1e-2)
    # The same sums in another order drift apart over a thousand steps, but not far.
    for leaf, other in zip(jax.tree.leaves(members), jax.tree.leaves(trained[0]), strict=True):
        np.testing.assert_allclose(leaf, other, atol=0.05)


def test_all_jobs_and_chunks_of_a_structure_are_one_compiled_program(trained: Any) -> None:
    program: Any = schedule.run_chunk
    before = program._cache_size()
    run([*JOBS, MemberJob("another", 9, 700, 0.7, SEPARABLE), MemberJob("last", 7, 10, 0.7, JOINT)])
    assert program._cache_size() == before


def test_progress_goes_from_start_to_end() -> None:
    seen: list[tuple[str, int, int]] = []
    run(JOBS, lambda *record: seen.append(record))
    total = sum(job.steps for job in JOBS)
    done = [steps for _, steps, _ in seen]
    assert {(what, whole) for what, _, whole in seen} == {("stage", total)}
    assert done == sorted(done)
    assert done[0] < total
    assert done[-1] == total


def second_phase(progress: Any = None, writer: RunWriter | None = None) -> Any:
    """A job of two phases, on predictions over three steps in the second one, beside another."""
    ones, none = np.ones(2), np.zeros(0)
    normalizer = Normalizer(
        0 * ones, ones, ones, 0 * ones, ones, none, none, none, none, -9 * ones, 9 * ones
    )
    offsets = jnp.arange(3, dtype=jnp.int32)
    unroll = Unroll(data().inputs, offsets, normalizer.on_device()), ROWS[:-2]
    jobs = [dataclasses.replace(JOBS[0], unrolled=170), JOBS[3]]
    return run_jobs(jobs, data(), ROWS, init, CONFIG, progress, writer, "stage", unroll)


def test_a_second_phase_goes_on_from_the_first(trained: Any) -> None:
    seen: list[tuple[int, int]] = []
    members, _ = second_phase(lambda what, done, total: seen.append((done, total)))
    assert seen[-1] == (JOBS[0].steps + 170 + JOBS[3].steps,) * 2
    first = trained[0][0]
    moved = [
        np.abs(np.asarray(members[0].agents) - x.agents).mean() for x in (first, init(JOBS[0]))
    ]
    assert 0 < moved[0] < moved[1]  # a smaller learning rate, from where the first phase ended
    assert_equal(members[1], trained[0][3])


def test_an_interrupted_second_phase_goes_on_to_the_same_result(tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done > JOBS[0].steps + JOBS[3].steps + 20:  # both first phases are over
            raise KeyboardInterrupt

    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    with pytest.raises(KeyboardInterrupt):
        second_phase(interrupt, writer)
    writer.close()
    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    members, losses = second_phase(None, writer)
    writer.close()
    expected, expected_losses = second_phase()
    assert_equal(members, expected)
    np.testing.assert_array_equal(losses, expected_losses)


@pytest.mark.parametrize("after", [0, 2 * CHUNK])
def test_an_interrupted_run_goes_on_to_the_same_result(
    trained: Any, after: int, tmp_path: Path
) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done > after:
            raise KeyboardInterrupt

    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    with pytest.raises(KeyboardInterrupt):
        run(JOBS, interrupt, writer)
    writer.close()
    seen: list[int] = []
    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    members, losses = run(JOBS, lambda what, done, total: seen.append(done), writer)
    writer.close()
    assert seen[0] > after  # what was reached was not done again
    assert_equal(members, trained[0])
    np.testing.assert_array_equal(losses, trained[1])


def test_finished_jobs_are_not_trained_again(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    run(JOBS, None, writer)

    def refuse(*args: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(schedule, "_advance", refuse)
    members, losses = run(JOBS, None, writer)
    assert_equal(members, trained[0])
    np.testing.assert_array_equal(losses, trained[1])


@pytest.mark.parametrize("damage", ["truncate", "empty", "other shape"])
def test_a_damaged_state_is_trained_again(trained: Any, damage: str, tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    run(JOBS[:1], None, writer)
    (path,) = writer.partial.glob("state-*")
    if damage == "other shape":
        two = schedule.init_state([init(job) for job in JOBS[:2]])
        writer.save_state("x", 500, np.zeros(1), two)
        (other,) = set(writer.partial.glob("state-*")) - {path}
        other.rename(path)
    else:
        path.write_bytes(path.read_bytes()[: 100 if damage == "truncate" else 0])
    (member,), _ = run(JOBS[:1], None, writer)
    assert_equal(member, trained[0][0])


def test_an_error_in_a_job_comes_out_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = schedule._advance

    def fail(group: Any, *args: Any) -> None:
        if group.name == "middle":
            raise MemoryError("no room")
        real(group, *args)

    monkeypatch.setattr(schedule, "_advance", fail)
    writer = RunWriter(tmp_path / "run", CONFIG, "data")
    with pytest.raises(MemoryError, match="no room"):
        run(JOBS, None, writer)
    state = writer.load_state("long", schedule.init_state([init(JOBS[1])]))
    assert state is not None
    assert state[0] >= CHUNK
