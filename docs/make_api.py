"""Make docs/api.md: every public name of twinfold with the first sentence of its docstring.

    python docs/make_api.py

The names are those that ``src/twinfold/__init__.pyi`` and the ``__init__.pyi`` of every package
export. Sources are parsed and nothing is imported, so it needs Python alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
PAGE = ROOT / "docs" / "api.md"
HEAD = """# Every public name

What `twinfold` and its packages export, one line each, as `docs/make_api.py` reads it from the
docstrings. `help(name)` in Python shows the whole: arguments, shapes, units and errors. Names that
are not here are internal and may change without notice.
"""


def packages() -> Iterator[str]:
    """Yield ``twinfold`` and those of its packages that export something, in order."""
    for stub in sorted(SOURCE.glob("twinfold/**/__init__.pyi")):
        yield ".".join(stub.parent.relative_to(SOURCE).parts)


def homes(package: str) -> dict[str, str]:
    """Return the public names of a package, in alphabetic order, each with its module."""
    stub = SOURCE.joinpath(*package.split("."), "__init__.pyi")
    found = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name: f"{package}.{node.module}" for alias in node.names}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def parsed(module: str) -> ast.Module:
    """Return the syntax tree of a module, given its full name."""
    path = SOURCE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def summary(module: str, name: str) -> str:
    """Return the first sentence of a name's docstring in its module, on one line; "" without one.

    A constant has the string below its assignment for a docstring.
    """
    body = parsed(module).body
    text = None
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            text = ast.get_docstring(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(target) == name and isinstance(after, ast.Expr):
                below = after.value
                text = str(below.value) if isinstance(below, ast.Constant) else None
    return first_line(text or "")


def first_line(docstring: str) -> str:
    """Return the first paragraph of a docstring as Markdown on one line."""
    line = " ".join(docstring.strip().split("\n\n")[0].split())
    line = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", line.replace("``", "`"))
    return line.replace("|", "\\|")


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for package in packages():
        about = first_line(ast.get_docstring(parsed(package)) or "")
        rows = [f"| `{name}` | {summary(home, name)} |" for name, home in homes(package).items()]
        table = "\n".join(["| name | what it is |", "|---|---|", *rows])
        parts.append(f"## `{package}`\n\n{about}\n\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
