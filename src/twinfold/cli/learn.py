"""``twinfold fit`` and ``twinfold simulate``."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from twinfold.cli.common import (
    Flag,
    Names,
    RoleFlags,
    Words,
    console,
    interruptible,
    numbers,
    print_json,
    set_up_jax,
    shown,
    split,
    state_numbers,
    talking,
    warn,
)
from twinfold.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from twinfold.data.panel import PanelDataset
    from twinfold.models.ensemble import FittedModel

_MOST_STEPS = 1_000_000  # of one question; a slip such as 0x2000000000 would fill the memory


@Parameter(name="*", group="Settings")
@dataclass(frozen=True)
class FitFlags:
    """Settings of a fit; what is not given is the configuration's or the default.

    Attributes:
        seed: Of everything that is random.
        features: separable (state times action), joint (of both), or auto: by held-out error.
        rank: Latent terms, the length of an agent's factor vector; auto tries some likewise.
        members: Size of the ensemble.
        state_net: Hidden widths of the state net, such as 128 or 64,64.
        action_net: Hidden widths of the action net (continuous actions); 0 for a linear one.
        activation: relu, silu, hard_swish or tanh.
        learning_rate: Its peak; it falls to zero at the end.
        batch_size: Transitions per training step.
        steps: Longest training, in steps; shorter ones are tried on held-out data too.
        shrinkages: Strengths of the pull of agents to each other that are tried on held-out data.
        validation_share: Share of the agents of which the last part is held out; 0 for none.
    """

    seed: Annotated[int | None, shown(0)] = None
    features: Annotated[str | None, shown("separable")] = None
    rank: Annotated[str | None, shown("auto")] = None
    members: Annotated[int | None, shown(5)] = None
    state_net: Annotated[Names, shown("128")] = None
    action_net: Annotated[Names, shown("64")] = None
    activation: Annotated[str | None, shown("relu")] = None
    learning_rate: Annotated[float | None, shown(0.01)] = None
    batch_size: Annotated[int | None, shown(128)] = None
    steps: Annotated[int | None, shown(50000)] = None
    shrinkages: Annotated[Names, shown("0.001,0.3")] = None
    validation_share: Annotated[float | None, shown(0.2)] = None

    def given(self) -> dict[str, Any]:
        """The flags that were given, as settings.

        Raises:
            UsageError: widths that are no whole numbers.
        """
        values = asdict(self)
        if self.rank is not None and self.rank != "auto":
            values["rank"] = _whole(self.rank, "--rank takes a whole number or auto")
        for name in ("state_net", "action_net"):
            if values[name] is not None:
                values[name] = _widths(values[name], "--" + name.replace("_", "-"))
        if self.shrinkages is not None:
            values["shrinkages"] = numbers(",".join(self.shrinkages), "--shrinkages")
        return {name: value for name, value in values.items() if value is not None}


def _widths(values: list[str], flag: str) -> tuple[int, ...]:
    expected = f"{flag} takes whole numbers separated by commas"
    widths = tuple(_whole(word, expected) for word in split(values))
    return () if widths == (0,) else widths


def _whole(word: str, expected: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UsageError(f"{expected}, not {word!r}") from None


def fit(
    table: Path,
    /,
    *,
    out: Path,
    config: Path | None = None,
    reserve: str = "auto",
    columns: RoleFlags | None = None,
    settings: FitFlags | None = None,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    r"""Learn a simulator for every agent of a table.

    The columns are named by flags, or by the manifest beside the table:

      twinfold fit cohort.csv --agent patient --time day \
          --state weight,glucose --action dose --action-type continuous --out run
      twinfold fit cohort.parquet --out run

    Settings need no flags: the defaults are meant for data never seen before.
    Part of the data is held out to choose the length of training and to measure
    the error honestly; the simulators are then trained on all of it.

    An interrupted fit goes on where it stopped when the same command is given
    again, to the same result.

    Args:
        table: A .csv, .tsv or .parquet file, one row per agent and time.
        out: Run directory to write; it must not exist.
        config: TOML file with settings, such as a run's config.toml; flags win over it.
        reserve: Agents that the nets must not see, drawn at random, to calibrate the band on; auto
            takes a tenth (20 to 100) of 60 agents or more, 0 none. Every agent gets a simulator.
        columns: Which column is what.
        settings: How to learn.
        quiet: Say nothing on standard error unless something is wrong.
        json: Print the record of the fit.
    """
    set_up_jax()

    from twinfold.config import FitConfig
    from twinfold.data.io import load_panel, read_manifest
    from twinfold.fit import fit as fit_model
    from twinfold.models.calibrate import reserve as split_agents
    from twinfold.models.checkpoint import check_free

    given = (settings or FitFlags()).given()
    chosen = FitConfig.load(config, **given) if config is not None else FitConfig.parse(given)
    check_free(out)
    roles = (columns or RoleFlags()).roles()
    partial = out.with_name(out.name + ".partial")

    def hint() -> str:
        if not partial.is_dir():
            return f"nothing was written to {out}"
        return f"the same command goes on where it stopped; until then all is kept in {partial}"

    with interruptible(hint), talking(quiet) as talk:
        dataset = load_panel(table, roles)
        for line in dataset.warnings:
            talk.line(f"warning: {line}")
        manifest = read_manifest(table) if roles is None else None
        source = dict(manifest.source) if manifest is not None else {}
        source.pop("covariates", None)  # hidden physics stays out of the run
        source["table"] = str(table.resolve())  # where `twinfold validate` looks for it
        n_reserved = _reserved(reserve, dataset.n_agents)
        used, reserved = dataset, None
        if n_reserved:
            used, reserved = split_agents(dataset, n_reserved, chosen.seed)
            source["fingerprint"] = dataset.fingerprint()  # that of the run is of `used` alone
        model = fit_model(
            used,
            chosen,
            out=out,
            reserved=reserved,
            source=source,
            log=talk.line,
            progress=talk.progress,
        )
        talk.line(f"ask: {_example(dataset, out)}")
    if json:
        print_json({"run": str(out), "config": chosen.model_dump(mode="json"), **model.info})
        return
    error = model.info["validation"].get("rmse")
    known = "" if error is None else f", held-out error {error:.3g} standard deviations"
    print(f"{out}: {dataset.n_agents} simulators{known}")


def _reserved(word: str, n_agents: int) -> int:
    """The number of agents that ``--reserve`` asks for."""
    from twinfold.models.calibrate import default_reserved

    if word == "auto":
        return default_reserved(n_agents)
    number = _whole(word, "--reserve takes a whole number or auto")
    if not 0 <= number < n_agents:
        raise UsageError(
            f"--reserve {number}: the table has {n_agents} agents, and at least one must be left "
            "to learn from"
        )
    return number


def _example(dataset: PanelDataset, out: Path) -> str:
    """A first question to the run, from the data itself."""
    data = dataset.transitions()
    actions = data.action[:3]
    if dataset.action_levels is not None:
        actions = dataset.action_levels[actions.astype(int)]
    actions = actions.reshape(len(actions), -1)
    words = {
        "--agent": str(dataset.agent_ids[data.agent[0]]),
        "--state": ",".join(f"{value:.4g}" for value in data.state[0]),
        "--actions": (";" if actions.shape[1] > 1 else ",").join(
            ",".join(f"{value:.4g}" for value in step) for step in actions
        ),
    }
    flags = " ".join(f"{flag} {shlex.quote(word)}" for flag, word in words.items())
    return f"twinfold simulate {shlex.quote(str(out))} {flags}"


def _floats(values: list[str] | None, flag: str) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        return tuple(float(word) for word in split(values))
    except ValueError:
        raise UsageError(f"{flag} takes numbers separated by commas, not {values}") from None


def simulate(
    run: Path,
    /,
    *,
    agent: Words = None,
    state: Words = None,
    actions: Words = None,
    queries: Path | None = None,
    out: Path | None = None,
    plot: Path | None = None,
    min_support: float | None = None,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Answer what-if questions: what would this agent do under these actions?

    One question:

      twinfold simulate run --agent P7 --state 81.5,6.2 --actions 10,10,0x5

    The state has a number per state column, in the order of the fit. Actions
    are separated by commas; 0x5 is five times action 0. With several action
    columns a step is "10,1", and steps are separated by semicolons:
    "10,1;10,0x5".

    A table of questions:

      twinfold simulate run --queries questions.csv --out answers.csv

    Its columns are query_id and the agent, time, state and action columns of
    the fit. A query has a row for each action; its first row holds the state,
    which is empty below. The answers have the same columns but the actions,
    one time step later, and <state>_lower and <state>_upper for the band.

    The support of a step, from 0 to 1, says what stands behind it: near 1 the
    data is as dense there as it usually is and the members of the model agree;
    at 0 nothing is known. The basis is "own data", "borrowed" (from other
    agents) or "unsupported".

    Args:
        run: Run directory of a fit.
        agent: Id of the agent of a single question.
        state: Its first state, numbers separated by commas.
        actions: Its actions.
        queries: Table of questions, .csv or .parquet.
        out: Table of answers to write, .csv or .parquet; needed with --queries.
        plot: Picture of a single answer to write: .png, .pdf, .svg or .html.
        min_support: Give no prediction from the first step on whose support is less, but a reason.
        quiet: No warnings, and no sentence about the table of answers.
        json: Print a record instead of a table or sentence.
    """
    if queries is None and agent is None and state is None and actions is None:
        raise UsageError("give --agent with --state and --actions, or --queries with --out")
    if queries is not None:
        if agent is not None or state is not None or actions is not None:
            raise UsageError("--agent, --state and --actions go without --queries, a table")
        _answer_table(run, queries, out, plot, min_support, quiet, json)
        return
    needed = {"--agent": agent, "--state": state, "--actions": actions}
    missing = [flag for flag, value in needed.items() if value is None]
    if agent is None or state is None or actions is None:
        raise UsageError(f"a single question also needs {' and '.join(missing)}")
    set_up_jax()
    from twinfold.models.checkpoint import load_run

    _answer_one(load_run(run), agent, state, actions, out, plot, min_support, quiet, json)


def _answer_table(
    run: Path,
    queries: Path,
    out: Path | None,
    plot: Path | None,
    min_support: float | None,
    quiet: bool,
    json: bool,
) -> None:
    if out is None:
        raise UsageError("--queries needs --out, the table of answers to write")
    if plot is not None:
        raise UsageError("--plot draws a single question; give --agent, --state and --actions")
    if out.exists() and queries.exists() and out.samefile(queries):
        raise UsageError(f"--out {out} is the table of questions itself; choose another file")
    set_up_jax()
    from twinfold.data.io import read_table, write_table
    from twinfold.models.checkpoint import load_run
    from twinfold.whatif import QUERY, answer

    model = load_run(run)
    table = read_table(queries, ids=[model.roles.agent, QUERY])
    answers = answer(model, table, warn=_silent if quiet else warn, min_support=min_support)
    write_table(answers, out)
    n_queries = len(answers[QUERY].unique())
    if json:
        print_json({"out": str(out), "queries": n_queries, "rows": len(answers)})
    elif not quiet:
        print(f"{out}: {n_queries} queries, {len(answers)} predicted rows")


def _silent(line: str) -> None:
    """Drop a warning."""


def _answer_one(
    model: FittedModel,
    agent: str,
    state: str,
    actions: str,
    out: Path | None,
    plot: Path | None,
    min_support: float | None,
    quiet: bool,
    json: bool,
) -> None:
    from twinfold.cli.show import plot_rollout, show_rollout
    from twinfold.simulate import Simulator

    rollout = Simulator(model, agent).rollout(
        state_numbers(state, model.roles.state),
        _steps(actions, len(model.roles.action)),
        warn=_silent if quiet else warn,
        support=True,
        min_support=min_support,
    )
    frame = rollout.to_frame()
    if plot is not None:
        plot_rollout(plot, rollout, f"agent {agent}")
    if out is not None:
        from twinfold.data.io import write_table

        write_table(frame, out)
    if json:
        print_json(
            {
                "agent": rollout.agent,
                "coverage": rollout.coverage,
                "calibrated": rollout.calibrated,
                "simultaneous": rollout.simultaneous,
                "prediction": frame.to_dict("list"),
            }
        )
        return
    show_rollout(console(), rollout)
    for path in (out, plot):
        if path is not None:
            print(path)


def _steps(text: str, width: int) -> np.ndarray:
    """``"1,0x3"`` for one column, ``"1,2;0,0x3"`` for several: ``(H,)`` or ``(H, A)``."""
    import numpy as np

    words = text.split(",") if width == 1 and ";" not in text else text.split(";")
    steps: list[list[float]] = []
    for word in words:
        body, repeated, times = word.partition("x")
        count = 1
        if repeated:
            count = _whole(times, f"--actions: {word!r} should be an action, or an action x times")
        if not 1 <= count <= _MOST_STEPS - len(steps):
            raise UsageError(f"--actions: {word!r}: a question has 1 to {_MOST_STEPS} steps")
        steps += [numbers(body, "--actions")] * count
    if any(len(step) != width for step in steps):
        raise UsageError(
            f"--actions: every step needs {width} value{'s' if width > 1 else ''}, separated by "
            "commas; steps of several values are separated by semicolons"
        )
    actions = np.array(steps)
    return actions[:, 0] if width == 1 else actions
