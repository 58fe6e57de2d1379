"""``twinfold plan``, ``twinfold evaluate`` and ``twinfold demo``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import App

from twinfold.cli.console import console, print_json, set_up_jax, talking
from twinfold.cli.flags import Flag
from twinfold.cli.planner_flags import PlannerFlags
from twinfold.cli.values import AGENT, Place, Seed, Steps, Trials, reader

HELP = """Judge a run against the true task, by the protocol of the PerSim paper.

The run must come from data of a built-in task: twinfold data collect.
"""

evaluate = App(name="evaluate", help=HELP, help_format="plaintext")


def agent_range(text: str) -> list[int]:
    """Return ``[0, 1, 2, 3, 4, 7]`` for ``"0-4,7"``.

    Raises:
        ValueError: it cannot be read so.
    """
    agents: dict[int, None] = {}  # in this order, each once
    for word in text.split(","):
        first, dash, last = (part.strip() for part in word.partition("-"))
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdecimal() for end in ends):
            raise ValueError(f"{text!r} is not ids and ranges such as 0-4,7")
        low, high = map(AGENT.read, ends)
        if high < low:
            raise ValueError(f"{word.strip()!r} is no range; give the smaller id first")
        agents |= dict.fromkeys(range(low, high + 1))
    return list(agents)


AgentRange = Annotated[
    Sequence[int],
    reader(
        lambda words: agent_range(",".join(words)),
        negative="",
        consume_multiple=False,
        show_default=lambda _: "0-4",
    ),
]
FIRST = (0, 1, 2, 3, 4)
"""The paper's test agents."""


@evaluate.command
def prediction(
    run: Place,
    /,
    *,
    task: str,
    agents: AgentRange = FIRST,
    trajectories: Trials = 200,
    steps: Steps = 50,
    seed: Seed = 0,
    json: Flag = False,
) -> None:
    """Measure the open-loop prediction error (the paper's Table 1).

    The actions are those of a trained policy, which differs from the policies
    of the data. The error is in units of the state.

      twinfold evaluate prediction run --task cart_pole --agents 0-59

    Args:
        run: Run directory of a fit.
        task: mountain_car, cart_pole or half_cheetah.
        agents: Ids of agents, such as 0-4 or 0-2,17.
        trajectories: True trajectories per agent.
        steps: Length of the open-loop prediction.
        seed: Of the true trajectories.
        json: Print the record that the table is made from.
    """
    set_up_jax()
    from twinfold.benchmark.protocol import evaluate_prediction
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    chosen = get_task(task)
    record = evaluate_prediction(
        load_run(run), chosen, agents, trajectories=trajectories, steps=steps, seed=seed
    )
    (print_json if json else show_prediction)(record)


def show_prediction(record: dict[str, Any]) -> None:
    """Show the table of a prediction record."""
    from twinfold.cli.render import show_table
    from twinfold.report.tables import error_table

    out = console()
    caption = f"{record['steps']}-step prediction error, {record['trajectories']} trajectories each"
    show_table(out, error_table(record["agents"], int_keys(record["paper"]), caption=caption))
    out.print(f"median over {len(record['agents'])} agents: {record['median_over_agents']:.4g}")
    out.print(record["note"])


def int_keys(figures: dict[str, Any]) -> dict[int, Any]:
    """Return the record with agent ids as they were before they went through JSON."""
    return {int(agent): row for agent, row in figures.items()}


@evaluate.command(name="return")
def return_(
    run: Place,
    /,
    *,
    task: str,
    agents: AgentRange = FIRST,
    episodes: Trials = 20,
    search: PlannerFlags = PlannerFlags(),
    seed: Seed = 0,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Measure the return of planning with the simulators (the paper's Table 2).

    At every step a plan is made in the agent's simulator and its first action
    is taken in the true task.

      twinfold evaluate return run --task cart_pole --episodes 20

    Args:
        run: Run directory of a fit.
        task: mountain_car, cart_pole or half_cheetah.
        agents: Ids of agents, such as 0-4 or 0-2,17.
        episodes: Episodes per agent.
        search: How to search for a plan.
        seed: Of starts and planner.
        quiet: Say nothing on standard error unless something is wrong.
        json: Print the record that the table is made from.
    """
    set_up_jax()
    from twinfold.benchmark.protocol import evaluate_return
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    chosen = get_task(task)
    config = search.config(chosen)
    with talking(quiet) as talk:
        record = evaluate_return(
            load_run(run),
            chosen,
            agents,
            episodes=episodes,
            seed=seed,
            plan=config,
            progress=talk.progress,
        )
    (print_json if json else show_return)(record)


@evaluate.command
def true_mpc(
    *,
    task: str,
    planner_preset: Literal["ours", "paper"] = "ours",
    agents: AgentRange = FIRST,
    episodes: Trials = 20,
    max_steps: Steps | None = None,
    search: PlannerFlags = PlannerFlags(),
    seed: Seed = 0,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Measure the return of planning with the true dynamics (True env + MPC, Table 2).

    What a planner earns when its simulator makes no error. It needs no run. A
    full episode of half_cheetah takes minutes.

      twinfold evaluate true-mpc --task cart_pole --planner-preset paper

    Args:
        task: mountain_car, cart_pole or half_cheetah.
        planner_preset: Settings to begin with: ours for the task, or the paper's.
        agents: Ids of test agents, such as 0-4 or 0,2.
        episodes: Episodes per agent.
        max_steps: Longest episode, if shorter than the task's; no figures of the paper then.
        search: Changes of the settings.
        seed: Of starts and planner.
        quiet: Say nothing on standard error unless something is wrong.
        json: Print the record that the table is made from.
    """
    set_up_jax()
    from twinfold.benchmark.protocol import evaluate_true
    from twinfold.tasks import get_task

    chosen = get_task(task)
    config = search.config(chosen, preset=planner_preset)
    with talking(quiet) as talk:
        record = evaluate_true(
            chosen,
            agents,
            episodes=episodes,
            seed=seed,
            plan=config,
            max_steps=max_steps,
            progress=talk.progress,
        )
    (print_json if json else show_return)(record)


def show_return(record: dict[str, Any]) -> None:
    """Show the table of a return record."""
    from twinfold.cli.render import show_settings, show_table
    from twinfold.report.tables import returns_table

    caption = f"return of planning in the true task, {record['episodes']} episodes each"
    show_table(
        console(), returns_table(record["agents"], int_keys(record["paper"]), caption=caption)
    )
    show_settings(console(), record["plan"])
