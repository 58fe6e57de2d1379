"""``twinfold plan``, ``twinfold evaluate`` and ``twinfold demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from twinfold.cli.common import Flag, console, print_json, set_up_jax, talking
from twinfold.errors import UsageError

evaluate = App(name="evaluate", help="Judge a run against the true task.", help_format="plaintext")

_Words = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


def plan(
    run: Path,
    /,
    *,
    task: str,
    agent: str,
    state: _Words = None,
    planner: str | None = None,
    candidates: int | None = None,
    horizon: int | None = None,
    terminal_value: str | None = None,
    risk: float | None = None,
    discount: float | None = None,
    seed: int = 0,
    plot: Path | None = None,
    json: Flag = False,
) -> None:
    """Plan for one agent and show the plan with its predicted outcome.

    Reward and termination come from the task; the dynamics are the agent's simulator.

    Args:
        run: run directory of a fit.
        task: mountain_car or cart_pole.
        agent: id of the agent.
        state: the state to plan from, values separated by commas; a start of the task if left out.
        planner: sticky or shooting (discrete actions), cem (continuous).
        candidates: action sequences tried.
        horizon: length of the plan.
        terminal_value: none, or grid (learned from the simulator by value iteration).
        risk: standard deviations over the members taken off the mean return.
        discount: per step.
        seed: of the planner.
        plot: picture of the predicted outcome, .png, .pdf or .html.
        json: print a record.
    """
    set_up_jax()
    from twinfold.models.checkpoint import load_run
    from twinfold.planning.once import plan_once
    from twinfold.tasks import get_task

    chosen = get_task(task)
    found = plan_once(
        load_run(run),
        chosen,
        agent,
        None if state is None else _floats(state),
        _changes(chosen, planner, candidates, horizon, terminal_value, risk, discount),
        seed,
    )
    if plot is not None:
        from twinfold.report.curves import Curves
        from twinfold.report.picture import save_rollout

        path = found.rollout
        save_rollout(
            plot,
            Curves(path.steps, path.centre, path.lower, path.upper, path.members),
            chosen.state_names,
            f"{task}, agent {agent}",
        )
    if json:
        print_json(found.record())
        return
    from twinfold.cli.show import show_rollout

    out = console()
    out.print(
        f"agent {agent}, from state {', '.join(f'{value:.4g}' for value in found.state)}: "
        f"plan of {len(found.actions)} steps worth {found.score:.4g}"
        + (" (with its terminal value)" if found.config.terminal_value != "none" else "")
    )
    show_rollout(out, found.rollout, [str(action) for action in found.actions])
    if plot is not None:
        print(plot)


def _changes(
    task: Any,
    planner: str | None,
    candidates: int | None,
    horizon: int | None,
    terminal_value: str | None,
    risk: float | None,
    discount: float | None,
) -> Any:
    from pydantic import ValidationError

    from twinfold.planning.defaults import plan_config

    try:
        return plan_config(
            task.name,
            task.action_type,
            planner=planner,
            candidates=candidates,
            horizon=horizon,
            terminal_value=terminal_value,
            risk=risk,
            discount=discount,
        )
    except ValidationError as error:
        lines = [f"--{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise UsageError("\n".join(line.replace("_", "-") for line in lines)) from None


def _floats(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--state takes numbers separated by commas, not {text!r}") from None


def agent_range(text: str) -> list[int]:
    """``"0-4,7"`` -> ``[0, 1, 2, 3, 4, 7]``.

    Raises:
        UsageError: it cannot be read so.
    """
    agents: list[int] = []
    for word in text.split(","):
        first, dash, last = word.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UsageError(f"--agents takes ids and ranges such as 0-4,7; not {text!r}")
        agents += range(int(first), int(last if dash else first) + 1)
    if not agents:
        raise UsageError(f"--agents {text!r} names no agent")
    return agents


@evaluate.command
def prediction(
    run: Path,
    /,
    *,
    task: str,
    agents: str = "0-4",
    trajectories: int = 200,
    steps: int = 50,
    seed: int = 0,
    json: Flag = False,
) -> None:
    """Open-loop error against the true task, under its scripted test policy (paper, Table 1).

    Args:
        run: run directory of a fit.
        task: mountain_car or cart_pole.
        agents: ids of agents, such as 0-4 or 0-59.
        trajectories: true trajectories per agent.
        steps: length of the open-loop prediction.
        seed: of the true trajectories.
        json: print the record that the table is made from.
    """
    set_up_jax()
    from twinfold.evaluate import evaluate_prediction
    from twinfold.models.checkpoint import load_run
    from twinfold.tasks import get_task

    chosen = get_task(task)
    _positive(trajectories=trajectories, steps=steps)
    record = evaluate_prediction(
        load_run(run),
        chosen,
        agent_range(agents),
        trajectories=trajectories,
        steps=steps,
        seed=seed,
    )
    if json:
        print_json(record)
    else:
        show_prediction(record)


def show_prediction(record: dict[str, Any]) -> None:
    """The table of a prediction record."""
    from twinfold.cli.show import show_table
    from twinfold.report.tables import error_table

    out = console()
    caption = f"{record['steps']}-step prediction error, {record['trajectories']} trajectories each"
    show_table(out, error_table(record["agents"], int_keys(record["paper"]), caption=caption))
    out.print(f"median over {len(record['agents'])} agents: {record['median_over_agents']:.4g}")
    out.print(record["note"])


def int_keys(figures: dict[str, Any]) -> dict[int, Any]:
    """Agent ids as they were before they went through JSON."""
    return {int(agent): row for agent, row in figures.items()}


@evaluate.command(name="return")
def return_(
    run: Path,
    /,
    *,
    task: str,
    agents: str = "0-4",
    episodes: int = 20,
    planner: str | None = None,
    candidates: int | None = None,
    horizon: int | None = None,
    terminal_value: str | None = None,
    risk: float | None = None,
    discount: float | None = None,
    seed: int = 0,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Return of planning with the simulators in the true task (paper, Table 2).

    Args:
        run: run directory of a fit.
        task: mountain_car or cart_pole.
        agents: ids of agents, such as 0-4.
        episodes: per agent.
        planner: sticky or shooting (discrete actions), cem (continuous).
        candidates: action sequences per control step.
        horizon: their length.
        terminal_value: none, or grid (learned from the simulator by value iteration).
        risk: standard deviations over the members taken off the mean return.
        discount: per step.
        seed: of starts and planner.
        quiet: no progress.
        json: print the record that the table is made from.
    """
    set_up_jax()
    from twinfold.evaluate import evaluate_return
    from twinfold.models.checkpoint import load_run
    from twinfold.tasks import get_task

    chosen = get_task(task)
    _positive(episodes=episodes)
    with talking(quiet) as talk:
        record = evaluate_return(
            load_run(run),
            chosen,
            agent_range(agents),
            episodes=episodes,
            seed=seed,
            plan=_changes(chosen, planner, candidates, horizon, terminal_value, risk, discount),
            progress=talk.progress,
        )
    if json:
        print_json(record)
    else:
        show_return(record)


def show_return(record: dict[str, Any]) -> None:
    """The table of a return record."""
    from twinfold.cli.show import show_table
    from twinfold.report.tables import returns_table

    caption = f"return of planning in the true task, {record['episodes']} episodes each"
    show_table(
        console(), returns_table(record["agents"], int_keys(record["paper"]), caption=caption)
    )
    settings = ", ".join(f"{name} {value}" for name, value in record["plan"].items())
    console().print(f"planned with: {settings}")


def _positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}")


def demo(*, out: Path = Path("demo"), seed: int = 0, quiet: Flag = False) -> None:
    """CartPole from nothing to a page: collect, check, fit, evaluate, ask, draw.

    500 agents with their own hidden physics, one random trajectory each, about 22 steps long.
    What an earlier demo left in the directory is replaced.

    Args:
        out: directory for everything the demo writes.
        seed: of the data and of the fit.
        quiet: no progress.
    """
    set_up_jax()
    from twinfold.demo import run_demo

    with talking(quiet) as talk:
        page = run_demo(out, seed, talk.line, talk.progress)
    print(f"page: {page.resolve()}")
