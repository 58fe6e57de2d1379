"""Runs that a fit writes, and fits that are interrupted and go on to the same result."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from twinfold.data.panel import PanelDataset
from twinfold.errors import RunError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import RunWriter


def test_a_run_directory_holds_the_model(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path, pumps: Any
) -> None:
    out = tmp_path / "deep" / "run"
    model = fit(tiny, pumps.TINY, out=out, source={"made": "here"})
    pumps.assert_same(model, uninterrupted)
    again = load_run(out)
    pumps.assert_same(again, uninterrupted)
    assert again.info.source == {"made": "here"}
    assert [path.name for path in out.parent.iterdir()] == ["run"]
    with pytest.raises(UsageError, match="exists"):
        fit(tiny, pumps.TINY, out=out)
    pumps.assert_same(load_run(out), uninterrupted)


@pytest.mark.parametrize(
    ("stage", "share"), [("choosing", 0), ("choosing", 0.3), ("training", 0), ("training", 0.4)]
)
def test_an_interrupted_fit_goes_on_to_the_same_result(
    tiny: PanelDataset,
    uninterrupted: FittedModel,
    tmp_path: Path,
    stage: str,
    share: float,
    pumps: Any,
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, pumps.TINY, out=out, progress=pumps.stop_at(stage, share))
    assert not out.exists()
    assert (tmp_path / "run.partial").is_dir()
    with pytest.raises(RunError, match="did not finish"):
        load_run(out)
    lines: list[str] = []
    seen: list[tuple[str, float]] = []
    model = fit(
        tiny,
        pumps.TINY,
        out=out,
        log=lines.append,
        progress=lambda w, d, n: seen.append((w, d / n)),
    )
    assert any("interrupted fit" in line for line in lines)
    # The first report already counts what was done before.
    assert share <= next((done for what, done in seen if what.startswith(stage)), 1.0)
    pumps.assert_same(model, uninterrupted)
    pumps.assert_same(load_run(out), uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_fit_can_be_interrupted_again_and_again(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path, pumps: Any
) -> None:
    kept = []  # as a notebook keeps the last traceback, and with it everything the fit held
    for stop in [("choosing", 0), ("choosing", 0), ("training", 0), ("training", 0)]:
        with pytest.raises(KeyboardInterrupt) as caught:
            fit(tiny, pumps.TINY, out=tmp_path / "run", progress=pumps.stop_at(*stop))
        kept.append(caught)
    pumps.assert_same(fit(tiny, pumps.TINY, out=tmp_path / "run"), uninterrupted)


def test_a_killed_process_leaves_what_another_can_finish(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path, pumps: Any
) -> None:
    tiny.to_frame().to_parquet(tmp_path / "pumps.parquet")
    script = textwrap.dedent(
        f"""
        import os, signal
        import pandas as pd
        from twinfold.config import FitConfig
        from twinfold.data.panel import PanelDataset
        from twinfold.training.fit import fit

        stages = set()

        def progress(what, done, total):
            stages.add(what)
            if len(stages) == 2:  # the choice is made, the members are on their way
                os.kill(os.getpid(), signal.SIGKILL)

        dataset = PanelDataset.from_frame(pd.read_parquet("pumps.parquet"), {pumps.ROLES!r})
        config = FitConfig.parse({pumps.TINY.model_dump()!r})
        fit(dataset, config, out="run", progress=progress)
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run").exists()
    seen: list[tuple[str, int, int]] = []
    model = fit(tiny, pumps.TINY, out=tmp_path / "run", progress=lambda *r: seen.append(r))
    # The choice was not made again: that stage had nothing left to do and reported nothing.
    assert {what for what, _, _ in seen} == {"training", "solving for agents"}
    pumps.assert_same(model, uninterrupted)
    pumps.assert_same(load_run(tmp_path / "run"), uninterrupted)
    assert not (tmp_path / "run.partial").exists()


def interrupted(pumps: Any, dataset: PanelDataset, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(dataset, pumps.TINY, out=out, progress=pumps.stop_at("choosing", 0))


def test_a_partial_run_of_other_settings_or_data_is_refused(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path, pumps: Any
) -> None:
    out = tmp_path / "run"
    interrupted(pumps, tiny, out)
    frame: Any = tiny.to_frame()
    others = [
        (tiny, pumps.TINY.model_copy(update={"steps": 1300})),
        (pumps.panel([12] * 7, seed=1), pumps.TINY),
        (PanelDataset.from_frame(frame[frame["t"] != 2.0], pumps.ROLES), pumps.TINY),
    ]
    for dataset, config in others:
        with pytest.raises(RunError, match="other data or with other settings"):
            fit(dataset, config, out=out)
    assert not out.exists()
    # Rows in another order are the same data, and so are agents.
    shuffled = frame.sample(frac=1, random_state=0)
    pumps.assert_same(
        fit(PanelDataset.from_frame(shuffled, pumps.ROLES), pumps.TINY, out=out), uninterrupted
    )


def test_another_time_step_is_other_data(tmp_path: Path, pumps: Any) -> None:
    frame = pumps.table([12] * 7)
    frame.loc[frame["t"] >= 3.0, "t"] += 0.5  # a pause in every trajectory
    interrupted(pumps, PanelDataset.from_frame(frame, pumps.ROLES), tmp_path / "run")
    joined = PanelDataset.from_frame(frame, pumps.ROLES, time_step=1.0)
    with pytest.raises(RunError, match="other data"):
        fit(joined, pumps.TINY, out=tmp_path / "run")


def test_two_fits_do_not_write_to_one_run(tiny: PanelDataset, tmp_path: Path, pumps: Any) -> None:
    writer = RunWriter(tmp_path / "run", pumps.TINY, "whatever")
    with pytest.raises(RunError, match="another command is writing"):
        fit(tiny, pumps.TINY, out=tmp_path / "run")
    writer.close()
