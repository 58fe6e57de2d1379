"""CartPole from nothing to a page: what ``twinfold demo`` runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from twinfold import __version__
from twinfold.benchmark.collect import collect, provenance
from twinfold.benchmark.protocol import evaluate_prediction, evaluate_return, predict
from twinfold.config import FitConfig
from twinfold.data.io import save_panel, write_table
from twinfold.data.panel import PanelDataset
from twinfold.data.validate import check
from twinfold.errors import InvalidDataError, UsageError
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import agent_responses
from twinfold.report import figures
from twinfold.report.curves import Curves
from twinfold.report.html import Fact, Section, write_page
from twinfold.report.tables import error_table, number, returns_table
from twinfold.simulation.simulator import Rollout, Simulator
from twinfold.tasks import Task, agent_covariates, get_task
from twinfold.training.fit import fit
from twinfold.uncertainty.intervals import prediction_band
from twinfold.utils.files import atomic_write_text

TASK = "cart_pole"
_MARK = "demo.json"  # tells a demo's directory from others


@dataclass(frozen=True)
class DemoSettings:
    """Size of a demo.

    Attributes:
        agents: of the table.
        tested: agents whose prediction error is measured.
        episodes: of each test agent.
        probes: states and actions by which agents are placed on the map.
    """

    agents: int = 500
    tested: int = 60
    episodes: int = 20
    probes: int = 64


DEMO = DemoSettings()
"""The size of every demo."""


def run_demo(
    out: Path,
    seed: int,
    log: Callable[[str], None],
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Collect, check, fit, evaluate both ways, answer a what-if, write the page.

    Args:
        out: directory for all of it; what an earlier demo left there is replaced.
        seed: of data and fit.
        log: receives one line per thing worth knowing.
        progress: receives (what, done, in all).

    Returns:
        The path of the page.

    Raises:
        UsageError: ``out`` holds something else than an earlier demo.
    """
    begun = time.perf_counter()
    _clear(out, seed)
    task = get_task(TASK)
    dataset, source = _table(task, out, seed, log)

    log("3. fitting")
    model = fit(
        dataset,
        FitConfig(seed=seed),
        out=out / "run",
        source=source,
        log=lambda line: log(f"   {line}"),
        progress=progress,
    )

    log("4. predicting against the true task, open loop")
    errors = evaluate_prediction(model, task, range(DEMO.tested))
    _write_record(out / "prediction.json", errors)
    log(f"   median 50-step RMSE over {DEMO.tested} agents: {errors['median_over_agents']:.2g}")

    log("5. planning in the simulators, acting in the true task")
    returns = evaluate_return(model, task, range(5), episodes=DEMO.episodes, progress=progress)
    _write_record(out / "return.json", returns)
    log("   mean returns: " + ", ".join(f"{row['mean']:.1f}" for row in returns["agents"]))

    log("6. asking what would happen if agent 3 were pushed left twice, then right twice, ...")
    answer = Simulator(model, 3).rollout([0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1] * 5)
    write_table(answer.to_frame(), out / "what_if.csv")

    seconds = time.perf_counter() - begun
    page = out / "index.html"
    _write_page(page, _Results(dataset, model, task, seed, errors, returns, answer, seconds))
    log(f"done in {seconds:.0f} s")
    return page


def _table(
    task: Task, out: Path, seed: int, log: Callable[[str], None]
) -> tuple[PanelDataset, dict[str, Any]]:
    """Collect the table, check it and write it; return it with where it comes from."""
    log(f"1. collecting one random trajectory of each of {DEMO.agents} {TASK} agents")
    dataset = collect(task, "random", DEMO.agents, seed)
    source = provenance(task, "random", DEMO.agents, seed)
    save_panel(dataset, out / "cohort.parquet", source)

    log("2. checking the table")
    report = check(dataset.to_frame(), dataset.roles)
    if not report.ok:
        raise InvalidDataError(report.problems)
    log(f"   valid; {dataset.n_transitions} transitions")
    return dataset, source


class _Results(NamedTuple):
    """Everything that the page shows."""

    dataset: PanelDataset
    model: FittedModel
    task: Task
    seed: int
    errors: dict[str, Any]
    returns: dict[str, Any]
    answer: Rollout
    seconds: float

    @property
    def lowest(self) -> float:
        """The lowest mean return of a test agent."""
        return min(row["mean"] for row in self.returns["agents"])

    def paper(self, kind: str) -> dict[int, dict[str, Any]]:
        """Return the paper's figures, "errors" or "returns", by agent."""
        return {int(agent): row for agent, row in getattr(self, kind)["paper"].items()}


def _clear(out: Path, seed: int) -> None:
    """Remove an earlier demo's run; refuse a directory of anything else, whose files would go."""
    mark = out / _MARK
    if out.is_dir() and not mark.is_file() and any(out.iterdir()):
        raise UsageError(f"{out} holds files that are not of a demo; choose another --out")
    _write_record(mark, {"twinfold": __version__, "seed": seed, "size": asdict(DEMO)})
    for run in (out / "run", out / "run.partial"):
        shutil.rmtree(run, ignore_errors=True)


def _write_record(path: Path, record: dict[str, Any]) -> None:
    atomic_write_text(path, json.dumps(record, indent=1))


def _write_page(path: Path, found: _Results) -> None:
    dataset, model, seed = found.dataset, found.model, found.seed
    summary = [
        f"From one trajectory of random actions per agent, {dataset.n_transitions} transitions in "
        f"all, twinfold learned {dataset.n_agents} personal simulators in "
        f"{model.info.seconds:.0f} seconds. Planning in them keeps the pole of the hardest of "
        f"the five test agents up for {found.lowest:.0f} of {found.task.max_steps} steps.",
        "Agents differ in the force of their motor and the length of their pole. "
        "The model never sees either.",
    ]
    paper_lowest = min(row["return_mean"] for row in found.paper("returns").values())
    facts = [
        Fact("agents", str(dataset.n_agents), "one trajectory each"),
        Fact(
            "median 50-step error",
            number(found.errors["median_over_agents"]),
            f"over {DEMO.tested} agents; the paper's three: "
            + ", ".join(number(row["rmse_mean"]) for row in found.paper("errors").values()),
        ),
        Fact("lowest mean return", f"{found.lowest:.1f}", f"of 200; paper {paper_lowest:.1f}"),
        Fact("time in all", f"{found.seconds:.0f} s", f"on {model.info.device}"),
    ]
    write_page(
        path,
        f"A digital twin for each of {dataset.n_agents} cart-poles",
        summary,
        _sections(found),
        facts,
        f"twinfold {model.info.twinfold} · seed {seed} · CartPole, random policy",
    )


def _sections(found: _Results) -> list[Section]:
    model, names, answer = found.model, found.task.state_names, found.answer
    test, returns = found.errors["agents"][:5], found.returns["agents"]
    best = dict.fromkeys(range(5), float(found.task.max_steps))
    curves = Curves(answer.steps, answer.centre, answer.lower, answer.upper, answer.members)
    validation = model.info.validation
    return [
        Section(
            "The map of agents",
            "Each point is an agent, placed by how its simulator responds to the same probes. "
            "Colours show the true physics, which the model never saw.",
            [_map(found.dataset, model, found.task, found.seed)],
            "The two axes are principal components and have no meaning of their own.",
        ),
        Section(
            "Predicted against true",
            "Fifty steps ahead without any correction, under a policy that is not in the data. "
            "One trajectory of each test agent.",
            [
                figures.prediction_panels(_examples(model, found.task, test), names),
                error_table(
                    test, found.paper("errors"), caption="Error over 50 steps, 200 trajectories"
                ),
            ],
            found.errors["note"],
        ),
        Section(
            "Returns",
            "Model-predictive control in each agent's simulator, acting in the true task.",
            [
                draw(returns, found.paper("returns"), best)
                for draw in (figures.returns_figure, returns_table)
            ],
            "Bars and the paper's figures: mean and standard deviation.",
        ),
        Section(
            "How long to train",
            f"Error on held-out ends of trajectories of {validation['held_out_agents']} agents. "
            "The final simulators are trained for the chosen length on all of the data.",
            [
                figures.validation_curve(
                    [int(steps) for steps in validation["by_steps"]],
                    list(validation["by_steps"].values()),
                    model.info.steps,
                    validation["rmse_by_horizon"],
                    length_name="steps",
                )
            ],
        ),
        Section(
            "A what-if",
            "Agent 3 at rest, pushed left twice, right twice, and so on.",
            [figures.rollout_figure(curves, names)],
            f"The band is meant to hold {100 * answer.coverage:.0f} % of outcomes at each step.",
        ),
    ]


def _map(dataset: PanelDataset, model: FittedModel, task: Task, seed: int) -> Any:
    data = dataset.transitions()
    probes = np.random.default_rng(seed).choice(len(data), DEMO.probes, replace=False)
    agents = np.arange(len(model.agent_ids))
    responses = trimmed_mean(
        agent_responses(model, agents, data.state[probes], data.action[probes])
    )
    physics = agent_covariates(task, DEMO.agents, seed)[[int(name) for name in model.agent_ids]]
    return figures.factor_map(
        model.agent_ids, responses, physics, task.covariate_names, highlight=range(5)
    )


def _examples(model: FittedModel, task: Task, test: list[dict[str, Any]]) -> dict[str, Curves]:
    """Return one true trajectory of each test agent with its prediction, to the episode's end."""
    agents = [row["agent"] for row in test]
    found = predict(model, task, agents, trajectories=1)
    curves = {}
    for row, one in zip(test, found, strict=True):
        steps = np.arange(1, int(one.mask[0].sum()) + 1)
        paths = one.members[:, 0, : len(steps)]
        middle, lower, upper, _ = prediction_band(model, paths, steps)
        curves[f"{row['agent']} ({row['label']})"] = Curves(
            steps,
            middle,
            lower,
            upper,
            truth=one.true[0, 1 : len(steps) + 1],
        )
    return curves
