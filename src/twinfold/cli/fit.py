"""``twinfold fit``."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from twinfold.cli.console import interruptible, print_json, set_up_jax, talking
from twinfold.cli.flags import Flag, Names, RoleFlags, numbers, shown, split, whole
from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset


@Parameter(name="*", group="Settings")
@dataclass(frozen=True)
class FitFlags:
    """Settings of a fit; what is not given is the configuration's or the default.

    Attributes:
        seed: Of everything that is random.
        effort: How much is tried: quick (seconds), normal (minutes) or thorough (tens of minutes).
        linear: The linear model without or beside the nets: auto, none, no change, drift,
            own drift, pooled, levels, slopes or average.
        features: separable (state times action), joint (of both), or auto: by held-out error.
        rank: Latent terms of the nets; auto tries some likewise, 0 is no nets.
        members: Size of the ensemble.
        state_net: Hidden widths of the state net, such as 128 or 64,64.
        action_net: Hidden widths of the action net (continuous actions); 0 for a linear one.
        activation: relu, silu, hard_swish or tanh.
        learning_rate: Its peak; it falls to zero at the end.
        batch_size: Transitions per training step.
        steps: Longest training, in steps; shorter ones are tried on held-out data too.
        shrinkages: Strengths of the pull of agents to each other that are tried on held-out data.
        validation_share: Share of the agents of which the last part is held out (of little data
            all of them are); 0 for none.
    """

    seed: Annotated[int | None, shown(0)] = None
    effort: Annotated[str | None, shown("normal")] = None
    linear: Annotated[str | None, shown("auto")] = None
    features: Annotated[str | None, shown("separable")] = None
    rank: Annotated[str | None, shown("auto")] = None
    members: Annotated[int | None, shown(5)] = None
    state_net: Annotated[Names, shown("128")] = None
    action_net: Annotated[Names, shown("64")] = None
    activation: Annotated[str | None, shown("relu")] = None
    learning_rate: Annotated[float | None, shown(0.01)] = None
    batch_size: Annotated[int | None, shown(128)] = None
    steps: Annotated[int | None, shown(50000)] = None
    shrinkages: Annotated[Names, shown("0.001,0.3,3.0,30.0")] = None
    validation_share: Annotated[float | None, shown(0.2)] = None

    def given(self) -> dict[str, Any]:
        """The flags that were given, as settings.

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

    from twinfold.config import FitConfig
    from twinfold.data.io import load_panel, read_manifest
    from twinfold.training.fit import fit as fit_model
    from twinfold.training.run_directory import check_free
    from twinfold.uncertainty.conformal import reserve as split_agents

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
        print_json(
            {"run": str(out), "config": chosen.model_dump(mode="json"), **model.info.to_dict()}
        )
        return
    error = model.info.validation.get("rmse")
    known = "" if error is None else f", held-out error {error:.3g} standard deviations"
    print(f"{out}: {dataset.n_agents} simulators{known}")


def _reserved(word: str, n_agents: int) -> int:
    """The number of agents that ``--reserve`` asks for."""
    from twinfold.uncertainty.conformal import default_reserved

    if word == "auto":
        return default_reserved(n_agents)
    number = whole(word, "--reserve takes a whole number or auto")
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
