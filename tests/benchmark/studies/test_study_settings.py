"""Settings of the studies: what is wrong is named; the committed suites are sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfold.benchmark.studies import STUDIES, load_studies
from twinfold.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]
GOOD = '[map]\ntitle = "x"\nruns = [["cart_pole", "random"]]\n'


def test_the_committed_suites_hold_every_study_once() -> None:
    suites = [ROOT / "suites" / name for name in ("unseen.toml", "figures.toml")]
    found = [(name, own) for suite in suites for name, own in load_studies(suite).items()]
    assert sorted(name for name, _ in found) == sorted(STUDIES)
    assert all(own.agents == 500 for _, own in found)


def test_a_profile_changes_all_studies_and_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(
        GOOD
        + GOOD.replace("map", "unseen")
        + "[profiles.quick]\n[profiles.few]\nagents = 40\nfolds = 3\nunseen = 7\n"
        + "[profiles.few.map]\nagents = 30\n"
    )
    plain, few = load_studies(path), load_studies(path, "few")
    assert (plain["map"].agents, plain["unseen"].agents) == (500, 500)
    assert (few["map"].agents, few["unseen"].agents) == (30, 40)
    assert few["map"].model_dump()["folds"] == 3
    assert few["unseen"].model_dump()["unseen"] == 7  # a setting called as its study
    with pytest.raises(UsageError, match=r"no profile 'many'; valid: quick, few"):
        load_studies(path, "many")


def test_what_is_wrong_with_a_profile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    for text, message in (
        ("[profiles.quick]\nagent = 40\n", r"\[profiles.quick\]: unknown setting 'agent'"),
        ("[profiles]\nquick = 3\n", r"holds a table for each profile"),
        ("[profiles.quick.map]\nagent = 40\n", r"\[map\]: .*agent"),
    ):
        path.write_text(GOOD + text)
        with pytest.raises(UsageError, match=message):
            load_studies(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mapp]\n", r"no study 'mapp'; valid: unseen, map, carts"),
        ("map = 3\n", r"no study 'map'"),
        ('[map]\ntitle = "x"\nruns = []\n', r"\[map\]: .*runs"),
        ('[map]\ntitle = "x"\nruns = [["cart", "random"]]\n', r"unknown task 'cart'; valid: cart_"),
        (GOOD + "probe = 3\n", r"\[map\]: .*probe.*valid: title, runs"),
        (GOOD + "folds = 1\n", r"\[map\]: .*folds"),
        (GOOD + "agents = 1000000000000\n", r"\[map\]: .*agents"),
        (GOOD + "fit = { effort = 3 }\n", r"\[map\]: .*effort"),
        (GOOD.replace("map", "unseen") + "unseen = 500\n", r"500 unseen agents of 500 leave none"),
        (GOOD.replace("map", "carts") + "horizons = [60]\n", r"horizon 60 is beyond the 50 steps"),
        (GOOD.replace("map", "carts") + "cadm = { step = 3 }\n", r"\[carts\]: .*step"),
        ("[map\n", r"no valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text if text == "[map\n" else text + "[profiles.quick]\n")
    with pytest.raises(UsageError, match=message) as caught:
        load_studies(path)
    assert len(str(caught.value)) < 2000
