"""How far studies are: records made and left, and about how long the rest takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinfold.benchmark.status import Progressed, Status
from twinfold.benchmark.studies.study_records import find_study, read_studies, study_records_path
from twinfold.benchmark.studies.study_runs import study_jobs
from twinfold.benchmark.studies.study_settings import StudySettings


def study_status(
    suite: str, profile: str, settings: Mapping[str, StudySettings], folder: Path
) -> Status:
    """Return how far the studies of a suite are, each where a table has its methods.

    Args:
        suite: its name.
        profile: how much is to be measured.
        settings: of the studies, by name.
        folder: of the records.

    Raises:
        RunError: the records are damaged.
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, own in settings.items():
        known = read_studies(study_records_path(folder, name, profile))
        times = [record["seconds"] for record in known if record.get("seconds") is not None]
        for job in study_jobs(name, own, Path()):
            group = groups.setdefault((str(job.identity["task"]), name), {"cells": 0, "done": 0})
            group["cells"] += 1
            if find_study(known, own, **job.identity) is not None:
                group["done"] += 1
                continue
            group["left"] = group.get("left", 0) + 1
            key, amount = ("seconds", sum(times) / len(times)) if times else ("untimed", 1)
            group[key] = group.get(key, 0) + amount
    found = {names: Progressed(**group) for names, group in groups.items()}
    return Status(suite, profile, folder, found)
