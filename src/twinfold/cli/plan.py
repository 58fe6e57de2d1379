"""The command that plans once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from twinfold.cli.console import console, print_json, set_up_jax, talking, warn
from twinfold.cli.flags import Flag, Words, check_outputs, state_rows
from twinfold.cli.future_flags import FutureFlags
from twinfold.cli.goal_flags import GoalFlags
from twinfold.cli.planner_flags import PlannerFlags
from twinfold.cli.values import Place, Seed, Share, Values, takes

if TYPE_CHECKING:
    from twinfold.planning.plan import Plan

_SLOW = (
    "learning what states are worth takes about half a minute; --terminal-value none plans without"
)


def plan(
    run: Place,
    /,
    *,
    task: str | None = None,
    goal: GoalFlags = GoalFlags(),
    agent: Annotated[str, Parameter(allow_leading_hyphen=True)],
    state: Words = None,
    search: PlannerFlags = PlannerFlags(),
    future: FutureFlags = FutureFlags(),
    noise_draws: Annotated[int, takes(Values(int, ge=0, le=1000))] = 0,
    seed: Seed = 0,
    min_support: Share | None = None,
    strict: Flag = False,
    plot: Place | None = None,
    json: Flag = False,
) -> int | None:
    """Plan for one agent and show the plan with its predicted outcome.

    The dynamics are the agent's simulator. What a plan is worth is said by an
    expression over columns, or by a built-in task.

      twinfold plan run --agent P7 --reward "-(glucose - 110)^2 - 0.1*insulin"
      twinfold plan run --agent P7 --scenario prices.csv --reward "-price * heat"
      twinfold plan run --agent 3 --task cart_pole

    The table says what stands behind each step: the agent's own data, data
    borrowed from other agents, or nothing. With --min-support the command
    abstains (exit code 1) rather than plan into the unknown.

    Args:
        run: Run directory of a fit.
        task: mountain_car, cart_pole or half_cheetah, in place of a reward.
        goal: What to plan for.
        agent: Id of the agent.
        state: State to plan from, numbers separated by commas; if left out, where the agent's data
            ended, or a start of the built-in task. For a run with a memory the rows before it as
            well, the earliest first, separated by semicolons, each with the action in it or
            without.
        search: How to search for a plan.
        future: What exogenous columns will be.
        noise_draws: Draws of the noise of the world per member of the ensemble, over which a plan
            is averaged; 0 plans for the typical course.
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
    from twinfold.training.run_directory import load_run

    built_in = goal.built_in(task)
    config = None if built_in is None else search.config(built_in)
    rows: list[list[float]] | None = None
    if built_in is not None and state is not None:
        rows = state_rows(state, built_in.state_names)
    model = load_run(run)
    scenario = future.table(model)
    chosen = built_in or goal.of_run(model)
    config = config or search.config(chosen)
    if built_in is None and state is not None:
        rows = state_rows(state, chosen.state_names, model.roles.action)
    start = None if rows is None else rows[-1]
    check_plan(config, chosen)
    with talking(json) as talk:
        if config.objective.terminal_value == "plans":
            talk.line(_SLOW)
        found = plan_once(
            model,
            chosen,
            agent,
            start,
            config,
            seed,
            min_support,
            strict=strict,
            warn=warn,
            noise=noise_draws,
            before=rows[:-1] if rows and len(rows) > 1 else None,
            **future.of_agent(model, scenario, agent),
        )
    if min_support is None and (line := _unbacked(found, model.behaviour is not None)) is not None:
        warn(line)
    _show(found, f"{chosen.name}, agent {agent}", plot, json)
    return None if found.reason is None else 1


def _unbacked(found: Plan, behaviour: bool) -> str | None:
    """Return one line on a plan that goes where there was no data; None if it does not.

    Args:
        found: the plan.
        behaviour: whether the policy of the data is known, to which plans can keep.
    """
    from twinfold.uncertainty.support import SUPPORT

    score = found.rollout.support.score
    if not (score < SUPPORT.unsupported).any():
        return None
    first = int((score < SUPPORT.unsupported).argmax())
    return (
        f"nothing in the data backs the plan from step {first + 1} on (support "
        f"{score[first]:.2f}), so that it may only look better than what was done: "
        + ("--behaviour 1 keeps nearer to that, " if behaviour else "")
        + f"--min-support {SUPPORT.unsupported:g} abstains instead"
    )


def _show(found: Plan, title: str, plot: Path | None, json: bool) -> None:
    from twinfold.cli.render import plot_rollout, show_rollout, show_settings
    from twinfold.report.tables import number
    from twinfold.utils.text import counted

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
        f"{', '.join(f'{value:.6g}' for value in found.state)}: "
        f"plan of {counted(len(found.actions), 'step')} worth {number(found.score, 4)}"
        + (" (with its terminal value)" if found.config.objective.terminal_value != "none" else "")
    )
    show_rollout(out, found.rollout)
    show_settings(console(), found.config.model_dump())
    if plot is not None:
        print(plot)
