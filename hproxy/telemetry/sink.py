# SPDX-License-Identifier: Apache-2.0
"""Where log lines go: a file, a terminal, a pipe; it never raises, never waits, keeps nothing.

A line is written at once with write(2) or dropped and counted. A pipe or terminal whose reader
is stuck must not stop the proxy, so such a descriptor is asked first whether it takes a write:
poll(2) says so when at least PIPE_BUF bytes fit, hence the pieces of 4096. (O_NONBLOCK would
be simpler, but it is a property of the open file and would also hit the shell we share it
with.) After a gap the next line that gets through is preceded by one with the number lost.
"""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path
from typing import TextIO

from hproxy.telemetry.render import Event, Render

__all__ = ["Sink", "file_sink", "stream_sink"]

PIPE_BUF = 4096
FILE_MODE = 0o640  # lines name users and hosts


class Sink:
    """One destination with its own form of line; `dropped` counts lines lost since the last."""

    def __init__(
        self,
        render: Render,
        *,
        fd: int = -1,
        stream: TextIO | None = None,
        path: Path | None = None,
    ) -> None:
        self.dropped = 0
        self._render = render
        self._stream = stream  # only when it has no descriptor, as in tests
        self._path = path
        self._torn = False  # the last write ended inside a line
        self._use(fd)

    def _use(self, fd: int) -> None:
        self._fd = fd
        self._poll: select.poll | None = None
        if fd >= 0 and not stat.S_ISREG(os.fstat(fd).st_mode):
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)

    def emit(self, event: Event) -> None:
        """Write the event as a line, or count it as dropped."""
        if self.dropped:
            lost = {"event": "log lines dropped", "level": "warn", "dropped": self.dropped}
            if "ts" in event:
                lost["ts"] = event["ts"]
            if not self._put(lost):
                self.dropped += 1
                return
            self.dropped = 0
        if not self._put(event):
            self.dropped += 1

    def _put(self, event: Event) -> bool:
        """Whether its whole line was taken."""
        try:
            line = self._render(event)
            if self._stream is not None:
                self._stream.write(line.decode("utf-8", "replace"))
                self._stream.flush()
                return True
            return self._write(b"\n" + line if self._torn else line)
        except (OSError, ValueError):  # ValueError: the stream was closed
            return False
        except MemoryError:  # who writes it has worse to see to
            return False

    def _write(self, line: bytes) -> bool:
        rest = memoryview(line)
        try:
            while rest:
                if self._poll is None:
                    rest = rest[os.write(self._fd, rest) :]
                elif self._poll.poll(0):
                    rest = rest[os.write(self._fd, rest[:PIPE_BUF]) :]
                else:
                    break
        finally:
            if len(rest) < len(line):
                self._torn = bool(rest)
        return not rest

    def reopen(self) -> OSError | None:
        """Open the file anew (it was rotated away); on failure go on with the old one."""
        if self._path is None:
            return None
        try:
            fd = _open(self._path)
        except OSError as error:
            return error
        os.close(self._fd)
        self._use(fd)
        self._torn = False
        return None

    def close(self) -> None:
        """Give back the descriptor, if it is ours."""
        if self._path is not None and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._poll = None


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def file_sink(path: Path, render: Render) -> Sink:
    """Raises OSError when the file cannot be opened."""
    return Sink(render, fd=_open(path), path=path)


def stream_sink(stream: TextIO | None, render: Render) -> Sink:
    """A sink for a stream that stays the caller's; without one every line is dropped."""
    if stream is None:
        return Sink(render)
    try:
        stream.flush()
        fd = stream.fileno()
    except (OSError, ValueError):  # io.StringIO, or closed already
        return Sink(render, stream=stream)
    return Sink(render, fd=fd)
