"""``twinfold fit`` and ``twinfold simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from twinfold.cli.common import (
    Flag,
    Names,
    RoleFlags,
    console,
    print_json,
    set_up_jax,
    split,
    talking,
    warn,
)
from twinfold.errors import UsageError

_Words = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


def fit(
    table: Path,
    /,
    *,
    out: Path,
    seed: int | None = None,
    config: Path | None = None,
    columns: RoleFlags | None = None,
    rank: str | None = None,
    members: int | None = None,
    state_net: Names = None,
    action_net: Names = None,
    activation: str | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    shrinkage: float | None = None,
    validation_share: float | None = None,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Learn a simulator for every agent of a table.

    The defaults are meant for data never seen before. Part of the data is held out to choose the
    length of training and to measure the error honestly; the simulators are then trained on all
    of it. An interrupted fit goes on where it stopped when the same command is given again.

    Args:
        table: a .csv, .tsv or .parquet file, one row per agent and time.
        out: run directory to write; it must not exist.
        seed: of everything random.
        config: TOML file with settings (a run's config.toml can be used again); flags win over it.
        columns: which column is what.
        rank: latent terms, the length of an agent's factor vector, or auto.
        members: size of the ensemble.
        state_net: hidden widths of the state net, such as 128 or 64,64.
        action_net: hidden widths of the action net (continuous actions); 0 for a linear one.
        activation: relu, silu, hard_swish or tanh.
        learning_rate: peak of the schedule.
        batch_size: transitions per step.
        steps: longest training.
        shrinkage: strength of the prior that pulls agents to each other; 0 for none.
        validation_share: share of the agents of which the last part is held out; 0 for none.
        quiet: no progress.
        json: print the record of the fit.
    """
    set_up_jax()

    from twinfold.config import FitConfig
    from twinfold.data.io import load_panel, read_manifest
    from twinfold.fit import fit as fit_model
    from twinfold.models.checkpoint import check_free

    flags: dict[str, Any] = {
        "seed": seed,
        "rank": int(rank) if rank is not None and rank.isdigit() else rank,
        "members": members,
        "state_net": _widths(state_net, "--state-net"),
        "action_net": _widths(action_net, "--action-net"),
        "activation": activation,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "steps": steps,
        "shrinkage": shrinkage,
        "validation_share": validation_share,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    settings = FitConfig.load(config, **given) if config is not None else FitConfig.parse(given)
    check_free(out)
    roles = (columns or RoleFlags()).roles()
    with talking(quiet) as talk:
        dataset = load_panel(table, roles)
        for line in dataset.warnings:
            talk.line(f"warning: {line}")
        manifest = read_manifest(table) if roles is None else None
        source = dict(manifest.source) if manifest is not None else {}
        source.pop("covariates", None)  # hidden physics stays out of the run
        model = fit_model(
            dataset, settings, out=out, source=source, log=talk.line, progress=talk.progress
        )
    if json:
        print_json({"run": str(out), "config": settings.model_dump(mode="json"), **model.info})
    else:
        print(f"{out}: {dataset.n_agents} simulators")


def _widths(values: list[str] | None, flag: str) -> tuple[int, ...] | None:
    if values is None:
        return None
    try:
        widths = tuple(int(word) for word in split(values))
    except ValueError:
        raise UsageError(f"{flag} takes whole numbers separated by commas, not {values}") from None
    return () if widths == (0,) else widths


def simulate(
    run: Path,
    /,
    *,
    queries: Path | None = None,
    out: Path | None = None,
    agent: _Words = None,
    state: _Words = None,
    actions: _Words = None,
    plot: Path | None = None,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Answer what-if questions: what would this agent do under these actions?

    A table of questions:  twinfold simulate RUN --queries Q.parquet --out P.parquet
    Q holds query_id and the training table's own agent, time, state and action columns; the state
    in the first row of each query, the action in all rows. P holds the predicted rows, each one
    time step after its action, with <state>_lower and <state>_upper.

    One question:  twinfold simulate RUN --agent P7 --state 81.5,6.2 --actions 10,10,0
    Several action columns: separate steps by semicolons, "10,1;10,0". Repeat with "0x20" for 20
    times action 0.

    Args:
        run: run directory of a fit.
        queries: table of questions, .csv or .parquet.
        out: table of answers to write.
        agent: id of the agent of a single question.
        state: its first state, in the order of the training columns.
        actions: its actions.
        plot: picture of a single answer, .png, .pdf or .html.
        quiet: no messages.
        json: print a single answer as a record.
    """
    single = (agent, state, actions)
    if (queries is None) == all(part is None for part in single):
        raise UsageError("give either --queries, or --agent with --state and --actions")
    set_up_jax()
    if queries is not None:
        _answer_table(run, queries, out, plot, quiet)
    else:
        _answer_one(run, agent, state, actions, out, plot, json)


def _answer_table(
    run: Path, queries: Path, out: Path | None, plot: Path | None, quiet: bool
) -> None:
    if out is None:
        raise UsageError("--queries needs --out, the table of answers to write")
    if plot is not None:
        raise UsageError("--plot draws a single question; give --agent, --state and --actions")
    from twinfold.data.io import read_table, write_table
    from twinfold.models.checkpoint import load_run
    from twinfold.whatif import QUERY, answer

    model = load_run(run)
    table = read_table(queries, ids=[model.roles.agent, QUERY])
    answers = answer(model, table, warn=warn)
    write_table(answers, out)
    if not quiet:
        print(f"{out}: {table[QUERY].nunique()} queries, {len(answers)} predicted rows")


def _answer_one(
    run: Path,
    agent: str | None,
    state: str | None,
    actions: str | None,
    out: Path | None,
    plot: Path | None,
    json: bool,
) -> None:
    if agent is None or state is None or actions is None:
        raise UsageError("a single question needs --agent, --state and --actions")
    from twinfold.models.checkpoint import load_run
    from twinfold.simulate import Simulator

    model = load_run(run)
    simulator = Simulator(model, agent)
    rollout = simulator.rollout(
        _numbers(state, "--state"), _steps(actions, len(model.roles.action))
    )
    frame = rollout.to_frame()
    if out is not None:
        from twinfold.data.io import write_table

        write_table(frame, out)
    if plot is not None:
        from twinfold.report.curves import Curves
        from twinfold.report.picture import save_rollout

        save_rollout(
            plot,
            Curves(rollout.steps, rollout.centre, rollout.lower, rollout.upper, rollout.members),
            model.roles.state,
            f"agent {agent}",
        )
    if json:
        print_json({"agent": agent, "prediction": frame.to_dict("list")})
        return
    from twinfold.cli.show import show_rollout

    show_rollout(console(), rollout, [str(action) for action in rollout.actions])
    for path in (out, plot):
        if path is not None:
            print(path)


def _numbers(text: str, flag: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes numbers separated by commas, not {text!r}") from None


def _steps(text: str, width: int) -> Any:
    """``"1,0x3"`` for one column, ``"1,2;0,0x3"`` for several: ``(H,)`` or ``(H, A)``."""
    import numpy as np

    words = text.split(",") if width == 1 and ";" not in text else text.split(";")
    steps: list[list[float]] = []
    for word in words:
        body, _, times = word.partition("x")
        if times and not times.strip().isdigit():
            raise UsageError(f"--actions: {word!r} should be an action, or an action x times")
        steps += [_numbers(body, "--actions")] * (int(times) if times else 1)
    if any(len(step) != width for step in steps):
        raise UsageError(
            f"--actions: every step needs {width} value(s), separated by commas; "
            "steps of several values are separated by semicolons"
        )
    actions = np.array(steps)
    return actions[:, 0] if width == 1 else actions
