"""Everything that README, docs/ and examples/ show is run as it stands.

Fenced blocks are read top to bottom, each page in a directory of its own:

- a block after ``<!-- file: NAME -->`` is written to NAME;
- ``python`` blocks of a page run one after the other in one namespace;
- ``console`` blocks: every ``$ twinfold ...`` runs through ``twinfold.cli.main``. It must succeed,
  unless ``$ echo $?`` and another code follow, and every line shown below it must be in its output.

Fits are shortened by changing the defaults of ``FitConfig``, and evaluations by changing those of
``evaluate_return``: what a page sets itself stays as it is.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import twinfold
from twinfold import cli
from twinfold.benchmark import protocol as evaluate
from twinfold.config import FitConfig
from twinfold.planning.presets import BY_TASK, GENERIC

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHORT: dict[str, Any] = {
    "effort": "quick",
    "features": "separable",
    "steps": 500,
    "members": 2,
    "validation_members": 1,
    "schedules": (1.0,),
    "shrinkages": (0.1,),
    "behaviour_steps": 500,
}
_FENCE = re.compile(
    r"(?:^<!-- file: (?P<file>\S+) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    language: str
    body: str
    file: str | None
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["language"], m["body"], m["file"], text[: m.start("body")].count("\n"))
        for m in _FENCE.finditer(text)
    ]


class Command(NamedTuple):
    words: list[str]
    output: list[str]
    code: int


def commands(body: str) -> list[Command]:
    """The ``twinfold`` commands of a console block with what is shown below each."""
    found: list[Command] = []
    for part in re.split(r"^\$ ", body.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        line, *output = part.rstrip("\n").splitlines()
        if line == "echo $?":
            found[-1] = found[-1]._replace(code=int(output[0]))
        else:
            program, *words = shlex.split(line)
            assert program == "twinfold", f"only twinfold can be run here, not {line!r}"
            found.append(Command(words, output, 0))
    return found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A directory of its own, fits of a few steps, evaluations of one episode."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        evaluate, "evaluate_return", functools.partial(evaluate.evaluate_return, episodes=1)
    )
    before = {name: FitConfig.model_fields[name].default for name in SHORT}
    change_defaults(SHORT)
    yield
    change_defaults(before)


def change_defaults(values: dict[str, Any]) -> None:
    for name, value in values.items():
        FitConfig.model_fields[name].default = value
    FitConfig.model_rebuild(force=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_works(
    page: Path,
    short: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType(page.stem)  # where the classes of a page look for their names
    monkeypatch.setitem(sys.modules, page.stem, module)
    namespace = vars(module)
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
        if block.language == "python":
            # Leading newlines make the lines of a traceback those of the page.
            source = "\n" * block.line + block.body
            exec(compile(source, str(page), "exec"), namespace)
        if block.language == "console":
            for command in commands(block.body):
                capsys.readouterr()
                code = cli.main(command.words)
                captured = capsys.readouterr()
                printed = captured.out + captured.err
                assert code == command.code, f"{where}: {command.words}\n{printed}"
                for line in command.output:
                    assert line in printed.splitlines(), f"{where}: {line!r} not in\n{printed}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(
    example: Path, short: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())  # a script to look at leaves nothing behind


def test_the_walk_through_of_the_readme_makes_what_it_says(short: None) -> None:
    import pandas as pd

    from twinfold.data.io import read_table

    for block in blocks(ROOT / "README.md"):
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
        elif block.language == "console":
            for command in commands(block.body):
                cli.main(command.words)
    questions, answers = read_table("questions.csv"), pd.read_csv("answers.csv")
    assert list(answers["hour"]) == [hour + 1 for hour in questions["hour"]]
    assert list(answers["query_id"]) == list(questions["query_id"])
    assert list(answers.columns) == [
        "query_id", "room", "hour", "temperature", "temperature_lower", "temperature_upper",
        "support", "basis",
    ]  # fmt: skip
    assert Path("attic.png").stat().st_size > 1000
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([\w.]+\.\w+)` \|", readme, re.MULTILINE))
    assert {path.name for path in Path("runs/rooms").iterdir()} == listed


def test_the_python_of_the_readme_is_short() -> None:
    (example,) = (b.body for b in blocks(ROOT / "README.md") if b.language == "python")
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 15


PACKAGES = [
    "twinfold",
    *(
        f"twinfold.{module.name}"
        for module in pkgutil.iter_modules(twinfold.__path__)
        if module.ispkg
    ),
]


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: path.name)
def test_what_is_shown_imports_public_names_only(path: Path) -> None:
    """What a page or an example imports is exported by ``twinfold`` or one of its packages."""
    source = [path.read_text(encoding="utf-8")]
    if path.suffix == ".md":
        source = [block.body for block in blocks(path) if block.language == "python"]
    for node in (node for text in source for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twinfold"):
            assert node.module in PACKAGES, f"{path.name} imports from inside {node.module}"
            exported = importlib.import_module(node.module).__all__
            assert {alias.name for alias in node.names} <= set(exported), (
                f"{path.name}: {node.module}"
            )


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_names_in_the_text_exist(page: Path) -> None:
    """Every ``twinfold.x.y`` in code marks is a package, a module or what one of them holds."""
    text = page.read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"`(twinfold(?:\.\w+)+)[`(]", text))):
        holder, _, last = name.rpartition(".")
        module = importlib.import_module(holder)
        assert hasattr(module, last) or importlib.util.find_spec(name), f"{page.name}: {name}"


def test_public_names_are_there_whatever_was_imported_before() -> None:
    """A function keeps its place when the module of the same name is imported before it."""
    for module in pkgutil.walk_packages(twinfold.__path__, "twinfold."):
        if module.name != "twinfold.__main__":
            importlib.import_module(module.name)
    for package in map(importlib.import_module, PACKAGES):
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            assert not isinstance(value, types.ModuleType), f"{package.__name__}.{name} is a module"


def table(page: str, columns: int) -> list[list[str]]:
    """Rows of all Markdown tables of a page with that many columns, without code marks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    cells = [[cell.strip().strip("`") for cell in row.split(" | ")] for row in rows]
    return [row for row in cells if len(row) == columns]


def test_the_settings_of_a_fit_are_documented_as_they_are() -> None:
    import json

    rows = table("settings.md", 3)
    documented = {row[0]: row[1] for row in rows if row[0] in FitConfig.model_fields}
    defaults = FitConfig().model_dump(mode="json")
    assert documented == {name: json.dumps(value) for name, value in defaults.items()}


def test_the_defaults_of_planning_are_documented_as_they_are() -> None:
    documented = {row[0]: row[1:] for row in table("planning.md", 5)}
    configs = {**BY_TASK, **{f"other, {kind}": config for kind, config in GENERIC.items()}}
    for name, config in configs.items():
        how = config.search
        values = how.planner, how.candidates, how.horizon, config.objective.terminal_value
        assert documented[name] == [str(value) for value in values]


def test_the_api_page_has_every_public_name() -> None:
    """``python docs/make_api.py`` makes it; names are compared, not what is said of them."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = {
        part.split("`")[0]: re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
        for part in text.split("\n## `")[1:]
    }
    stubs = (ROOT / "src").glob("twinfold/**/__init__.pyi")  # of packages within packages, too
    inner = {".".join(stub.parent.relative_to(ROOT / "src").parts) for stub in stubs}
    public = {
        name: getattr(importlib.import_module(name), "__all__", []) for name in {*PACKAGES, *inner}
    }
    assert {name: sorted(names) for name, names in shown.items()} == {
        name: sorted(names) for name, names in public.items() if names
    }, "run: python docs/make_api.py"


def test_contributing_shows_the_layout_as_it_is() -> None:
    """Every room is in the table, in the order of imports, and every path that is named exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `(\w+)/` \|", text.split("## House rules")[0], re.MULTILINE)
    rooms = [room for room in rooms if (ROOT / "src" / "twinfold" / room).is_dir()]
    assert {f"twinfold.{room}" for room in rooms} == set(PACKAGES) - {"twinfold"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers" and "cli" in c["layers"])
    depth = {room: k for k, layer in enumerate(layers) for room in re.findall(r"\w+", layer)}
    assert [depth[room] for room in rooms] == sorted(depth[room] for room in rooms)
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|toml|md))`", text):
        where = [ROOT / path, ROOT / "src" / "twinfold" / path, ROOT / "src" / path]
        assert any(place.exists() for place in where), path


def test_the_map_names_every_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\(([\w-]+\.md)[)#]", text))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}


@pytest.mark.parametrize(
    "page",
    sorted({*PAGES, *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"}),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    for target in targets:
        assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_measured_figures_are_those_of_the_records() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- figures -->\n")[1].split("<!-- /figures -->")[0]
    made = ""
    for suite in ("table1", "table2"):
        command = [sys.executable, "-m", "twinfold", "bench", "table", suite, "--short"]
        command += ["--method", "persim" if suite == "table1" else "persim,true-env-mpc"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        made += done.stdout + "\n"
    assert shown.strip() == made.strip()


def test_the_times_of_fits_are_those_of_the_records() -> None:
    import json
    from statistics import median

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").replace(",", "").split())
    suite = (ROOT / "results" / "table1-quick.md").read_text(encoding="utf-8")
    spans = re.findall(r"a fit took (\d+ to \d+) s", suite)
    assert len(spans) == 3
    for span in spans:
        assert span in readme
    lines = (ROOT / "results" / "panels.jsonl").read_text(encoding="utf-8").splitlines()
    rows = (
        row for row in map(json.loads, lines) if row["model"] == "twinfold" and not row["settings"]
    )
    times = [row["seconds"] for row in rows if "seconds" in row]
    least, most, middle = (f"{value:.0f}" for value in (min(times), max(times), median(times)))
    assert f"{least} to {most} s a fit median {middle} s" in readme


def test_how_often_ours_is_best_is_as_the_records_say() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    page = (ROOT / "results" / "table2-quick.md").read_text(encoding="utf-8")
    tasks = page.split("## HalfCheetah")[0]
    counts = re.findall(r"interval meets the best's, in (\d+) of (\d+) cells", tasks)
    assert len(counts) == 2
    best, of = (sum(map(int, found)) for found in zip(*counts, strict=True))
    assert f"interval meets the best's, in {best} of {of} cells" in readme


@pytest.mark.parametrize(
    ("page", "script"),
    [
        ("adapt.md", "adaptation.py"),
        ("adapt.md", "ordinary_tables/few_visits.py"),
        ("trust.md", "faults.py"),
        ("trust.md", "noise.py"),
        ("half_cheetah.md", "half_cheetah.py"),
        ("half_cheetah.md", "policy_shift.py"),
    ],
)
def test_tables_of_a_page_are_made_from_the_records(page: str, script: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "table"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    tables = [part for part in done.stdout.strip().split("\n\n") if part.count("\n") > 1]
    assert tables
    for table in tables:
        assert table.strip() in text, f"docs/{page} does not show:\n{table}"
