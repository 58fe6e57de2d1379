"""Ways in which a file can be wrong. All are drawn from a generator that the caller seeds."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

RAW = "@raw@"  # stands for text that json.dumps does not write
NESTED: Any = "x"
for _ in range(60):
    NESTED = [NESTED]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 10**12, 10**30, 10**400, 0.5, -0.0, 1e308, 1e-320),
    *("", "x", "0", "NaN", "a\nb", "é\u202e", "\ud800", "\0", "x" * 5000, "../x", "auto"),
    *([], {}, [[]], [1, 2], [None], ["x", "x"], {"a": 1}, {"": {}}, [0] * 999, NESTED),
]
NUMBERS = [np.nan, np.inf, -np.inf, 1e300, 0, -1, 1e-300, 2**31, 17]
TEXTS = [
    "NaN",
    "-Infinity",
    "1e400",
    "[" * 100_000,
    '{"a":' * 3000,
    '{"a": 1, "a": 2}',
    "0x1",
    "01",
]


def value(rng: random.Random) -> Any:
    """Return a value that has no business being there."""
    return RAW if rng.random() < 0.1 else copy.deepcopy(rng.choice(VALUES))


def dumped(rng: random.Random, tree: Any, **options: Any) -> bytes:
    """Return JSON, with text that is none where the tree says so."""
    text = json.dumps(tree, **options).replace(json.dumps(RAW), rng.choice(TEXTS))
    return text.encode("utf-8", "surrogatepass")


def tree(rng: random.Random, whole: Any) -> Any:
    """Return nested lists and tables with one to three changes."""
    holder = [copy.deepcopy(whole)]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _change(rng, holder)
    return holder[0]


def _change(rng: random.Random, holder: list[Any]) -> None:
    part: Any = holder
    key: Any = 0
    while isinstance(part[key], dict | list) and part[key] and rng.random() < 0.85:
        part = part[key]
        key = rng.choice([*part]) if isinstance(part, dict) else rng.randrange(len(part))
    kind = rng.random()
    if kind < 0.55 or part is holder:
        part[key] = value(rng)
    elif kind < 0.7:
        del part[key]
    elif kind < 0.8 and isinstance(part, dict):
        part[rng.choice(["x", "", *part])] = part.pop(key)
    elif kind < 0.9 and isinstance(part[key], int | float):
        part[key] = rng.choice([-part[key], part[key] * 10**12, part[key] + 1, str(part[key])])
    elif isinstance(part, list):
        part.append(copy.deepcopy(part[key]))
    else:
        part["more"] = copy.deepcopy(part[key])


def data(rng: random.Random, whole: bytes) -> bytes:
    """Return changed bytes."""
    at = rng.randrange(len(whole) + 1)
    kinds: list[Callable[[], bytes]] = [
        lambda: whole[:at],
        lambda: whole[at:],
        lambda: whole[:at] + bytes([rng.randrange(256)]) + whole[at:],
        lambda: whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :],
        lambda: whole[:at] + rng.choice(TEXTS).encode() + whole[at:],
        lambda: whole + whole,
        lambda: b"",
        lambda: rng.randbytes(rng.choice([1, 8, 300])),
        lambda: b"\xef\xbb\xbf" + whole,
        lambda: whole.decode("utf-8", "replace").encode("utf-16"),
        lambda: b"\0" * len(whole),
        lambda: whole.replace(b"\n", b"\r\n"),
    ]
    return rng.choice(kinds)()


def place(rng: random.Random, path: Path) -> str:
    """Put something else in the place of a file, and return what."""
    kept = path.with_name(path.name + ".kept")
    path.rename(kept)
    kinds: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link to nothing": lambda: path.symlink_to("gone"),
        "link to itself": lambda: path.symlink_to(path.name),
        "endless device": lambda: path.symlink_to("/dev/zero"),
        "empty device": lambda: path.symlink_to("/dev/null"),
        "huge": lambda: os.truncate(shutil.copy(kept, path), 2**40),
        "link to the file": lambda: path.symlink_to(kept.name),
    }
    kind = rng.choice([*kinds])
    kinds[kind]()
    return kind


def arrays(rng: random.Random, blob: bytes) -> bytes:
    """Return the arrays of a run with one or two of them changed."""
    found = safetensors.numpy.load(blob)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(sorted(found))
        old = found[name]
        spot = tuple(rng.randrange(size) for size in old.shape) if old.size else None
        kinds: list[Callable[[], Any]] = [
            lambda o=old, s=spot: _with(o, s, rng.choice(NUMBERS)),
            lambda o=old, s=spot: _with(o, s, rng.choice(NUMBERS)),
            lambda o=old: np.full_like(o, rng.choice([0, 1, 3])),
            lambda o=old: o[:0] if o.ndim else o[None],
            lambda o=old: o[:-1] if o.ndim else o[None],
            lambda o=old: np.concatenate([o, o]) if o.ndim else o[None],
            lambda o=old: o[None],
            lambda o=old: o.reshape(-1),
            lambda o=old: o.T,
            lambda o=old: np.float64(1.0) * 0,
            lambda o=old: o.astype(rng.choice(["float16", "float32", "int64", "uint8", "bool"])),
            lambda o=old: -o if o.dtype != bool else ~o,
            lambda: None,
        ]
        with np.errstate(all="ignore"):
            new = rng.choice(kinds)()
        del found[name]
        if new is not None:
            found[rng.choice([name] * 9 + ["band"])] = np.array(new, order="C")
        if not found:
            break
    return safetensors.numpy.save(found)


def _with(old: np.ndarray, spot: Any, number: float) -> np.ndarray:
    new = old.copy()
    if spot is not None and old.dtype.kind != "f":
        number = min(max(int(np.nan_to_num(number, posinf=9, neginf=-9)), -9), 2**31 - 1)
    if spot is not None:
        new[spot] = number
    return new
