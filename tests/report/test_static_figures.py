from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.report.curves import Curves
from twinfold.report.static_figures import save_rollout

RNG = np.random.default_rng(0)
START = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".html": b"<!doctype html>"}


def curves(n_states: int) -> Curves:
    centre = RNG.normal(size=(8, n_states)).cumsum(axis=0)
    members = centre + RNG.normal(size=(3, 8, n_states))
    return Curves(np.arange(8), centre, centre - 1, centre + 1, members, centre + 0.2)


@pytest.mark.parametrize("suffix", list(START))
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rollout{suffix.upper()}"
    save_rollout(path, curves(2), ("$x", "a_b^"), title="costs $5 & <more>")
    assert path.read_bytes().startswith(START[suffix])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("n_states", [1, 3, 5])
def test_every_number_of_states_has_its_panels(tmp_path: Path, n_states: int) -> None:
    path = tmp_path / "rollout.svg"
    names = [f"state-{d}" for d in range(n_states)]
    save_rollout(path, curves(n_states), names)
    text = path.read_text()
    for name in names:
        assert f"<!-- {name} -->" in text


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    c = curves(2)
    for name in ("a.png", "b.png"):
        save_rollout(tmp_path / name, c)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_dates_and_gaps_are_drawn(tmp_path: Path) -> None:
    times = np.arange("2026-01-01", "2026-01-09", dtype="datetime64[D]")
    centre = np.full((8, 1), np.nan)
    save_rollout(tmp_path / "gap.png", Curves(times, centre))
    assert (tmp_path / "gap.png").stat().st_size > 1000


def test_another_suffix_lists_those_that_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rollout\.bmp.*\.png, \.pdf, \.svg, \.html"):
        save_rollout(tmp_path / "rollout.bmp", curves(1))
    assert not list(tmp_path.iterdir())
