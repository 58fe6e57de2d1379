from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from twinfold.baselines import CaDMSettings
from twinfold.benchmark.pending import Part, planner_config, settings_of
from twinfold.benchmark.suite import Suite, load_suite
from twinfold.benchmark.suite_parts import DATASETS, Cell, Row
from twinfold.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent.parent
MINIMAL = {
    "name": "mine",
    "kind": "return",
    "tasks": ["cart_pole"],
    "datasets": ["random"],
    "methods": ["persim"],
    "profiles": {"quick": {}},
}


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_papers_suites_cover_the_papers_rows(name: str) -> None:
    suite = load_suite(ROOT / "suites" / f"{name}.toml")
    rows = set(suite.rows())
    planner = "twinfold" if name == "table2" else None
    for task in ("mountain_car", "cart_pole", "half_cheetah"):
        for method in ("persim", "cadm"):
            assert {Row(task, dataset, method, planner) for dataset in DATASETS} <= rows
        if name == "table2":
            assert Row(task, None, "true-env-mpc", "twinfold") in rows
            assert Row(task, None, "true-env-mpc", "paper") in rows
    assert suite.agents == (0, 1, 2, 3, 4)
    paper = suite.profile("paper")
    assert paper.repeats == 5
    assert (paper.trajectories, paper.steps) == (200, 50)
    assert paper.episodes == 20
    assert suite.data.agents == 500
    cells = list(suite.cells(paper))
    assert len(set(cells)) == len(cells)
    # Nothing is left out of the profile that stands for the paper's protocol.
    n_learned = len(set(suite.methods) - {"true-env-mpc"}) * 3 * 4 * 5 * 5
    assert len(cells) == n_learned + (3 * 2 * 5 if name == "table2" else 0)


def test_the_papers_suites_share_their_fits() -> None:
    first, second = (load_suite(ROOT / "suites" / f"{name}.toml") for name in ("table1", "table2"))
    fits = {task: first.settings("persim", task) for task in first.tasks}
    assert fits == {task: second.settings("persim", task) for task in second.tasks}
    for suite in (first, second):
        assert suite.settings("cadm", "cart_pole") == CaDMSettings()
    # A stranger's table gets the same treatment: an effort, and nothing that is set per task.
    assert first.effort == second.effort == "thorough"
    assert not first.fit
    assert all(fit and fit.model_fields_set == {"effort"} for fit in fits.values())
    assert first.data == second.data


def test_a_suite_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load_suite("table1").name == "table1"
    with pytest.raises(
        UsageError, match="no suite 'table9'; valid: figures, scarcity, scarcity_return, table1"
    ):
        load_suite("table9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="none in suites/, so give the path"):
        load_suite("table1")


def test_a_method_without_a_fit_has_one_repeat_and_no_data(tiny_returns: Suite) -> None:
    cells = list(tiny_returns.cells(tiny_returns.profile("paper")))
    learned = [cell for cell in cells if cell.method == "persim"]
    true = [cell for cell in cells if cell.method == "true-env-mpc"]
    assert {cell.repeat for cell in learned} == {0, 1}
    assert {cell.dataset for cell in learned} == {"random"}
    assert {(cell.repeat, cell.dataset) for cell in true} == {(0, None)}
    assert {cell.planner for cell in true} == {"twinfold", "paper"}


def test_a_profile_leaves_cells_out(tiny_returns: Suite) -> None:
    left_out = Cell("mountain_car", None, "true-env-mpc", "paper", 3, 0)
    assert left_out in list(tiny_returns.cells(tiny_returns.profile("quick")))
    cells = list(tiny_returns.cells(tiny_returns.profile("paper")))
    assert left_out not in cells
    assert left_out._replace(agent=0) in cells


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tasks": ["pendulum"]}, "unknown task 'pendulum'; valid: mountain_car, cart_pole, half"),
        ({"datasets": ["expert"]}, "unknown dataset 'expert'; valid: pure, random, pure-eps-20"),
        ({"datasets": []}, "no datasets; valid: pure, random"),
        ({"methods": ["ppo"]}, "unknown method 'ppo'; valid: persim, cadm, cadm-pets, pooled"),
        ({"methods": ["persim", "persim"]}, "method 'persim' is named twice"),
        ({"planners": {"persim": ["mine"]}}, "unknown planner 'mine'; valid: twinfold, paper"),
        ({"planners": {"cadm": ["paper"]}}, "unknown method in .planners. 'cadm'; valid: persim"),
        ({"agents": [0, 7]}, "unknown agent 7; valid: 0, 1, 2, 3, 4"),
        ({"fit": {"mountain_car": {}}}, "unknown task in .fit. 'mountain_car'; valid: cart_pole"),
        (
            {"profiles": {"quick": {"without": [{"planner": "cem"}]}}},
            "unknown planner in without 'cem'; valid: twinfold, paper",
        ),
        (
            {"profiles": {"quick": {"episodes_by_task": {"acrobot": 3}}}},
            "unknown task in episodes_by_task 'acrobot'; valid: cart_pole",
        ),
        (
            {"kind": "prediction", "methods": ["true-env-mpc"]},
            "'true-env-mpc' predicts nothing; kind 'prediction' takes valid: persim",
        ),
        ({"baselines": {"cadm": {}}}, "unknown method in .baselines. 'cadm'; valid: "),
    ],
)
def test_a_name_that_does_not_exist_is_told_with_those_that_do(changes, named) -> None:
    with pytest.raises(UsageError, match=named):
        Suite.model_validate({**MINIMAL, **changes})


def test_a_setting_of_a_baseline_that_does_not_exist_is_told(tmp_path: Path) -> None:
    text = "".join(f"{name} = {_toml(value)}\n" for name, value in MINIMAL.items())
    text = text.replace('["persim"]', '["cadm"]') + "[baselines.cadm]\ndepth = 3\n"
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=r".baselines.cadm.: unknown setting 'depth'; valid: hid"):
        load_suite(path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "\u001b"])
def test_a_profile_whose_name_is_none_of_a_file_is_refused(name: str, tmp_path: Path) -> None:
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in MINIMAL.items())
    path = write(tmp_path, text.replace("quick", json.dumps(name)))
    with pytest.raises(UsageError, match="setting 'profiles"):
        load_suite(path)


def test_a_number_in_place_of_the_settings_of_a_task_is_told(tmp_path: Path) -> None:
    text = "".join(f"{name} = {_toml(value)}\n" for name, value in MINIMAL.items())
    text = text.replace('["persim"]', '["cadm"]') + "[baselines.cadm]\ncart_pole = 0.5\n"
    with pytest.raises(UsageError, match=r"\[baselines.cadm.cart_pole\] is a table.*, not 0\.5"):
        load_suite(write(tmp_path, text))


HEAD = """
name = "mine"
kind = "return"
tasks = ["cart_pole"]
datasets = ["random"]
methods = ["persim"]
"""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name = ", "cannot read"),
        ("episodes = 3\n", "unknown setting 'episodes'; valid: name, kind, title"),
        ("[profiles.quick]\nepisode = 3\n", "unknown setting .*valid: repeats, trajectories"),
        ("[profiles.quick]\nepisodes = 0\n", "'profiles.quick.episodes' cannot be 0"),
        ("[profiles.quick]\nwithout = [{ agent = 3 }]\n", "valid: task, dataset, method, planner"),
        ("[data]\nn = 3\n[profiles.quick]\n", "unknown setting 'data.n'; valid: agents, seed"),
        ("", "setting 'profiles' is missing"),
        (
            "[fit.cart_pole]\nranks = 3\n[profiles.quick]\n",
            r"\[fit.cart_pole\]: unknown setting 'ranks'; valid: .*rank",
        ),
        (
            "[plan.cart_pole]\nrisks = 3\n[profiles.quick]\n",
            r"\[plan.cart_pole\]: unknown setting 'risks'; valid: planner",
        ),
        (
            "[plan.cart_pole]\nhorizon = 0\n[profiles.quick]\n",
            r"\[plan.cart_pole\]: setting 'horizon' cannot be 0",
        ),
        (
            'fits_of = "none.toml"\n[profiles.quick]\n',
            "cannot read .*none.toml",
        ),
        (
            'fits_of = "tiny.toml"\neffort = "quick"\n[profiles.quick]\n',
            "come from fits_of; give them there",
        ),
        (
            'fits_of = "tiny.toml"\n[data]\nagents = 3\n[profiles.quick]\n',
            "come from fits_of; give them there",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(folder: Path, text, named) -> None:
    path = write(folder, HEAD + text)
    with pytest.raises(UsageError, match=named) as error:
        load_suite(path)
    assert "mine.toml" in str(error.value)


def test_the_data_is_kept_to_where_something_was_fitted() -> None:
    suite = load_suite(ROOT / "suites" / "table2.toml")
    cells = {cell.method: cell for cell in suite.cells(suite.profile("quick"))
             if (cell.task, cell.planner) == ("half_cheetah", "twinfold")}  # fmt: skip
    learned, true = (planner_config(suite, cells[m]) for m in ("persim", "true-env-mpc"))
    assert learned.objective.behaviour > 0
    assert learned.objective.disagreement > 0
    assert not true.objective.needs_data


def test_the_part_that_is_asked_for(tiny_returns: Suite) -> None:
    profile = tiny_returns.profile("quick")
    part = Part(tasks=["cart_pole"], agents=[3])
    assert [cell[:5] for cell in part.of(tiny_returns, profile)] == [
        ("cart_pole", "random", "persim", "twinfold", 3),
        ("cart_pole", None, "true-env-mpc", "twinfold", 3),
        ("cart_pole", None, "true-env-mpc", "paper", 3),
    ]
    with pytest.raises(UsageError, match="has no dataset 'pure'; valid: random"):
        Part(datasets=["pure"]).of(tiny_returns, profile)
    with pytest.raises(UsageError, match="has no cell with all of"):
        Part(datasets=["random"], methods=["true-env-mpc"]).of(tiny_returns, profile)
    with pytest.raises(UsageError, match="no number of training agents 25; valid: none"):
        Part(training_agents=[25]).of(tiny_returns, profile)
    with pytest.raises(UsageError, match="has no profile 'full'; valid: quick, paper"):
        tiny_returns.profile("full")


def test_a_part_by_the_number_of_training_agents(tiny: Suite) -> None:
    sizes = tiny.model_copy(update={"training_agents": (25, 500)})
    cells = Part(training_agents=[500]).of(sizes, sizes.profile("quick"))
    assert {cell.n_agents for cell in cells} == {500}
    assert len(cells) == len(list(sizes.cells(sizes.profile("quick")))) / 2
    with pytest.raises(UsageError, match="no number of training agents 50; valid: 25, 500"):
        Part(training_agents=[50]).of(sizes, sizes.profile("quick"))


def test_a_number_of_agents_is_left_out_where_the_suite_beside_names_it(folder: Path) -> None:
    sizes, returns = folder / "tiny.toml", folder / "tiny-returns.toml"
    head = "training_agents = [25, 500]\nagents = [0, 3]\n"
    sizes.write_text(sizes.read_text().replace("agents = [0, 3]\n", head))
    named = '[profiles.quick]\nwithout = [{ method = "persim", n_agents = NUMBER }]\n'
    text = returns.read_text()
    returns.write_text(text.replace("[profiles.quick]\n", named.replace("NUMBER", "25")))
    suite = load_suite(returns)
    learned = [c for c in suite.cells(suite.profile("quick")) if c.method == "persim"]
    assert {cell.n_agents for cell in learned} == {500}
    returns.write_text(text.replace("[profiles.quick]\n", named.replace("NUMBER", "7")))
    with pytest.raises(UsageError, match="unknown n_agents in without 7; valid: 25, 500"):
        load_suite(returns)


def test_a_suite_with_a_script_of_its_own_says_so() -> None:
    with pytest.raises(UsageError, match=r"its own script: python benchmarks/faults\.py run"):
        load_suite(ROOT / "suites" / "faults.toml")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"profiles": {"quick": {"repeats": 10**12}}}, "repeats' cannot be"),
        ({"profiles": {"quick": {"episodes": True}}}, "episodes' cannot be True"),
        ({"profiles": {"quick": {"steps": 5.0}}}, "steps' cannot be 5.0"),
        ({"data": {"agents": 10**12}}, "'data.agents' cannot be 1000000000000"),
        ({"agents": [True]}, "'agents.0' cannot be True"),
        ({"agents": []}, "'agents' cannot be"),
        ({"tasks": ["x"] * 3 + [5] * 1000}, "these are the first problems and 995 more"),
        ({"fits_of": "../other.toml"}, "'fits_of' cannot be"),
        ({"fits_of": "gone.toml"}, "cannot read .*gone.toml: No such file"),
    ],
)
def test_a_number_that_cannot_be_is_told_in_short_lines(tmp_path: Path, changes, told) -> None:
    lines = [f"{name} = {_toml(value)}\n" for name, value in {**MINIMAL, **changes}.items()]
    path = write(tmp_path, "".join(lines))
    with pytest.raises(UsageError, match=told) as caught:
        load_suite(path)
    said = str(caught.value).splitlines()
    assert len(said) <= 6
    assert all(len(line) < 200 + len(str(path)) for line in said)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def test_a_pipe_among_the_suites_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    os.mkfifo(tmp_path / "suites" / "pipe.toml")
    with pytest.raises(UsageError, match="no suite 'other'; there are none"):
        load_suite("other")
    with pytest.raises(UsageError, match=r"cannot read suites/pipe.toml: it is a pipe"):
        load_suite("pipe")


SHARED = """
name = "mine"
kind = "return"
tasks = ["cart_pole"]
datasets = ["random"]
methods = ["persim", "cadm"]
fits_of = "tiny.toml"

[baselines.cadm]
steps = 70

[baselines.cadm.cart_pole]
steps = 80
"""


def test_fits_of_another_suite_are_taken_and_a_method_that_it_lacks_keeps_its_own(
    folder: Path,
) -> None:
    tiny = folder / "tiny.toml"
    tiny.write_text(tiny.read_text() + "[profiles.smoke]\ntraining_agents = [7]\n"
                    "fit = { steps = 9 }\ntrajectories = 1\n")  # fmt: skip
    path = write(folder, SHARED + "[profiles.smoke.baselines.cadm.cart_pole]\nsteps = 5\n")
    suite = load_suite(path)
    assert suite.data.agents == 12
    assert suite.settings("cadm", "cart_pole").steps == 80  # pyright: ignore
    small = suite.resolved("smoke")
    assert small.data.agents == 7
    assert small.settings("persim", "cart_pole").steps == 9  # pyright: ignore
    assert small.settings("persim", "cart_pole").rank == 3  # pyright: ignore
    assert small.settings("cadm", "cart_pole").steps == 5  # pyright: ignore
    assert small.resolved("smoke") == small
    for extra in ("[baselines.persim]\n", "[profiles.smoke]\nfit = { steps = 5 }\n"):
        with pytest.raises(UsageError, match="come from fits_of; give them there"):
            load_suite(write(folder, SHARED + "[profiles.quick]\n" + extra))


def test_training_agents_are_an_axis() -> None:
    values = {**MINIMAL, "kind": "prediction", "training_agents": [5, 500]}
    suite = Suite.model_validate(values)
    cells = list(suite.cells(suite.profile("quick")))
    assert [cell.n_agents for cell in cells] == [5] * 5 + [500] * 5
    assert "5 training agents, agent 0" in str(cells[0])
    assert cells[0].row == Row("cart_pole", "random", "persim", None, 5)
    settings = settings_of(suite, suite.profile("quick"), cells[0])
    assert settings["data"] == {"agents": 5, "seed": 0}
    left_out = {"quick": {"without": [{"n_agents": 500}]}}
    suite = Suite.model_validate({**values, "profiles": left_out})
    assert {cell.n_agents for cell in suite.cells(suite.profile("quick"))} == {5}
    for profile, named in (
        ({"without": [{"n_agents": 7}]}, "unknown n_agents in without 7; valid: 5, 500"),
        ({"methods": ["cadm"]}, "unknown method of a profile 'cadm'; valid: persim"),
        ({"tasks": []}, "a profile has no tasks"),
        ({"baselines": {"cadm": {}}}, "unknown method in baselines of a profile 'cadm'"),
    ):
        with pytest.raises(UsageError, match=named):
            Suite.model_validate({**values, "profiles": {"quick": profile}})
    with pytest.raises(UsageError, match="no such axis; give one"):
        Suite.model_validate({**MINIMAL, "profiles": {"quick": {"training_agents": [5, 6]}}})
    with pytest.raises(UsageError, match="is named twice"):
        Suite.model_validate({**values, "training_agents": [5, 5]})


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "scarcity", "scarcity_return"])
def test_smoke_runs_every_method_on_next_to_nothing(name: str) -> None:
    suite = load_suite(ROOT / "suites" / f"{name}.toml")
    small, profile = suite.resolved("smoke"), suite.profile("smoke")
    cells = list(small.cells(profile))
    left_out = {"scarcity_return": {"cadm"}}.get(name, set())
    assert {cell.method for cell in cells} == set(suite.methods) - left_out
    assert len(cells) <= 20
    for cell in cells:
        settings = settings_of(small, profile, cell)
        if settings["data"] is not None:
            assert settings["data"]["agents"] <= 20
            fit = settings["fit"]
            assert fit.get("training", fit)["steps"] <= 200
