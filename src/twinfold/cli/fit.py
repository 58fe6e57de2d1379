"""``twinfold fit``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from twinfold.cli.console import interruptible, print_json, set_up_jax, talking
from twinfold.cli.flags import Flag, RoleFlags, numbers, settings_flags, split, whole
from twinfold.config import FitConfig

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset


_FLAGS = (
    "seed", "effort", "linear", "features", "rank", "members", "state_net", "action_net",
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
        """Return the flags that were given, as settings.

        Raises:
            UsageError: widths that are no whole numbers.
        """
        values = asdict(self)
        if self.rank is not None and self.rank != "auto":
            values["rank"] = whole(self.rank, "--rank takes a whole number or auto")
        for name in ("state_net", "action_net"):
            if values[name] is not None:
                values[name] = _widths(values[name], "--" + name.replace("_", "-"))
        if self.shrinkages is not None:
            values["shrinkages"] = numbers(",".join(self.shrinkages), "--shrinkages")
        return {name: value for name, value in values.items() if value is not None}


def _widths(values: list[str], flag: str) -> tuple[int, ...]:
    expected = f"{flag} takes whole numbers separated by commas"
    widths = tuple(whole(word, expected) for word in split(values))
    return () if widths == (0,) else widths


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
    Part of the data is held out, simple models and nets predict it, and the
    simplest that does about as well as the best is fitted to all data.

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

    from twinfold.data.io import load_panel, read_manifest
    from twinfold.training.fit import fit as fit_model
    from twinfold.training.run_writer import check_free

    given = (settings or FitFlags()).given()
    chosen = FitConfig.load(config, **given) if config is not None else FitConfig.parse(given)
    expected = "--reserve takes a whole number or auto"
    number = "auto" if reserve == "auto" else whole(reserve, expected)
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
        source["table"] = str(table.resolve())  # where `twinfold validate` looks for it
        model = fit_model(
            dataset,
            chosen,
            out=out,
            reserve=number,
            source=source,
            log=talk.line,
            progress=talk.progress,
        )
        talk.line(f"ask: {_example(dataset, out)}")
    if json:
        print_json(
            {"run": str(out), "config": chosen.model_dump(mode="json"), **model.info.to_dict()}
        )
        return
    error = model.info.validation.get("rmse")
    known = "" if error is None else f", held-out error {error:.3g} standard deviations"
    print(f"{out}: {dataset.n_agents} simulators{known}")


def _example(dataset: PanelDataset, out: Path) -> str:
    """Return a first question to the run, from the data itself."""
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
