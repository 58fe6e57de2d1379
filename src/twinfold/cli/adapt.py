"""``twinfold adapt`` and ``twinfold forget``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.cli.column_flags import RoleFlags, load_told, run_table
from twinfold.cli.console import console, print_json, set_up_jax, talking, warn
from twinfold.cli.flags import Flag, SomeNames, named_agents
from twinfold.cli.values import Place
from twinfold.utils.text import counted

if TYPE_CHECKING:
    from twinfold.models.fitted_model import FittedModel


def adapt(
    run: Place,
    table: Place,
    /,
    *,
    out: Place,
    columns: RoleFlags = RoleFlags(),
    strict: Flag = False,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Add new agents to a run, or more data of known ones, without a new fit.

    The nets stay as they are; each agent's own factors are solved for exactly.
    A handful of rows is enough for a simulator, and its band says how sure it
    is. Agents that the run knows already gain what is new: give new rows only.
    Values too large to compute with are all listed, and nothing is written.

      twinfold adapt run newcomers.csv --out run2

    The columns are those of the fit; give them by flags or a manifest if the
    table calls them otherwise.

    Args:
        run: Run directory of a fit.
        table: A .csv, .tsv or .parquet file, or a folder of Parquet; one row per agent and time.
        out: Run directory to write; it must not exist.
        columns: Which column is what, if not as in the fit.
        strict: Refuse data far outside the range of the run's, rather than warn.
        quiet: No warnings and no progress.
        json: Print a record.
    """
    set_up_jax()
    from twinfold.adaptation.adapt import adapt as adapt_model
    from twinfold.training.run_directory import load_run
    from twinfold.training.run_writer import check_free, save_run

    check_free(out)
    model = load_run(run)
    roles, form = run_table(table, columns, model)
    with talking(quiet) as talk:
        panel = load_told(table, roles, form, talk, model=model)
        adapted = adapt_model(
            model,
            panel,
            strict=strict,
            warn=(lambda line: None) if quiet else warn,
            progress=talk.progress,
        )
        save_run(adapted, out)
    entry = adapted.info.adapted[-1]
    if json:
        print_json({"run": str(out), **entry.model_dump()})
        return
    print(
        f"{out}: {counted(len(adapted.agent_ids), 'simulator')}, {entry.new_agents} of them new, "
        f"from {counted(entry.transitions, 'transition')}"
    )


def forget(
    run: Place,
    /,
    *,
    agent: SomeNames,
    out: Place,
    quiet: Flag = False,
) -> None:
    """Take agents out of a run: their factors, their sums, their kept states.

    An agent that was added by `adapt` leaves no trace. Nets that were trained
    on an agent's data keep what they learned from it; only a new fit without
    that agent undoes this.

      twinfold forget run --agent P7,P12 --out run2

    Args:
        run: Run directory.
        agent: Ids, separated by commas; the flag may be repeated.
        out: Run directory to write; it must not exist.
        quiet: No warnings.
    """
    set_up_jax()
    from twinfold.adaptation.adapt import forget as forget_agents
    from twinfold.training.run_directory import load_run
    from twinfold.training.run_writer import check_free, save_run

    check_free(out)
    model = load_run(run)
    names = named_agents(agent, model)
    knew = model.posterior.trained[model.agent_indices(names)]
    trained = [name for name, nets in zip(names, knew, strict=True) if nets]
    if trained and not quiet:
        more = f" and {len(trained) - 1} more" if len(trained) > 1 else ""
        what = "nets" if model.info.rank else "linear models"
        warn(
            f"the {what} were trained on the data of agent {trained[0]!r}{more}; what they learned "
            "from it stays until a new fit"
        )
    left = forget_agents(model, names)
    if not quiet:
        for line in _calibration_left(model, left):
            warn(line)
    save_run(left, out)
    count = counted(len(left.agent_ids), "simulator")
    console().print(f"{out}: {count}", soft_wrap=True)


def _calibration_left(model: FittedModel, left: FittedModel) -> list[str]:
    """Say what forgetting did to the band of everybody else."""
    from twinfold.uncertainty.intervals import promised_steps

    if model.calibration is None:
        return []
    n_before = len(model.calibration.agent)
    n_left = 0 if left.calibration is None else len(left.calibration.agent)
    if n_left == n_before:
        return []
    line = f"the band was calibrated on {counted(n_before, 'agent')}, {n_left} are left"
    before, after = (promised_steps(m) for m in (model, left))
    if after < before:
        promised = f"{after} steps" if after else "nothing"
        line += f": {100 * left.config.band:g} % were promised for {before} steps, now {promised}"
    return [line]
