# SPDX-License-Identifier: Apache-2.0
"""Numbered log files: numbers, sizes, rotation, and a disk that does not take what it gets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from hproxy.telemetry.numbered_file import NumberedFile, Share


def gap(lost: int) -> bytes:
    return b"%d lost\n" % lost


def made(folder: Path, size: int = 1 << 20, **more: object) -> NumberedFile:
    return NumberedFile(folder / "q.log", size, gap=gap, **more)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def until(true: Callable[[], bool]) -> None:
    end = monotonic() + 10
    wait = threading.Event()
    while not true():
        assert monotonic() < end
        wait.wait(0.005)


def test_numbers_go_on(tmp_path: Path) -> None:
    (tmp_path / "q.log.00000041").touch()
    (tmp_path / "q.log.x").touch()
    (tmp_path / "q.log").touch()
    first, second = made(tmp_path), made(tmp_path)
    assert (first.path.name, second.path.name) == ("q.log.00000042", "q.log.00000043")
    assert first.put(b"one\n")
    first.close()
    second.close()
    assert (tmp_path / "q.log.00000042").read_bytes() == b"one\n"
    assert (tmp_path / "q.log.00000042").stat().st_mode & 0o777 == 0o640 & ~current_umask()
    assert not first.put(b"late\n")


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_next_file_at_its_size(tmp_path: Path) -> None:
    file = made(tmp_path, 100)
    for number in range(20):
        assert file.put(b"%029d\n" % number)
    file.close()
    texts = [(tmp_path / name).read_bytes() for name in names(tmp_path)]
    assert [len(text) for text in texts] == [120] * 5
    assert b"".join(texts) == b"".join(b"%029d\n" % number for number in range(20))
    assert (file.written, file.dropped) == (20, 0)


def test_rotate(tmp_path: Path) -> None:
    file = made(tmp_path)
    file.put(b"before\n")
    until(lambda: file.written == 1)
    file.rotate()
    until(lambda: len(names(tmp_path)) == 2)
    file.put(b"after\n")
    file.close()
    assert (tmp_path / "q.log.00000002").read_bytes() == b"after\n"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        made(tmp_path / "nowhere")


def test_a_disk_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    real = os.write

    def write(fd: int, data: bytes) -> int:
        hangs.set()
        goes_on.wait(10)
        return real(fd, data)

    file = made(tmp_path, queue_bytes=10_000)
    monkeypatch.setattr(os, "write", write)
    file.put(b"first\n")
    assert hangs.wait(10)
    began = monotonic()
    taken = [file.put(b"x" * 100 + b"\n") for _ in range(1000)]
    assert monotonic() - began < 1
    assert 0 < taken.count(True) < 100
    assert file.dropped == taken.count(False)
    goes_on.set()
    file.close()
    lines = file.path.read_bytes().splitlines()
    assert lines[0] == b"first"
    assert lines[1] == b"%d lost" % taken.count(False)
    assert len(lines) == 2 + taken.count(True)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []
    file = made(tmp_path, trouble=lambda reason, lines: told.append((reason, lines)))
    real, full = os.write, threading.Event()

    def write(fd: int, data: bytes) -> int:
        if full.is_set():
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data)[:3])  # and writes may be short

    monkeypatch.setattr(os, "write", write)
    full.set()
    file.put(b"one\n")
    until(lambda: file.dropped == 1)
    file.put(b"two\n")
    until(lambda: file.dropped == 2)
    full.clear()
    file.put(b"three\n")
    file.close()
    assert told == [("No space left on device", 1)]
    assert file.path.read_bytes() == b"2 lost\nthree\n"


def test_a_torn_line_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made(tmp_path)
    real, room = os.write, [3]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            room[0] = 1000
            raise OSError(28, "No space left on device")
        taken = real(fd, bytes(data)[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", write)
    file.put(b"one, two\n")
    until(lambda: file.dropped == 1)
    file.put(b"three\n")
    file.close()
    assert file.path.read_bytes() == b"one\n1 lost\nthree\n"


def test_processes_of_a_service_share_one_file(tmp_path: Path) -> None:
    """And go on together in the next, whoever begins it: by its size, or told to."""
    (tmp_path / "q.log.00000007").touch()
    head = made(tmp_path, 100, share=Share.FIRST)
    workers = [made(tmp_path, 100, share=Share.FOLLOWER) for _ in range(2)]
    assert {file.path.name for file in (head, *workers)} == {"q.log.00000008"}
    for number in range(8):
        for who, file in enumerate(workers):
            done = file.written
            assert file.put(b"%d %027d\n" % (who, number))
            until(lambda file=file, done=done: file.written > done)  # type: ignore[misc]
    texts = [(tmp_path / name).read_bytes() for name in names(tmp_path) if name[-1] != "7"]
    assert [len(text) for text in texts] == [120, 120, 120, 120]
    for file in workers:
        file.rotate()  # everybody is told; the head alone begins the next
    workers[0].put(b"still here\n")
    until(lambda: workers[0].written == 9)
    last = names(tmp_path)[-1]
    head.rotate()
    until(lambda: names(tmp_path)[-1] > last)
    for file in workers:
        file.put(b"and on\n")
    later = made(tmp_path, 100, share=Share.LEADER)
    for file in (*workers, head, later):
        file.close()
    assert later.path == head.path
    assert head.path.read_bytes() == b"and on\n" * 2
