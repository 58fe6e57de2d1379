"""A file is the old one or the new one, never something between."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from twinfold.errors import UsageError, WriteError
from twinfold.utils.files import (
    append_line,
    atomic_path,
    atomic_paths,
    atomic_write_bytes,
    atomic_write_text,
    destination,
    draft_of,
    is_temporary,
    locked_file,
    write_errors,
)


def test_writes_and_makes_directories(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "note.txt"
    atomic_write_text(file, "größe")
    assert file.read_bytes() == "größe".encode()
    atomic_write_bytes(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupt_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "note.txt"
    file.write_text("old")

    def write_half() -> None:
        with atomic_path(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        atomic_write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write"):
        atomic_write_text(tmp_path / "file" / "below", "x")


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    private, new = tmp_path / "private", tmp_path / "new"
    private.write_text("old")
    private.chmod(0o600)
    before = os.umask(0o027)
    try:
        with atomic_path(private) as temporary:
            temporary.write_text("patients")
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600  # while it is written as well
        atomic_write_text(new, "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path(os.devnull)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    before = list(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"is not a regular file; give another path"):
        atomic_write_text(path, "x")
    assert list(tmp_path.iterdir()) == before
    if kind != "link to a pipe":
        with pytest.raises(UsageError, match="is not a regular file"), locked_file(path):
            pass


def test_nothing_is_appended_through_a_link(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("mine")
    link.symlink_to(victim)
    with pytest.raises(UsageError, match="link is a link; give the file"), locked_file(link):
        pass
    assert (link.is_symlink(), victim.read_text()) == (True, "mine")


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path, there: bool) -> None:
    """In one piece, with its own permissions, through links to links and folders."""
    target = tmp_path / "kept" / "table.csv"
    target.parent.mkdir()
    if there:
        target.write_text("old")
        target.chmod(0o600)
    (tmp_path / "folder").symlink_to("kept")
    (tmp_path / "near.csv").symlink_to("folder/table.csv")
    link = tmp_path / "out" / "far.txt"
    link.parent.mkdir()
    link.symlink_to("../near.csv")
    assert destination(link) == target
    with atomic_path(link) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("new")
        assert link.exists() == there
    assert link.is_symlink()
    assert (tmp_path / "near.csv").is_symlink()
    assert target.read_text() == "new"
    assert not there or stat.S_IMODE(target.stat().st_mode) == 0o600
    draft = draft_of(link)
    assert (draft.parent, draft.suffix) == (target.parent, ".txt")
    assert is_temporary(draft.name, target.name)
    atomic_write_text(link, "newer")  # which removes the draft
    assert list(target.parent.iterdir()) == [target]
    assert list(link.parent.iterdir()) == [link]


@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        ("link", "link is a link, which you did not make"),
        ("near", "link is a link, which you did not make"),
        ("kept", "link is a link, to .*kept/table, which is not yours"),
        ("kept/table", "link is a link, to .*kept/table, which is not yours"),
    ],
)
def test_a_link_of_somebody_else_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: str, words: str
) -> None:
    """Nor is one's own to what is somebody else's; neither is replaced by a file."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "table").write_text("old")
    (tmp_path / "near").symlink_to("kept/table")
    (tmp_path / "link").symlink_to("near")
    whole = os.lstat

    def lstat(path: Any) -> Any:
        found = whole(path)
        mine = Path(path) != tmp_path / foreign
        return found if mine else SimpleNamespace(st_mode=found.st_mode, st_uid=os.geteuid() + 1)

    monkeypatch.setattr(os, "lstat", lstat)
    for write in (
        lambda: atomic_write_text(tmp_path / "link", "x"),
        lambda: draft_of(tmp_path / "link"),
    ):
        with pytest.raises(UsageError, match=words):
            write()
    monkeypatch.undo()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "old"
    assert len([*tmp_path.rglob("*")]) == 4


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(UsageError, match="link is a link that leads to itself"):
        atomic_write_text(tmp_path / "link", "x")


def test_what_a_living_writer_has_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    others = [tmp_path / name for name in (".b.csv.0123abcd.tmp", ".a.csv.tmp", "a.csv.1.tmp")]
    for other in others:
        other.write_text("not of this file")
    (tmp_path / ".a.csv.0123abcd.tmp").write_text("of a dead writer")
    with atomic_path(path) as first:
        first.write_text("first")
        atomic_write_text(path, "second")
        assert first.read_text() == "first"
    assert path.read_text() == "first"  # who ends last wins
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_files_that_belong_together_are_replaced_together(tmp_path: Path) -> None:
    paths = [tmp_path / "table", tmp_path / "manifest"]
    for path in paths:
        path.write_text("old")

    def write_one() -> None:
        with atomic_paths(*paths) as (table, _):
            table.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_one()
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, killing: Any) -> None:
    for last in range(1, 4):  # making the new file, opening it, seeing it to the disk
        folder = tmp_path / str(last)
        folder.mkdir()
        (folder / "note").write_text("old")
        told = f"cannot write {folder / 'note'}: No space left on device"
        with killing.disk(folder, last, full=True), pytest.raises(WriteError, match=told):
            atomic_write_text(folder / "note", "new")
        assert killing.listing(folder) == {"note": b"old"}


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, WriteError),
        (errno.EDQUOT, WriteError),
        (errno.EIO, WriteError),
        (errno.EACCES, UsageError),
        (errno.EROFS, UsageError),
        (errno.ENAMETOOLONG, UsageError),
    ],
)
def test_what_the_system_says_is_told_with_the_path(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"^cannot write a/b: {os.strerror(number)}$"):  # noqa: SIM117
        with write_errors("a/b"):
            raise OSError(number, os.strerror(number), "a/.b.1.tmp")


def test_a_line_is_appended_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntor")
    real, room = os.write, [2]

    def short(descriptor: int, data: Any) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: room.pop()])

    with locked_file(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short)
            with pytest.raises(OSError, match="No space"):
                append_line(file, "two")
        assert path.read_bytes() == b"one\n"
        append_line(file, "two")
    assert path.read_bytes() == b"one\ntwo\n"


def in_a_process(work: Any) -> int:
    """Run a function in a process of its own and return how that ended."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1]


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_killed_process_leaves_the_old_or_the_new_file(tmp_path: Path, killing: Any) -> None:
    path, deaths = tmp_path / "note", 0

    def write(last: int) -> None:
        with killing.disk(tmp_path, last, die=lambda: os.kill(os.getpid(), signal.SIGKILL)):
            atomic_write_text(path, "new")

    for last in range(1, 9):
        path.write_text("old")
        status = in_a_process(lambda last=last: write(last))
        deaths += os.WIFSIGNALED(status)
        assert path.read_text() in ("old", "new")
        atomic_write_text(path, "newer")
        assert killing.listing(tmp_path) == {"note": b"newer"}
    assert deaths > 3


def test_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    texts = [str(writer) * 4096 for writer in range(4)]
    file, lines = tmp_path / "file", tmp_path / "lines"

    def write(text: str) -> None:
        for _ in range(10):
            atomic_write_text(file, text)
            with locked_file(lines) as descriptor:
                append_line(descriptor, text)

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write, texts))
    assert file.read_text() in texts
    assert sorted(lines.read_text().splitlines()) == sorted(texts * 10)
    assert sorted(tmp_path.iterdir()) == [file, lines]
