from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds once it has run ``statement``."""
    code = f"{statement}\nimport sys\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


LOCKS = ("requirements.lock", "requirements-baselines.lock")


def locked() -> dict[str, str]:
    lines = [line for name in LOCKS for line in (ROOT / name).read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("twinfold", {"jax", "numpy", "pandas", "equinox", "matplotlib", "plotly"}),
        ("twinfold.tasks", {"mujoco", "gymnasium"}),
        ("twinfold.benchmark.paper", {"jax", "numpy", "pandas"}),
        ("twinfold.report", {"jax", "pandas", "matplotlib", "plotly", "sklearn"}),
        ("twinfold.report.figures", {"jax", "equinox", "matplotlib", "sklearn"}),
        ("twinfold.report.html", {"jax", "equinox", "matplotlib", "sklearn"}),
    ],
)
def test_importing_a_module_leaves_the_heavy_ones_alone(module: str, unwanted: set[str]) -> None:
    loaded = modules_after(f"import {module}")
    assert "twinfold" in loaded
    assert not loaded & unwanted


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "data collect --help",
        "data validate --help",
        "data describe --help",
        "fit --help",
        "simulate --help",
        "plan --help",
        "evaluate return --help",
        "demo --help",
        "fti",
        "fit cohort.csv",
    ],
)
def test_help_and_wrong_words_leave_the_heavy_ones_alone(words: str) -> None:
    loaded = modules_after(f"from twinfold.cli import main\nmain({words.split()!r})")
    assert "twinfold" in loaded
    heavy = {"jax", "numpy", "pandas", "pyarrow", "matplotlib", "plotly", "mujoco"}
    assert not loaded & heavy
    if words in ("--help", "data validate --help"):  # other flags are made from fields of settings
        assert "pydantic" not in loaded


def test_the_changelog_describes_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", changelog, re.MULTILINE)


def test_the_lock_satisfies_the_project_file() -> None:
    versions = locked()
    extras = PROJECT["optional-dependencies"]
    required = [
        *PROJECT["dependencies"],
        *extras["dev"],
        *extras["mujoco"],
        *extras["baselines"],
        "torch",
    ]
    for requirement in map(Requirement, required):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is in no lock file: make lock"
        assert requirement.specifier.contains(version), f"{requirement} but locked {version}"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_names_and_versions_only(name: str) -> None:
    for line in (ROOT / name).read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)


def test_no_package_is_locked_twice() -> None:
    lines = [line for name in LOCKS for line in (ROOT / name).read_text().splitlines()]
    assert len(locked()) == sum("==" in line for line in lines)


def test_a_learned_policy_acts_without_what_trained_it() -> None:
    loaded = modules_after(
        "from twinfold.baselines import fit_augmented, fit_offline, load_offline"
    )
    assert "jax" in loaded
    assert not loaded & {"torch", "d3rlpy", "gym", "gymnasium"}
