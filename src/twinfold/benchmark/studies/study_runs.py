"""The studies as commands run them: what is recorded already is not run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from twinfold.benchmark.studies.study_records import (
    Record,
    append_study,
    find_study,
    read_studies,
    study_record,
)
from twinfold.benchmark.studies.study_settings import (
    BandSettings,
    CartSettings,
    MapSettings,
    RankSettings,
    StudySettings,
    UnseenSettings,
)
from twinfold.errors import UsageError, one_of
from twinfold.tasks import TASK_NAMES

Log = Callable[[str], None]


class Job(NamedTuple):
    """A record to make.

    Attributes:
        identity: what tells it from the others of its study.
        measure: makes its figures.
    """

    identity: Record
    measure: Callable[[], Record]

    @property
    def said(self) -> str:
        """What it is, in words."""
        return ", ".join(str(v) for v in self.identity.values() if not isinstance(v, dict))


def study_jobs(
    name: str, settings: StudySettings, fits: Path, log: Log = lambda line: None
) -> list[Job]:
    """Return the records that a study is made of, in order; nothing is measured yet.

    Args:
        name: of the study.
        settings: of the study.
        fits: folder of fits, which studies share.
        log: receives one line per thing worth knowing while a job is measured.
    """
    return list(_JOBS[name](cast(Any, settings), fits, log))


def run_study(
    name: str,
    settings: StudySettings,
    records: Path,
    fits: Path,
    log: Log = lambda line: None,
    *,
    force: bool = False,
) -> list[Record]:
    """Return the records of a study, made where they are missing.

    Each record is on the disk before the next is begun.

    Args:
        name: of the study.
        settings: of the study.
        records: file of its records.
        fits: folder of fits, which studies share.
        log: receives one line per thing worth knowing.
        force: measure again what is there.

    Raises:
        UsageError: an extra is missing, or a setting does not fit the task.
        RunError: the records or a fit are damaged.
    """
    known, found = read_studies(records), []
    for job in study_jobs(name, settings, fits, log):
        record = None if force else find_study(known, settings, **job.identity)
        if record is None:
            log(f"{name}: {job.said}")
            begun = time.perf_counter()
            figures = job.measure()
            figures["seconds"] = round(time.perf_counter() - begun, 2)
            record = study_record(name, job.identity, settings, figures)
            append_study(records, record)
        else:
            log(f"{name}: {job.said}: done")
        found.append(record)
    return found


def run_on_fit(
    name: str, settings: StudySettings, run: Path, records: Path, log: Log = lambda line: None
) -> Record:
    """Return the record of a study of one fit, of a run directory that is there already.

    Args:
        name: of the study: map or bands.
        settings: of the study; those of the fit are the run's own.
        run: directory of the run, fitted on data of a task.
        records: file that the record is added to.
        log: receives one line per thing worth knowing.

    Raises:
        UsageError: the study is of several fits, or the run is of no task.
        RunError: the run is damaged.
    """
    from twinfold.benchmark.studies.agent_maps import run_map
    from twinfold.benchmark.studies.study_data import study_task
    from twinfold.benchmark.studies.trajectory_bands import run_bands
    from twinfold.training.run_directory import load_run

    measures: dict[str, Callable[..., Record]] = {"map": run_map, "bands": run_bands}
    if name not in measures:
        raise UsageError(f"study {name!r} is of no single fit; {one_of(measures)}")
    model = load_run(run)
    source = model.info.source
    if source.get("task") is None:
        raise UsageError(
            f"{run} was not fitted on data of a task, whose true agents a study compares with; "
            f"{one_of(TASK_NAMES)}"
        )
    identity = {"task": source.get("task"), "dataset": source.get("policy")}
    task = study_task(str(identity["task"]))
    fit = model.config.model_dump(mode="json")
    own = settings.model_copy(
        update={"fit": fit, "agents": source.get("n_agents"), "seed": source.get("seed")}
    )
    log(f"{name}: {task.name}, {identity['dataset']}: {run}")
    record = study_record(name, identity, own, measures[name](model, task, own))
    append_study(records, record)
    return record


def _unseen(settings: UnseenSettings, fits: Path, log: Log) -> Iterator[Job]:
    from twinfold.benchmark.studies.study_data import study_task
    from twinfold.benchmark.studies.unseen_agents import run_unseen, unseen_fits

    for name, policy in settings.runs:
        task = study_task(name)

        def measure(task: Any = task, policy: str = policy) -> Record:
            return run_unseen(unseen_fits(task, policy, settings, fits, log), task, settings)

        yield Job({"task": name, "dataset": policy}, measure)


def _map(settings: MapSettings, fits: Path, log: Log) -> Iterator[Job]:
    from twinfold.benchmark.studies.agent_maps import run_map, scikit_learn
    from twinfold.benchmark.studies.study_data import study_task

    for name, policy in settings.runs:
        task = study_task(name)

        def measure(task: Any = task, policy: str = policy) -> Record:
            scikit_learn()  # before a fit, not after it
            return run_map(_whole(task, policy, settings, fits, log), task, settings)

        yield Job({"task": name, "dataset": policy}, measure)


def _bands(settings: BandSettings, fits: Path, log: Log) -> Iterator[Job]:
    from twinfold.benchmark.studies.study_data import study_task
    from twinfold.benchmark.studies.trajectory_bands import run_bands

    for name, policy in settings.runs:
        task = study_task(name)

        def measure(task: Any = task, policy: str = policy) -> Record:
            return run_bands(_whole(task, policy, settings, fits, log), task, settings)

        yield Job({"task": name, "dataset": policy}, measure)


def _carts(settings: CartSettings, fits: Path, log: Log) -> Iterator[Job]:
    from twinfold.baselines.cadm_settings import VARIANTS, CaDMSettings
    from twinfold.benchmark.collect import collect, provenance
    from twinfold.benchmark.studies.cart_overlays import run_carts
    from twinfold.benchmark.studies.study_data import study_task
    from twinfold.benchmark.studies.study_fits import fitted_cadm

    for name, policy in settings.runs:
        task = study_task(name)
        models: dict[str, Any] = {}

        def measure(
            agent: int, task: Any = task, policy: str = policy, models: dict[str, Any] = models
        ) -> Record:
            if not models:
                models["persim"] = _whole(task, policy, settings, fits, log)
                panel = collect(task, policy, settings.agents, settings.seed)
                source = provenance(task, policy, settings.agents, settings.seed)
                for method, variant in VARIANTS.items():
                    models[method] = fitted_cadm(
                        panel,
                        CaDMSettings.parse(settings.cadm),
                        variant,
                        settings.seed,
                        source,
                        fits,
                        f"{task.name}-{policy}",
                        log,
                    )
            return run_carts(models, task, agent, settings)

        for agent in settings.shown:
            yield Job(
                {"task": name, "dataset": policy, "agent": agent},
                lambda agent=agent, measure=measure: measure(agent),
            )


def _rank(settings: RankSettings, fits: Path, log: Log) -> Iterator[Job]:
    from twinfold.benchmark.studies.model_rank import rank_fit, run_rank
    from twinfold.benchmark.studies.study_data import study_task

    for name, policy in settings.runs:
        task = study_task(name)
        for rank in settings.ranks:

            def measure(task: Any = task, policy: str = policy, rank: int = rank) -> Record:
                return run_rank(rank_fit(task, policy, rank, settings, fits, log), task, settings)

            yield Job({"task": name, "dataset": policy, "rank": rank}, measure)


def _whole(task: Any, policy: str, settings: StudySettings, fits: Path, log: Log) -> Any:
    """Return the simulators of a whole population, which several studies share."""
    from twinfold.benchmark.collect import collect, provenance
    from twinfold.benchmark.studies.study_fits import fitted

    panel = collect(task, policy, settings.agents, settings.seed)
    source = provenance(task, policy, settings.agents, settings.seed)
    return fitted(panel, settings.config, source, fits, f"{task.name}-{policy}", log)


_JOBS: dict[str, Callable[[Any, Path, Log], Iterator[Job]]] = {
    "unseen": _unseen,
    "map": _map,
    "bands": _bands,
    "carts": _carts,
    "rank": _rank,
}
