# SPDX-License-Identifier: Apache-2.0
"""A log in numbered files, as ProxySQL keeps them, that never makes traffic wait.

    put ──> queue, bounded ──> thread ── write ──> queries.log.00000007
      └ full: counted                 ├─ file_bytes reached, or `rotate` ──> queries.log.00000008
                                      └─ disk full, gone ──> counted; told with the next line
                                                             that can be written

`put` costs an append under a lock that nobody holds for long; a disk that is slow, full or hung
costs lines and nothing else. A thread writes because a regular file cannot be written without
waiting otherwise.

    Share      at its start      told to rotate    when the file is full
    ALONE      a new file        a new file        a new file
    FIRST      a new file        a new file        the next one, whoever makes it
    LEADER     the newest        a new file        "
    FOLLOWER   the newest        waits for one     "

The processes of one service write to the same file, each its whole lines, and go on together where
one of them has begun the next.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path

__all__ = ["NumberedFile", "Share"]

FILE_MODE = 0o640  # lines name users, hosts and statements
QUEUE_BYTES = 8 << 20
LINE_OVERHEAD = 64
GATHER_SEC = 0.02
"""Lines that come together are written together."""
CLOSE_SEC = 5.0
DIGITS = 8
CREATE = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Gap = Callable[[int], bytes]
Trouble = Callable[[str, int], None]


class Share(Enum):
    """With whom a log is shared, and who begins its files."""

    ALONE = "alone"
    FIRST = "first"
    LEADER = "leader"
    FOLLOWER = "follower"


class NumberedFile:
    """One such log; `written` and `dropped` count lines since it was made."""

    def __init__(
        self,
        base: Path,
        file_bytes: int,
        *,
        gap: Gap,
        trouble: Trouble | None = None,
        queue_bytes: int = QUEUE_BYTES,
        share: Share = Share.ALONE,
    ) -> None:
        """Open `base`.N, one above those that are there, or the newest. Raises OSError.

        `gap(n)` is the line that tells of n lost ones; `trouble(reason, n)` is called in another
        thread when lines begin to be lost."""
        self.base = base
        self.file_bytes = file_bytes
        self.written = 0
        self.dropped = 0
        self._gap = gap
        self._trouble = trouble
        self._most = queue_bytes
        self._share = share
        self._number = 0
        self._lock = threading.Lock()
        self._queue: list[bytes] = []
        self._queued = 0
        self._untold = 0
        self._failing = False
        self._rotate = self._stop = False
        self._wake = threading.Event()
        self._fd = -1
        self._size = 0
        self._torn = False
        self.path = base
        if share in (Share.ALONE, Share.FIRST):
            self._next()
        else:
            self._join(self._last())
        self._thread = threading.Thread(target=self._run, name=f"log {base.name}", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> bool:
        """Take a line, its end included, or count it as dropped. Never waits, never raises."""
        cost = len(line) + LINE_OVERHEAD
        with self._lock:
            if self._stop or self._queued + cost > self._most:
                self.dropped += 1
                self._untold += 1
                return False
            self._queue.append(line)
            self._queued += cost
        if not self._wake.is_set():
            self._wake.set()
        return True

    def rotate(self) -> None:
        """Go on in the next file."""
        with self._lock:
            self._rotate = True
        self._wake.set()

    def close(self, seconds: float = CLOSE_SEC) -> None:
        """Write what is queued, for `seconds` at most, and end."""
        with self._lock:
            self._stop = True
        self._wake.set()
        self._thread.join(seconds)

    # -- the thread ----------------------------------------------------------------

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._wake.wait()
            if not self._stop:
                pause.wait(GATHER_SEC)
            self._wake.clear()
            with self._lock:
                lines, self._queue = self._queue, []
                self._queued = 0
                rotate, self._rotate = self._rotate, False
                stop = self._stop
            if rotate and self._share is not Share.FOLLOWER:
                self._attempt(self._next, 0)
            elif lines and self._share is not Share.ALONE:
                self._attempt(self._follow, 0)
            for count, chunk in self._chunks(lines):
                self._attempt(partial(self._write, chunk, count), count)
            if stop:
                if self._fd >= 0:
                    os.close(self._fd)
                    self._fd = -1
                return

    def _chunks(self, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
        """What is written at once: as much as the file of now still takes, a line at least."""
        at = 0
        while at < len(lines):
            if self._size >= self.file_bytes:
                self._attempt(self._full, 0)
            end, size = at, self._size
            while end < len(lines) and (end == at or size < self.file_bytes):
                size += len(lines[end])
                end += 1
            yield end - at, b"".join(lines[at:end])
            at = end

    def _attempt(self, act: Callable[[], None], lines: int) -> None:
        try:
            act()
        except OSError as error:
            with self._lock:
                self.dropped += lines
                self._untold += lines
            if not self._failing and self._trouble is not None:
                self._trouble(error.strerror or str(error), self._untold)
            self._failing = True

    def _write(self, chunk: bytes, count: int) -> None:
        if self._fd < 0:
            self._next()
        with self._lock:
            lost, self._untold = self._untold, 0
        try:
            self._put(self._gap(lost) + chunk if lost else chunk)
        except OSError:
            with self._lock:
                self._untold += lost
            raise
        self.written += count
        self._failing = False

    def _put(self, data: bytes) -> None:
        """Raises OSError; then the next line begins a line of its own."""
        rest = memoryview(b"\n" + data if self._torn else data)
        self._torn = False
        while rest:
            try:
                taken = os.write(self._fd, rest)
            except OSError:
                self._torn = len(rest) < len(data)
                raise
            self._size += taken
            rest = rest[taken:]

    def _next(self) -> None:
        """Open the next file; the one of now stays open when that fails. Raises OSError."""
        number, fd = self._last() + 1, -1
        while fd < 0:
            try:
                fd = os.open(self._named(number), CREATE, FILE_MODE)
            except FileExistsError:  # another service was faster
                number += 1
        self._use(fd, number)

    def _full(self) -> None:
        """This one is: go on in the one after it, whoever makes it. Raises OSError."""
        if self._share is Share.ALONE:
            self._next()
        else:
            self._join(self._number + 1)

    def _follow(self) -> None:
        """Go on where others of the service do by now. Raises OSError."""
        number = self._number
        while os.path.exists(self._named(number + 1)):
            number += 1
        if number != self._number:
            self._join(number)
        elif self._fd >= 0:
            self._size = os.fstat(self._fd).st_size

    def _join(self, number: int) -> None:
        number = max(number, 1)
        self._use(os.open(self._named(number), CREATE & ~os.O_EXCL, FILE_MODE), number)

    def _use(self, fd: int, number: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._number, self._torn = fd, number, False
        self._size, self.path = os.fstat(fd).st_size, self._named(number)

    def _named(self, number: int) -> Path:
        return self.base.with_name(f"{self.base.name}.{number:0{DIGITS}d}")

    def _last(self) -> int:
        """The highest number in use."""
        pattern = re.compile(re.escape(self.base.name) + rf"\.(\d{{{DIGITS},}})")
        found = (pattern.fullmatch(name) for name in os.listdir(self.base.parent))
        return max((int(match[1]) for match in found if match), default=0)
