"""The memory that a process may have, by what the system's files say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinfold.utils.memory import sized, usable_memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "5000\n"}, 5000),
        ("0::/a/b\n", {"a/b/memory.max": "4000\n", "a/memory.max": "5000\n"}, 4000),
        ("0::/a/b\n", {"memory.max": "3000\n"}, 3000),  # in a container, which sees its top only
        ("0::/../../c\n", {"memory.max": "3000\n"}, 3000),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "2000\n"}, 2000),
        ("4:cpu,memory:/a\n", {"memory/memory.limit_in_bytes": "2000\n"}, 2000),
        ("4:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "2000\n"}, MACHINE),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("0::/a:b\n", {"a:b/memory.max": "1000\n"}, 1000),
        ("nonsense\n0::/a\n", {"a/memory.max": "x\n"}, MACHINE),
    ],
)
def test_the_limit_of_a_container(
    tmp_path: Path, group: str, files: dict[str, str], limit: int
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(group)
    for place, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert usable_memory(tmp_path) == limit


def test_what_is_left_of_the_process_s_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("10 5 3 1 0 2 0\n")
    page = os.sysconf("SC_PAGE_SIZE")
    for limit, left in ((25 * page, 15 * page), (5 * page, 0), (-1, MACHINE)):
        monkeypatch.setattr("resource.getrlimit", lambda _, limit=limit: (limit, limit))
        assert usable_memory(tmp_path) == left


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert usable_memory(tmp_path) is None


def test_sizes_as_people_write_them() -> None:
    assert sized(0) == "0 bytes"
    assert sized(999) == "999 bytes"
    assert sized(999_950) == "1.0 MB"
    assert sized(25_262_000_000) == "25.3 GB"
    assert sized(10**30) == "1000000000000.0 EB"
