"""The command that plans once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from twinfold.cli.console import console, print_json, set_up_jax, talking, warn
from twinfold.cli.flags import Flag, Words, check_outputs, state_numbers
from twinfold.cli.planner_flags import PlannerFlags
from twinfold.cli.values import Place, Seed, Share

if TYPE_CHECKING:
    from twinfold.planning.plan import Plan

_SLOW = (
    "learning what states are worth takes about half a minute; --terminal-value none plans without"
)


def plan(
    run: Place,
    /,
    *,
    task: str,
    agent: Annotated[str, Parameter(allow_leading_hyphen=True)],
    state: Words = None,
    search: PlannerFlags = PlannerFlags(),
    seed: Seed = 0,
    min_support: Share | None = None,
    strict: Flag = False,
    plot: Place | None = None,
    json: Flag = False,
) -> int | None:
    """Plan for one agent and show the plan with its predicted outcome.

    Reward and termination come from the task; the dynamics are the agent's
    simulator.

      twinfold plan run --task cart_pole --agent 3

    The table says what stands behind each step: the agent's own data, data
    borrowed from other agents, or nothing. With --min-support the command
    abstains (exit code 1) rather than plan into the unknown.

    Args:
        run: Run directory of a fit.
        task: mountain_car, cart_pole or half_cheetah.
        agent: Id of the agent.
        state: State to plan from, numbers separated by commas; a start of the task if left out.
        search: How to search for a plan.
        seed: Seed of the planner, and of the start if no state is given.
        min_support: Abstain from a plan of which a step has less support than this (0 to 1).
        strict: Refuse a state, or a plan, outside the range of the data, rather than warn.
        plot: Picture of the predicted outcome to write: .png, .pdf, .svg or .html.
        json: Print a record instead of a table.
    """
    from twinfold.report.static_figures import SUFFIXES

    check_outputs({"plot": SUFFIXES}, plot=plot)
    set_up_jax()
    from twinfold.planning.build import check_plan
    from twinfold.planning.plan import plan_once
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    chosen = get_task(task)
    config = search.config(chosen)
    start = None if state is None else state_numbers(state, chosen.state_names)
    model = load_run(run)
    check_plan(config, chosen)
    with talking(json) as talk:
        if config.objective.terminal_value == "plans":
            talk.line(_SLOW)
        found = plan_once(
            model, chosen, agent, start, config, seed, min_support, strict=strict, warn=warn
        )
    _show(found, f"{task}, agent {agent}", plot, json)
    return None if found.reason is None else 1


def _show(found: Plan, title: str, plot: Path | None, json: bool) -> None:
    from twinfold.cli.render import plot_rollout, show_rollout, show_settings

    if plot is not None:
        plot_rollout(plot, found.rollout, title)
    if json:
        print_json(found.record())
        return
    out = console()
    if found.reason is not None:
        out.print(f"abstained: {found.reason}. What would have been planned:")
    out.print(
        f"agent {found.agent}, from state "
        f"{', '.join(f'{value:.4g}' for value in found.state)}: "
        f"plan of {len(found.actions)} steps worth {found.score:.4g}"
        + (" (with its terminal value)" if found.config.objective.terminal_value != "none" else "")
    )
    show_rollout(out, found.rollout)
    show_settings(console(), found.config.model_dump())
    if plot is not None:
        print(plot)
