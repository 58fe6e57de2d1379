"""CartPole from nothing to a page: what ``twinfold demo`` runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from twinfold import __version__
from twinfold.benchmark.collect import collect, provenance
from twinfold.benchmark.protocol import evaluate_prediction, evaluate_return, predict
from twinfold.config import FitConfig
from twinfold.data.io import save_panel, write_table
from twinfold.data.panel import PanelDataset
from twinfold.data.validate import check
from twinfold.errors import InvalidDataError, UsageError
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
N_AGENTS = 500
JUDGED = 60  # agents whose prediction error is measured
EPISODES = 20
BEST_RETURN = 200.0  # the longest episode, one point per step
_PROBES = 64
_MARK = "demo.json"  # tells a demo's directory from others


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
    log(f"1. collecting one random trajectory of each of {N_AGENTS} {TASK} agents")
    dataset = collect(task, "random", N_AGENTS, seed)
    source = provenance(task, "random", N_AGENTS, seed)
    save_panel(dataset, out / "cohort.parquet", source)

    log("2. checking the table")
    report = check(dataset.to_frame(), dataset.roles)
    if not report.ok:
        raise InvalidDataError(report.problems)
    log(f"   valid; {dataset.n_transitions} transitions")

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
    errors = evaluate_prediction(model, task, range(JUDGED))
    _write_record(out / "prediction.json", errors)
    log(f"   median 50-step RMSE over {JUDGED} agents: {errors['median_over_agents']:.2g}")

    log("5. planning in the simulators, acting in the true task")
    returns = evaluate_return(model, task, range(5), episodes=EPISODES, progress=progress)
    _write_record(out / "return.json", returns)
    log("   mean returns: " + ", ".join(f"{row['mean']:.1f}" for row in returns["agents"]))

    log("6. asking what would happen if agent 3 were pushed left twice, then right twice, ...")
    answer = Simulator(model, 3).rollout([0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1] * 5)
    write_table(answer.to_frame(), out / "what_if.csv")

    seconds = time.perf_counter() - begun
    page = out / "index.html"
    _write_page(page, dataset, model, task, seed, errors, returns, answer, seconds)
    log(f"done in {seconds:.0f} s")
    return page


def _clear(out: Path, seed: int) -> None:
    """Remove an earlier demo's run; refuse a directory of anything else, whose files would go."""
    mark = out / _MARK
    if out.is_dir() and not mark.is_file() and any(out.iterdir()):
        raise UsageError(f"{out} holds files that are not of a demo; choose another --out")
    _write_record(mark, {"twinfold": __version__, "seed": seed})
    for run in (out / "run", out / "run.partial"):
        shutil.rmtree(run, ignore_errors=True)


def _write_record(path: Path, record: dict[str, Any]) -> None:
    atomic_write_text(path, json.dumps(record, indent=1))


def _write_page(
    path: Path,
    dataset: PanelDataset,
    model: FittedModel,
    task: Task,
    seed: int,
    errors: dict[str, Any],
    returns: dict[str, Any],
    answer: Rollout,
    seconds: float,
) -> None:
    test = errors["agents"][:5]
    paper_errors = {int(agent): row for agent, row in errors["paper"].items()}
    paper_returns = {int(agent): row for agent, row in returns["paper"].items()}
    lowest = min(row["mean"] for row in returns["agents"])
    paper_lowest = min(row["return_mean"] for row in paper_returns.values())
    median = errors["median_over_agents"]
    best = dict.fromkeys(range(5), BEST_RETURN)
    validation = model.info.validation
    summary = [
        f"From one trajectory of random actions per agent, {dataset.n_transitions} transitions in "
        f"all, twinfold learned {dataset.n_agents} personal simulators in "
        f"{model.info.seconds:.0f} seconds. Planning in them keeps the pole of the hardest of "
        f"the five test agents up for {lowest:.0f} of {BEST_RETURN:.0f} steps.",
        "Agents differ in the force of their motor and the length of their pole. "
        "The model never sees either.",
    ]
    sections = [
        Section(
            "The map of agents",
            "Each point is an agent, placed by how its simulator responds to the same probes. "
            "Colours show the true physics, which the model never saw.",
            [_map(dataset, model, task, seed)],
            "The two axes are principal components and have no meaning of their own.",
        ),
        Section(
            "Predicted against true",
            "Fifty steps ahead without any correction, under a policy that is not in the data. "
            "One trajectory of each test agent.",
            [
                figures.prediction_panels(_examples(model, task, test), task.state_names),
                error_table(test, paper_errors, caption="Error over 50 steps, 200 trajectories"),
            ],
            errors["note"],
        ),
        Section(
            "Returns",
            "Model-predictive control in each agent's simulator, acting in the true task.",
            [
                figures.returns_figure(returns["agents"], paper_returns, best),
                returns_table(returns["agents"], paper_returns, best),
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
            [
                figures.rollout_figure(
                    Curves(answer.steps, answer.centre, answer.lower, answer.upper, answer.members),
                    task.state_names,
                )
            ],
            f"The band is meant to hold {100 * answer.coverage:.0f} % of outcomes at each step.",
        ),
    ]
    facts = [
        Fact("agents", str(dataset.n_agents), "one trajectory each"),
        Fact(
            "median 50-step error",
            number(median),
            f"over {JUDGED} agents; the paper's three: "
            + ", ".join(number(row["rmse_mean"]) for row in paper_errors.values()),
        ),
        Fact("lowest mean return", f"{lowest:.1f}", f"of 200; paper {paper_lowest:.1f}"),
        Fact("time in all", f"{seconds:.0f} s", f"on {model.info.device}"),
    ]
    write_page(
        path,
        f"A digital twin for each of {dataset.n_agents} cart-poles",
        summary,
        sections,
        facts,
        f"twinfold {model.info.twinfold} · seed {seed} · CartPole, random policy",
    )


def _map(dataset: PanelDataset, model: FittedModel, task: Task, seed: int) -> Any:
    data = dataset.transitions()
    probes = np.random.default_rng(seed).choice(len(data), _PROBES, replace=False)
    responses = agent_responses(model, data.state[probes], data.action[probes])
    physics = agent_covariates(task, N_AGENTS, seed)[[int(name) for name in model.agent_ids]]
    return figures.factor_map(
        model.agent_ids, responses, physics, task.covariate_names, highlight=range(5)
    )


def _examples(model: FittedModel, task: Task, test: list[dict[str, Any]]) -> dict[str, Curves]:
    """One true trajectory of each test agent with its prediction, up to the episode's end."""
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
