"""The page of the studies, made from their records. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from twinfold.baselines.cadm_settings import CaDMSettings
from twinfold.benchmark.studies.study_figures import METHODS, TASKS
from twinfold.benchmark.studies.study_records import Record, latest_records
from twinfold.benchmark.studies.study_settings import StudySettings

INTRO = """\
# Figures and studies of the paper

What the PerSim paper shows beside its tables, measured again on our own data, fits and records.
Nothing here is typed: this page and its figures are made from `results/STUDY.jsonl`, each line of
which holds its settings, budgets and seeds.

```sh
python benchmarks/studies.py run             # what is missing; or: run unseen map ...
python benchmarks/studies.py figure          # PNG files in docs/figures
python benchmarks/studies.py page            # this page
```

What is measured stands in `suites/unseen.toml` and `suites/figures.toml`. Data are 500 agents with
one trajectory each, by the policy named beside the task; errors are those of the paper's protocol,
50 steps open loop on actions of a test policy that is in no data. Fits choose by errors on recorded
data that they hold out, nothing is set per task. There is one data set and one fit of each:
differences of a few tens of per cent say nothing.
"""

UNSEEN = """\
A learned simulator of an agent needs its factors, and little else. Of 500 agents, {unseen} are kept
from the nets ({tests} test agents, the others at random), and their factors come

- from their true covariates by a **learned map** from covariates to factors, as in the paper; here
  it is a kernel ridge regression on the trained agents;
- from the same covariates as **static columns** of the table, by the prior that a fit makes of them
  (linear: it serves where agents differ linearly in what is known of them);
- from their first **1, 3, 10 transitions** or all they have, in closed form, nets untouched.

At the ends stand the average agent, of which nothing is known, and nets that were trained on the
agent with all others. Medians over unseen agents, with 95 % intervals:
"""

MAP = """\
Every agent answers the same probes (states and actions of the data); its answers do not depend on
the basis of the factors, which is arbitrary. R² of the true covariates, each agent predicted from
others ({folds} folds): read from the leading principal components of the answers linearly or by a
smooth function, and from the place on a map alone (ten neighbours).
"""

RANK = """\
Separable nets of rank r alone (no linear model beside them) on the same data, with everything but r
equal; shrinkage is chosen of two strengths by held-out error. The *error of one step* is that of
the tensor of standardised changes over agents, states and actions, relative to the tensor's size.
No model of rank r can be below the *least error* (Eckart and Young, on each unfolding of the true
tensor). Numerical ranks are along agents, states (with coordinates) and actions: singular values
above {tolerance} of the largest. Proposition 1 says 3 for MountainCar without clipping, which shows
along the states; its two functions of gravity and its two of the action show along the others. Its
50 steps are under random actions, as no test policy knows that task.
"""

BANDS = """\
The band is meant to hold {coverage} of whole trajectories. No agent is reserved here to calibrate
it, and the test policy goes where the data did not: it is a band of held-out errors on recorded
data, not a promise. Below each state is what the prediction misses, on its own scale.
"""

CARTS = """\
All models start from the same true state, {history} steps into an episode of the test policy, which
are CaDM's history; only trajectories that last {last} steps count, and the one in the middle by its
error is drawn. Errors over all of them:
"""

BUDGET = """\
*Steps* are those of training, per member; *seconds* are those of the whole fit, on a machine that
was busy with other work. Budgets are equal only where steps are: 12,500 are a short search. CaDM
has {usual:,} steps by default, and reads the first ten true steps of each test trajectory.
"""

SCARCITY = """\
The first N agents of a population are all there is. *twinfold* is fitted to them, *pooled* is the
same fit with all trajectories as if of one agent, and CaDM is the vanilla model. Errors of the test
agents, which are in every population:
"""


def studies_page(
    settings: Mapping[str, StudySettings], records: Mapping[str, Sequence[Record]]
) -> str:
    """Return the page in Markdown; a study without a record is left out.

    Args:
        settings: of the studies, by name.
        records: of the studies, by name, the oldest first.
    """
    parts = [INTRO]
    for name, own in settings.items():
        rows = latest_records(list(records.get(name, ())))
        if rows:
            parts += [f"## {own.title}\n", _SECTIONS[name](rows)]
    return "\n".join(parts).rstrip() + "\n"


def _unseen(rows: Sequence[Record]) -> str:
    ways = list(rows[0]["ways"])
    head = ["known of the agent", *(_named(row) for row in rows)]
    body = [
        [_way(way), *(_interval(row["ways"][way]) for row in rows if way in row["ways"])]
        for way in ways
    ]
    tests = min(5, len(rows[0]["unseen_agents"]))
    text = UNSEEN.format(unseen=len(rows[0]["unseen_agents"]), tests=tests)
    shares = " and ".join(
        f"{100 * (row['static_explained'] or 0):.1f} % ({_named(row)})" for row in rows
    )
    told = f"Of how trained agents differ, the static columns explain {shares}.\n"
    return "\n".join([text, _table(head, body), told, _figure("unseen", "Unseen agents")])


def _way(name: str) -> str:
    """Return what is known of an agent, as the table says it."""
    first = {
        "nothing": "nothing: the average agent",
        "covariates, learned": "covariates, by a learned map",
        "covariates, prior": "covariates, as static columns",
        "1 transitions": "1 transition",
        "covariates, prior, 1 transitions": "static columns and 1 transition",
        "all transitions": "all its transitions",
        "trained": "nets trained on it",
    }
    return first.get(name, name.replace("covariates, prior, ", "static columns and "))


def _map(rows: Sequence[Record]) -> str:
    head = [
        "task",
        "covariate",
        "R², smooth",
        "R², linear",
        "R², place on PCA",
        "R², place on t-SNE",
        "components",
    ]
    body = []
    for row in rows:
        for name in row["covariates"]:
            read = [
                _r2(row["r2"][how][name]) for how in ("smooth", "linear", "pca_map", "tsne_map")
            ]
            body.append([_named(row), name, *read, str(row["components"])])
    text = MAP.format(folds=rows[0]["settings"]["folds"])
    figures = [_figure(f"map-{row['task']}", f"Agents of {TASKS[row['task']]}") for row in rows]
    return "\n".join([text, _table(head, body), *figures])


def _r2(value: float) -> str:
    """Return an R2 with four digits, rounded towards zero so that no miss reads as one."""
    return f"{min(value, 0.99994):.4f}"


def _carts(rows: Sequence[Record]) -> str:
    methods = list(rows[0]["predicted"])
    head = ["agent (force/half pole)", *(METHODS[name] for name in methods), "trajectories"]
    body = [
        [row["label"], *(_number(row["rmse"][name]) for name in methods), str(row["lasting"])]
        for row in rows
    ]
    steps, history = rows[0]["horizons"][-1], rows[0]["history"]
    budget = rows[0]["fits"].get("cadm", {}).get("steps")
    text = CARTS.format(history=history, last=history + steps)
    parts = [text, _table(head, body), _figure("carts", "True and predicted carts")]
    if budget is not None:
        parts.insert(2, f"CaDMs: {budget:,} training steps per member ({_USUAL:,} by default).\n")
    return "\n".join(parts)


def _bands(rows: Sequence[Record]) -> str:
    head = ["task", "agent", "error", "steps within the band", "whole trajectories within"]
    body = [
        [
            _named(row),
            agent["label"],
            _number(agent["rmse"]),
            f"{100 * agent['steps_inside']:.0f} %",
            f"{100 * agent['inside']:.0f} %",
        ]
        for row in rows
        for agent in row["agents"]
    ]
    text = BANDS.format(coverage=f"{100 * rows[0]['coverage']:.0f} %")
    figures = [
        _figure(f"bands-{row['task']}", f"Trajectories of {TASKS[row['task']]}") for row in rows
    ]
    return "\n".join([text, _table(head, body), *figures])


def _rank(rows: Sequence[Record]) -> str:
    head = [
        "task",
        "rank r",
        "error of one step",
        "least error",
        "error of 50 steps",
        "numerical ranks, learned",
        "true",
    ]
    body = [
        [
            _named(row),
            str(row["rank"]),
            _number(row["tensor_error"]),
            _number(row["least_error"]) if row["least_error"] > 1e-10 else "0",
            _number(row["rmse"]["median"]),
            _ranks(row["learned"]),
            _ranks(row["true"]),
        ]
        for row in rows
    ]
    text = RANK.format(tolerance=f"{100 * rows[0]['settings']['tolerance']:g} %")
    return "\n".join([text, _table(head, body), _figure("rank", "Error and singular values")])


def _ranks(spectra: Mapping[str, Record]) -> str:
    return ", ".join(str(found["numerical_rank"]) for found in spectra.values())


def _scarcity(rows: Sequence[Record]) -> str:
    labels = {row["task"]: [agent["label"] for agent in row["agents"]] for row in rows}
    parts = [SCARCITY]
    for task, names in labels.items():
        mine = [row for row in rows if row["task"] == task]
        mine.sort(key=lambda row: (row["training_agents"], list(METHODS).index(row["method"])))
        head = [f"{_named(mine[0])}: N", "method", *names, "median", "steps", "seconds"]
        body = [
            [
                str(row["training_agents"]),
                METHODS[row["method"]],
                *(_number(agent["rmse_mean"]) for agent in row["agents"]),
                _number(row["median_over_agents"]),
                f"{row['fit_of']['steps']:,}",
                f"{row['fit_of']['seconds']:.0f}",
            ]
            for row in mine
        ]
        parts.append(_table(head, body))
    parts.append(BUDGET.format(usual=_USUAL))
    if any(row["returns"] for row in rows):
        parts.append(_returns(rows))
    parts.append(_figure("scarcity", "Error by the number of training agents"))
    return "\n".join(parts)


def _returns(rows: Sequence[Record]) -> str:
    head = ["task", "N", "method", "returns of the test agents", "episodes of each"]
    body = [
        [
            _named(row),
            str(row["training_agents"]),
            METHODS[row["method"]],
            ", ".join(f"{agent['mean']:.1f}" for agent in row["returns"]),
            str(row["returns"][0]["n"]),
        ]
        for row in rows
        if row["returns"]
    ]
    return "Returns of planning with these models:\n\n" + _table(head, body)


def _named(row: Record) -> str:
    """Return task and data of a record."""
    return f"{TASKS[row['task']]}, {row['dataset']}"


def _interval(found: Record) -> str:
    return f"{_number(found['median'])} ({_number(found['low'])}–{_number(found['high'])})"


def _number(value: float | None) -> str:
    """Return a number with three significant digits; one that is not finite as diverged."""
    if value is None:
        return "diverged"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.6f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _figure(name: str, text: str) -> str:
    return f"![{text}](figures/study-{name}.png)\n"


_USUAL = CaDMSettings().steps

_SECTIONS: dict[str, Callable[[Sequence[Record]], str]] = {
    "unseen": _unseen,
    "map": _map,
    "carts": _carts,
    "bands": _bands,
    "rank": _rank,
    "scarcity": _scarcity,
}
