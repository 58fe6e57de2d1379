"""The studies told from their records, as Markdown and as parts of an HTML page. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from twinfold.baselines.cadm_settings import CaDMSettings
from twinfold.benchmark.studies.study_figures import (
    METHODS,
    TASKS,
    all_ways,
    draw_study,
    endings,
)
from twinfold.benchmark.studies.study_records import Record, latest_records
from twinfold.benchmark.studies.study_settings import StudySettings
from twinfold.benchmark.studies.study_told import Drawing, Told, markdown, paragraphs
from twinfold.report.html import Picture, Section
from twinfold.report.tables import NOTHING, Table

INTRO = """\
# Figures and studies of the paper

What the PerSim paper shows beside its tables, measured again on our own data, fits and records.
Nothing here is typed: this page and its figures are made from `results/study-STUDY-quick.jsonl` and
`results/scarcity*-quick.jsonl`, each line of which holds its settings, budgets and seeds.

```sh
twinfold bench run unseen          # what is missing
twinfold bench run figures         # or: bench run figures --study map
twinfold bench run scarcity        # and scarcity_return
twinfold bench page                # these studies on the page of all tables
python docs/make_studies.py        # this page, and its figures
```

What is measured stands in `suites/`. Data are 500 agents, in the last section fewer, with one
trajectory each, by the policy named beside the task; errors are those of the paper's protocol,
50 steps open loop on actions of a test policy that is in no data. Fits choose by errors on recorded
data that they hold out, nothing is set per task. There is one data set and one fit of each:
differences of a few tens of per cent say nothing.
"""

UNSEEN = """\
A learned simulator of an agent needs its factors, and little else. Of {agents} agents, {unseen} are
kept from the nets ({tests} test agents, the others at random), and their factors come

- from their true covariates by a learned map from covariates to factors, as in the paper; here
  it is a kernel ridge regression on the trained agents;

- from the same covariates as static columns of the table, by the prior that a fit makes of them;

- from their first {known} transitions or all they have, in closed form, nets untouched.

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
equal; shrinkage is chosen of two strengths by held-out error. The error of one step is that of
the tensor of standardised changes over agents, states and actions, relative to the tensor's size.
No model of rank r can be below the least error (Eckart and Young, on each unfolding of the true
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


def studies_page(
    settings: Mapping[str, StudySettings], records: Mapping[str, Sequence[Record]]
) -> str:
    """Return the page in Markdown, with figures in ``figures``; what has no record is left out.

    Args:
        settings: of the studies, by name.
        records: of the studies, by name, the oldest first.
    """
    return f"{INTRO}\n{studies_tables(settings, records, 'figures/')}".rstrip() + "\n"


def studies_tables(
    settings: Mapping[str, StudySettings],
    records: Mapping[str, Sequence[Record]],
    figures: str | None = None,
) -> str:
    """Return text and tables of studies in Markdown; a study without a record is left out.

    Args:
        settings: of the studies, by name.
        records: of the studies, by name, the oldest first.
        figures: folder of figures, as links have it; they are left out if None.
    """
    told = (markdown(each, figures) for each in _all(settings, records))
    return "\n".join(told).rstrip() + "\n"


def studies_sections(
    settings: Mapping[str, StudySettings], records: Mapping[str, Sequence[Record]]
) -> list[Section]:
    """Return the sections of an HTML page, figures drawn; a study without a record is left out.

    Args:
        settings: of the studies, by name.
        records: of the studies, by name, the oldest first.
    """
    found = []
    with TemporaryDirectory() as folder:
        for name, own in settings.items():
            rows = latest_records(list(records.get(name, ())))
            if not rows:
                continue
            drawn = {path.name: path for path in draw_study(name, own, rows, Path(folder))}
            told = _SECTIONS[name](own.title, rows)
            parts = [
                part
                if isinstance(part, Table)
                else Picture(drawn[part.file].read_bytes(), part.text)
                for part in told.parts
            ]
            found.append(Section(told.title, paragraphs(told.text), parts, told.note))
    return found


def _all(
    settings: Mapping[str, StudySettings], records: Mapping[str, Sequence[Record]]
) -> list[Told]:
    return [
        _SECTIONS[name](own.title, rows)
        for name, own in settings.items()
        if (rows := latest_records(list(records.get(name, ()))))
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Table:
    return Table(tuple(head), tuple(tuple(row) for row in rows), caption)


def _unseen(title: str, rows: Sequence[Record]) -> Told:
    ways = all_ways(rows)
    head = ["known of the agent", *(_named(row) for row in rows)]
    body = [[_way(way), *(_interval(row["ways"].get(way)) for row in rows)] for way in ways]
    tests = min(5, len(rows[0]["unseen_agents"]))
    text = UNSEEN.format(
        agents=rows[0]["settings"]["agents"],
        unseen=len(rows[0]["unseen_agents"]),
        tests=tests,
        known=", ".join(map(str, rows[0]["settings"]["known"])),
    )
    shares = " and ".join(
        f"{100 * (row['static_explained'] or 0):.1f} % ({_named(row)})" for row in rows
    )
    note = f"Of how trained agents differ, the static columns explain {shares}."
    return Told(title, text, (_table(head, body), Drawing("study-unseen", "Unseen agents")), note)


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


def _map(title: str, rows: Sequence[Record]) -> Told:
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
    figures = [
        Drawing(f"study-map{end}", f"Agents of {TASKS[row['task']]}")
        for end, row in zip(endings(rows), rows, strict=True)
    ]
    return Told(title, text, (_table(head, body), *figures))


def _r2(value: float | None) -> str:
    """Return an R2 with four digits, rounded towards zero so that no miss reads as one."""
    return NOTHING if value is None else f"{min(value, 0.99994):.4f}"


def _carts(title: str, rows: Sequence[Record]) -> Told:
    methods = list(dict.fromkeys(name for row in rows for name in row["predicted"]))
    head = ["agent (force/half pole)", *(METHODS[name] for name in methods), "trajectories"]
    body = [
        [row["label"], *(_of(row["rmse"], name) for name in methods), str(row["lasting"])]
        for row in rows
    ]
    steps, history = rows[0]["horizons"][-1], rows[0]["history"]
    budget = rows[0]["fits"].get("cadm", {}).get("steps")
    text = CARTS.format(history=history, last=history + steps)
    note = f"CaDMs: {budget:,} training steps per member ({_USUAL:,} by default)."
    parts = (_table(head, body), Drawing("study-carts", "True and predicted carts"))
    return Told(title, text, parts, "" if budget is None else note)


def _of(errors: Mapping[str, float | None], name: str) -> str:
    return _number(errors[name]) if name in errors else NOTHING


def _bands(title: str, rows: Sequence[Record]) -> Told:
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
        Drawing(f"study-bands{end}", f"Trajectories of {TASKS[row['task']]}")
        for end, row in zip(endings(rows), rows, strict=True)
    ]
    return Told(title, text, (_table(head, body), *figures))


def _rank(title: str, rows: Sequence[Record]) -> Told:
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
    return Told(
        title, text, (_table(head, body), Drawing("study-rank", "Error and singular values"))
    )


def _ranks(spectra: Mapping[str, Record]) -> str:
    return ", ".join(str(found["numerical_rank"]) for found in spectra.values())


def _named(row: Record) -> str:
    """Return task and data of a record."""
    return f"{TASKS[row['task']]}, {row['dataset']}"


def _interval(found: Record | None) -> str:
    if found is None:
        return NOTHING
    return f"{_number(found['median'])} ({_number(found['low'])}–{_number(found['high'])})"


def _number(value: float | None) -> str:
    """Return a number with three significant digits; one that is not finite as diverged."""
    if value is None:
        return "diverged"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.6f}"


_USUAL = CaDMSettings().steps

_SECTIONS: dict[str, Callable[[str, Sequence[Record]], Told]] = {
    "unseen": _unseen,
    "map": _map,
    "carts": _carts,
    "bands": _bands,
    "rank": _rank,
}
