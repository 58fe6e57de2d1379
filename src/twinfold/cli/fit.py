"""``twinfold fit``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from twinfold.cli.column_flags import RoleFlags, TimeStep, load_told
from twinfold.cli.console import Talk, interruptible, print_json, set_up_jax, talking
from twinfold.cli.flags import Flag, settings_flags
from twinfold.cli.values import Place, Values, takes
from twinfold.config import FitConfig
from twinfold.utils.text import counted

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset
    from twinfold.models.fitted_model import FittedModel

Reserve = Annotated[int | Literal["auto"], takes(Values(int, ge=0, le=1_000_000, words=("auto",)))]
_FLAGS = (
    "seed", "effort", "linear", "history", "features", "rank", "members", "state_net", "action_net",
    "activation", "learning_rate", "batch_size", "steps", "shrinkages", "validation_share",
)  # fmt: skip
"""Settings that have a flag; the others are for a file."""


def _default(field: Any) -> object:
    value = field.default
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


@Parameter(name="*", group="Settings")
class FitFlags(settings_flags({name: FitConfig.model_fields[name] for name in _FLAGS}, _default)):
    """Settings of a fit; what is not given is the configuration's or the default."""

    def given(self) -> dict[str, Any]:
        """Return the flags that were given, as settings."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def fit(
    table: Place,
    /,
    *,
    out: Place,
    config: Place | None = None,
    reserve: Reserve = "auto",
    columns: RoleFlags = RoleFlags(),
    time_step: TimeStep = None,
    settings: FitFlags = FitFlags(),
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    r"""Learn a simulator for every agent of a table.

    The columns are named by flags, or by the manifest beside the table:

      twinfold fit cohort.csv --agent patient --time day \
          --state weight,glucose --action dose --action-type continuous --out run
      twinfold fit cohort.parquet --out run

    Settings need no flags: the defaults are meant for data never seen before.
    Part of the data is held out, simple models and nets predict it, and the
    simplest that does about as well as the best is fitted to all data.

    An interrupted fit goes on where it stopped when the same command is given
    again, to the same result.

    Args:
        table: A .csv, .tsv or .parquet file, or a folder of Parquet; one row per agent and time.
        out: Run directory to write; it must not exist.
        config: TOML file with settings, such as a run's config.toml; flags win over it.
        reserve: Agents that the nets must not see, drawn at random, to calibrate the band on; auto
            takes a tenth (20 to 100) of 60 agents or more, 0 none. Every agent gets a simulator.
        columns: Which column is what.
        time_step: Time between two rows, such as 0.5 or 1h; variable makes it an input of the model
            (uneven times), regular splits trajectories where it is another, auto finds out.
        settings: How to learn.
        quiet: Say nothing on standard error unless something is wrong.
        json: Print the record of the fit.
    """
    set_up_jax()
    given = settings.given()
    chosen = FitConfig.load(config, **given) if config is not None else FitConfig.parse(given)
    with interruptible(lambda: _next_step(out)), talking(quiet) as talk:
        dataset, model = _learn(table, out, chosen, reserve, columns, time_step, talk)
    if json:
        record = {"run": str(out), "config": chosen.model_dump(mode="json")}
        print_json({**record, **model.info.to_dict()})
        return
    error = model.info.validation.get("rmse")
    known = "" if error is None else f", held-out error {error:.3g} standard deviations"
    print(f"{out}: {counted(dataset.n_agents, 'simulator')}{known}")


def _learn(
    table: Path,
    out: Path,
    config: FitConfig,
    reserve: int | Literal["auto"],
    columns: RoleFlags,
    time_step: str | None,
    talk: Talk,
) -> tuple[PanelDataset, FittedModel]:
    """Return the data and the run that is made of it."""
    from twinfold.data.io import told_format
    from twinfold.data.manifest import read_manifest
    from twinfold.training.fit import fit as fit_model
    from twinfold.training.run_writer import check_free

    check_free(out)
    roles = columns.roles(table)
    dataset = load_told(table, roles, columns.form.given(), talk, time_step)
    manifest = read_manifest(table) if roles is None or isinstance(roles, dict) else None
    source = dict(manifest.source) if manifest is not None else {}
    source["table"] = str(table.resolve())  # where `twinfold validate` looks for it
    if form := told_format(manifest, columns.form.given()).given():
        source["table_format"] = form
    model = fit_model(
        dataset,
        config,
        out=out,
        reserve=reserve,
        source=source,
        log=talk.line,
        progress=talk.progress,
    )
    talk.line(f"ask: {_example(dataset, out)}")
    return dataset, model


def _next_step(out: Path) -> str:
    """Say what an interrupted fit leaves, and how it goes on."""
    partial = out.with_name(out.name + ".partial")
    if not partial.is_dir():
        return f"nothing was written to {out}"
    return f"the same command goes on where it stopped; until then all is kept in {partial}"


def _example(dataset: PanelDataset, out: Path) -> str:
    """Return a first question to the run, from the data itself."""
    data = dataset.transitions()
    actions = dataset.action_code.user_values(data.action[:3], one=False)
    if dataset.roles.exogenous:
        return (
            f"twinfold simulate {shlex.quote(str(out))} --queries questions.csv --out answers.csv"
        )
    words = {
        "--agent": str(dataset.agent_ids[data.agent[0]]),
        "--state": ",".join(f"{value:.6g}" for value in data.state[0]),
    }
    if actions.shape[1]:
        words["--actions"] = (";" if actions.shape[1] > 1 else ",").join(
            ",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in step)
            for step in actions
        )
    else:
        words["--steps"] = str(len(actions))
    flags = " ".join(f"{flag} {shlex.quote(word)}" for flag, word in words.items())
    return f"twinfold simulate {shlex.quote(str(out))} {flags}"
