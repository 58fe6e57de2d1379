from __future__ import annotations

import pytest

from twinfold.benchmark.paper import AGENT_LABELS, paper_figures, paper_methods
from twinfold.errors import UsageError


def test_prediction_error_is_keyed_by_agent_id_and_leaves_absent_agents_out() -> None:
    assert paper_figures("table1", "cart_pole", "random") == {
        0: {"rmse_mean": 0.014, "r2_median": 0.98},
        3: {"rmse_mean": 0.06, "r2_median": 1.0},
        4: {"rmse_mean": 0.152, "r2_median": 0.88},
    }


def test_returns_carry_their_spread() -> None:
    figures = paper_figures("table2", "mountain_car", "random")
    assert figures[0] == {"return_mean": -57.7, "return_std": 5.63}
    assert [figures[agent]["return_mean"] for agent in (3, 4)] == [-186.6, -210.1]
    assert 1 not in figures


def test_planning_on_the_true_dynamics_has_no_data_set() -> None:
    figures = paper_figures("table2", "cart_pole", None, method="true-env-mpc")
    assert figures[3] == {"return_mean": 198.4, "return_std": 7.2}


@pytest.mark.parametrize("table", ["table1", "table2"])
@pytest.mark.parametrize("task", list(AGENT_LABELS))
@pytest.mark.parametrize("dataset", ["pure", "random", "pure-eps-20", "pure-eps-40"])
def test_every_data_set_of_every_task_is_there(table, task, dataset) -> None:
    figures = paper_figures(table, task, dataset)
    assert len(figures) == 3
    assert set(figures) <= set(range(5))


@pytest.mark.parametrize("task", list(AGENT_LABELS))
@pytest.mark.parametrize("method", paper_methods("table3"))
def test_table_3_has_all_agents(task: str, method: str) -> None:
    assert set(paper_figures("table3", task, "random", method)) == set(range(5))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("table9", "cart_pole", "random"), "table1, table2, table3"),
        (("table1", "pendulum", "random"), "mountain_car, cart_pole, half_cheetah"),
        (("table1", "cart_pole", "expert"), "pure, random"),
        (("table2", "cart_pole", None), "pure, random"),
        (("table2", "cart_pole", "random", "ppo"), "persim, cadm"),
    ],
)
def test_a_value_the_paper_does_not_have_lists_those_it_has(arguments, named) -> None:
    with pytest.raises(UsageError, match=named):
        paper_figures(*arguments)


def test_the_kinds_of_actions_are_those_of_the_tasks() -> None:
    from twinfold.benchmark.paper import ACTION_TYPES
    from twinfold.tasks import TASK_NAMES, get_task

    assert {name: get_task(name).action_type for name in TASK_NAMES} == ACTION_TYPES
