# SPDX-License-Identifier: Apache-2.0
"""Destinations: whole lines, never an exception, never a wait, and a count of what was lost."""

from __future__ import annotations

import io
import os
import pty
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hproxy.telemetry.render import Event
from hproxy.telemetry.sink import Sink, file_sink, stream_sink


def plain(event: Event) -> bytes:
    lost = f" {event['dropped']}" if "dropped" in event else ""
    return f"{event['event']}{lost}\n".encode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with suppress(OSError):  # the test closed it
            os.close(fd)


def tell(sink: Sink, *events: str) -> None:
    for event in events:
        sink.emit({"event": event})


def fill(sink: Sink) -> int:
    """Emit until a line is lost; the number that went in."""
    count = 0
    while not sink.dropped:
        tell(sink, f"{count:0>99}")
        count += 1
        assert count < 100_000
    return count - 1


def test_file_is_appended_to_and_private(tmp_path: Path) -> None:
    path = tmp_path / "h.log"
    path.write_text("before\n")
    path.unlink()
    sink = file_sink(path, plain)
    tell(sink, "one")
    sink.close()
    sink = file_sink(path, plain)
    tell(sink, "two")
    sink.close()
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0


def test_reopen_follows_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "h.log"
    sink = file_sink(path, plain)
    tell(sink, "one")
    path.rename(tmp_path / "h.log.1")
    tell(sink, "two")
    assert sink.reopen() is None
    tell(sink, "three")
    sink.close()
    assert (tmp_path / "h.log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_reopen_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = file_sink(folder / "h.log", plain)
    folder.rename(tmp_path / "moved")
    error = sink.reopen()
    assert isinstance(error, FileNotFoundError)
    tell(sink, "still")
    sink.close()
    assert (tmp_path / "moved/h.log").read_text() == "still\n"


def test_reopen_of_a_stream_does_nothing(pipe: tuple[int, int]) -> None:
    assert Sink(plain, fd=pipe[1]).reopen() is None


def test_reopen_gives_back_the_old_descriptor(tmp_path: Path) -> None:
    sink = file_sink(tmp_path / "h.log", plain)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        assert sink.reopen() is None
    assert len(os.listdir("/proc/self/fd")) == before
    sink.close()
    sink.close()
    tell(sink, "after the end")
    assert sink.dropped == 1


def test_full_disk_drops_and_counts() -> None:
    sink = file_sink(Path("/dev/full"), plain)
    tell(sink, "one", "two")
    assert sink.dropped == 2
    sink.close()


def test_reader_gone_drops_and_counts(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(plain, fd=writer)
    os.close(reader)
    tell(sink, "one")
    assert sink.dropped == 1


def test_stuck_reader_never_blocks_and_the_loss_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(plain, fd=writer)
    started = time.monotonic()
    sent = fill(sink)
    tell(sink, "lost too")
    assert time.monotonic() - started < 5
    assert sent > 100
    lines = os.read(reader, 1 << 20).decode().splitlines()
    tell(sink, "back", "again")
    lines += os.read(reader, 1 << 20).decode().splitlines()
    # A line cut in the middle ends at the next one that gets through.
    assert [line for line in lines if len(line) == 99] == [f"{n:0>99}" for n in range(sent)]
    assert lines[-3].startswith("log lines dropped ")
    assert int(lines[-3].split()[-1]) >= 2
    assert lines[-2:] == ["back", "again"]
    assert sink.dropped == 0


def test_a_line_longer_than_the_pipe_is_cut_and_ended(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(plain, fd=writer)
    tell(sink, "x" * 300_000)
    assert sink.dropped == 1
    assert set(os.read(reader, 1 << 20)) == set(b"x")
    tell(sink, "next")
    assert os.read(reader, 1 << 20) == b"\nlog lines dropped 1\nnext\n"


def test_long_lines_go_through_a_pipe_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    tell(Sink(plain, fd=writer), "y" * 10_000)
    assert os.read(reader, 1 << 20) == b"y" * 10_000 + b"\n"


def test_terminal() -> None:
    master, slave = pty.openpty()
    try:
        tell(Sink(plain, fd=slave), "hello")
        assert os.read(master, 100) == b"hello\r\n"
    finally:
        os.close(master)
        os.close(slave)


def test_stream_without_descriptor() -> None:
    stream = io.StringIO()
    sink = stream_sink(stream, plain)
    tell(sink, "one")
    assert stream.getvalue() == "one\n"
    stream.close()
    tell(sink, "two")
    assert sink.dropped == 1


def test_stream_with_descriptor_keeps_the_order(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w") as stream:
        stream.write("written before\n")
        sink = stream_sink(stream, plain)
        tell(sink, "one")
        sink.close()
        stream.write("still open\n")
    assert path.read_text() == "written before\none\nstill open\n"


def test_no_stream_at_all() -> None:
    sink = stream_sink(None, plain)
    tell(sink, "one")
    assert sink.dropped == 1


def test_time_of_the_loss_is_that_of_the_line_after(tmp_path: Path) -> None:
    seen: list[Event] = []

    def render(event: Event) -> bytes:
        seen.append(event)
        return plain(event)

    sink = file_sink(tmp_path / "h.log", render)
    sink.dropped = 4
    sink.emit({"event": "x", "ts": 5})
    sink.close()
    assert seen[0] == {"event": "log lines dropped", "level": "warn", "dropped": 4, "ts": 5}
