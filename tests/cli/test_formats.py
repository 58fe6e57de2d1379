"""Tables in other dialects, imported, fitted, asked about and exported by commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROLES = ["--agent", "id", "--time", "month", "--state", "x", "--action", "dose"]
KIND = ["--action-type", "continuous"]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two years by month, decimal commas, doses in the row of their outcome."""
    rng = np.random.default_rng(0)
    months = [year * 100 + m for year in (2023, 2024) for m in range(1, 13)]
    rows = []
    for n in range(12):
        own, x, dose = rng.uniform(0.5, 1.5), 5.0, np.nan
        for month in months:
            rows.append((f"P{n}", month, x, dose))
            dose = rng.normal()
            x = 0.8 * x + 1 + own * dose + 0.05 * rng.normal()
    frame = pd.DataFrame(rows, columns=["id", "month", "x", "dose"])
    path = tmp_path / "cohort.csv"
    frame.round(4).to_csv(path, sep=";", decimal=",", index=False, na_rep="k.A.")
    return path


def test_import_shows_its_guesses_and_the_other_commands_read_them(
    twinfold: Any, cohort: Path
) -> None:
    done = twinfold("data", "import", cohort)
    manifest = cohort.with_name("cohort.manifest.json")
    assert done.code == 0
    assert done.out.endswith(f"manifest: {manifest}\n")
    for words in ("empty in the first row", "'same-row'", "'k.A.' 12 among numbers of 'dose'"):
        assert words in " ".join(done.out.replace("│", " ").split())
    content = json.loads(manifest.read_text("utf-8"))
    assert content["table_format"] == {"decimal": ",", "missing": ["k.A."]}
    assert (content["roles"]["align"], content["roles"]["calendar"]) == ("same-row", "month")
    assert twinfold("data", "validate", cohort).out == f"{cohort}: valid\n"
    record = json.loads(twinfold("data", "describe", cohort, "--json").out)
    assert record["gaps"] == 0
    assert record["transitions"] == 12 * 23

    # Roles that not every table has change what the manifest says.
    assert twinfold("data", "validate", cohort, "--carried", "x").code == 0
    done = twinfold("data", "validate", cohort, "--carried", "nope")
    assert done.code != 0
    assert "'nope'" in done.out + done.err
    done = twinfold("data", "validate", cohort, "--agent", "id")
    assert (done.code, "or none of these and a manifest" in done.err) == (2, True)

    again = twinfold("data", "import", cohort)
    assert (again.code, "is there already; --replace" in again.err) == (2, True)
    done = twinfold("data", "import", cohort, "--replace", "--align", "next", "--json")
    assert done.code == 3  # first rows have no action then
    assert "give --align same-row" in json.loads(done.out)["problems"][0]


def test_flags_stand_in_for_a_manifest_and_the_run_keeps_them(
    twinfold: Any, cohort: Path, tiny: Path, tmp_path: Path
) -> None:
    form = ["--decimal", ",", "--missing", "k.A.,-999", "--align", "same-row"]
    assert twinfold("data", "validate", cohort, *ROLES, *KIND).code == 3
    run = tmp_path / "run"
    small = ["--config", tiny, "--steps", 50, "--quiet", "--reserve", 0]
    done = twinfold("fit", cohort, *ROLES, *KIND, *form, "--out", run, *small)
    assert (done.code, done.err) == (0, "")
    question = tmp_path / "q.csv"
    question.write_text(
        "query_id;id;month;x;dose\nq;P1;202411;5,5;k.A.\nq;P1;202412;;1,5\nq;P1;202501;;0\n"
    )
    done = twinfold("simulate", run, "--queries", question, "--out", tmp_path / "a.csv", "--quiet")
    assert (done.code, done.err) == (0, "")
    answers = pd.read_csv(tmp_path / "a.csv")
    assert answers["month"].tolist() == [202412, 202501]
    plain = tmp_path / "p.csv"
    plain.write_text(question.read_text().replace(",", ".").replace("k.A.", ""))
    flags = ["--decimal", ".", "--out", tmp_path / "b.csv", "--quiet"]
    assert twinfold("simulate", run, "--queries", plain, *flags).code == 0
    pd.testing.assert_frame_equal(answers, pd.read_csv(tmp_path / "b.csv"))
    done = twinfold("validate", run)  # reads the table as the fit did
    assert "the run was fitted on every agent" in done.err


def test_episodes_are_exported_and_imported(twinfold: Any, cohort: Path, tmp_path: Path) -> None:
    assert twinfold("data", "import", cohort, "--json").code == 0
    done = twinfold("data", "export", cohort, "--to", "d3rlpy", "--out", tmp_path / "a.h5")
    assert done.out == f"{tmp_path / 'a.h5'}: 12 agents, 276 transitions\n"
    done = twinfold("data", "import", tmp_path / "a.h5", "--out", tmp_path / "b.parquet", "--json")
    assert json.loads(done.out)["transitions"] == 276
    assert json.loads((tmp_path / "b.manifest.json").read_text())["roles"]["agent"] == "id"
    assert "needs --out" in twinfold("data", "import", tmp_path / "a.h5").err
    done = twinfold("data", "export", cohort, "--to", "d3rlpy", "--out", tmp_path / "a.csv")
    assert "valid: .h5" in done.err
