# SPDX-License-Identifier: Apache-2.0
"""Profiles on demand: CPU by py-spy, memory and tasks by the processes themselves.

    IDLE ── start ──> RECORDING ── seconds passed, stop ──> IDLE     one file
                      └ repeat: file after file until stop, or for MOST_SEC at most

    <data_dir>/profiles/   mp_cpu_2026-01-31-09-05-00.svg    CPU; the names are haentgl's
                           2026-01-31-09-05-00.sql_proxy     memory
                           collapsed                         one of those, for flame graphs

Files are written into this folder only, and only those of it are read: of a path that somebody
gives, nothing but the last part counts. The oldest go when there are more than MOST_FILES.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from hproxy.control import pyspy
from hproxy.errors import AdminError

__all__ = ["CPU", "HEAP", "MAX_SECONDS", "Asked", "Profiler"]

CPU = "mp_cpu_"
HEAP = ".sql_proxy"
MAX_SECONDS = 600
MOST_SEC = 3600.0
"""A profile that nobody stops ends after this."""
MOST_FILES = 50
NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}")
COLLAPSED = "collapsed"
TYPE_LINE = re.compile(r" *\d+ +(?P<kib>\d+\.\d)  (?P<type>[^/]+)")
"""Of a heap summary; lines about source have a path in that place."""
STAMP = "%Y-%m-%d-%H-%M-%S"

Row = Mapping[str, Any]


class Asked(Protocol):
    """Of the port, what this needs."""

    async def order(self, name: str, *arguments: str) -> str: ...

    async def status(self) -> dict[str, Any]: ...


class Profiler:
    """One at a time for the whole service; use it on the event loop."""

    def __init__(
        self,
        folder: Path,
        port: Asked,
        log: Any,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder = folder
        self._port = port
        self._log = log
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._now: dict[str, Any] = {}
        self._last_error = ""

    # -- CPU -----------------------------------------------------------------------

    async def start(
        self,
        seconds: float = 60,
        *,
        target: str = "all",
        form: str = "svg",
        native: bool = False,
        repeat: bool = False,
    ) -> str:
        """Begin a profile of `target`: "all", "head", "worker", "worker:1"; the file's name.

        Raises AdminError (admin.profile): one is under way, no such process, no py-spy."""
        if not 1 <= seconds <= MAX_SECONDS:
            raise AdminError(f"1 to {MAX_SECONDS} seconds", code="profile", seconds=seconds)
        if form not in pyspy.FORMATS:
            raise AdminError(
                "no such format", code="profile", format=form, hint=", ".join(pyspy.FORMATS)
            )
        pyspy.required()
        status = await self._port.status()
        if self.recording:  # from here on nothing waits: of two at once one is refused
            raise AdminError("a profile is being recorded", code="profile", **self._now)
        pid, family = chosen(status["processes"], target)
        self._make_room()
        self._enough.clear()
        self._last_error = ""
        ready = self._path(form)
        self._now = {"file": ready.name, "target": target, "pid": pid, "seconds": seconds}

        async def work() -> None:
            end, file = monotonic() + MOST_SEC, ready
            try:
                while True:
                    self._now["file"] = file.name
                    await pyspy.record(
                        *(pid, seconds, file),
                        form=form,
                        family=family,
                        native=native,
                        enough=self._enough,
                    )
                    self._log.info("profile recorded", file=file.name, target=target)
                    if not repeat or self._enough.is_set() or monotonic() > end:
                        return
                    self._make_room()
                    file = self._path(form)
            except (AdminError, OSError) as error:
                self._last_error = str(error)
                self._log.warning("no profile", reason=str(error))

        loop = asyncio.get_running_loop()
        self._task = loop.create_task(work(), name=f"profile of {target}")
        return ready.name

    async def stop(self) -> bool:
        """End it now; what was sampled is kept. False if there was none."""
        if self._task is None or not self.recording:
            return False
        self._enough.set()
        await self._task
        return True

    @property
    def recording(self) -> bool:
        """Whether one is under way."""
        return self._task is not None and not self._task.done()

    async def finished(self) -> None:
        """Wait for the one under way. Raises AdminError if the last one failed."""
        if self._task is not None:
            await self._task
        if self._last_error:
            raise AdminError(self._last_error, code="profile")

    async def close(self) -> None:
        """At the end of the process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def state(self) -> dict[str, Any]:
        """What is recorded now, what is there, and why the last one failed."""
        return {
            "recording": dict(self._now) if self.recording else None,
            "last_error": self._last_error,
            "py_spy": pyspy.found(),
            "folder": str(self._folder),
            "files": self.names(),
        }

    # -- memory, threads and tasks ----------------------------------------------------

    async def heap(self) -> str:
        """What memory is used for, process by process."""
        return await self._port.order("heap")

    async def trace(self, frames: int) -> str:
        """Trace allocations so many frames deep, or (0) no more."""
        return await self._port.order("trace_heap", str(frames))

    async def stacks(self) -> str:
        """Where threads are and what tasks wait for, process by process."""
        return await self._port.order("stacks")

    async def dump_heap(self) -> Path:
        """`heap` into a file."""
        text = await self.heap()
        self._make_room()
        file = self._folder / f"{self._stamp()}{HEAP}"
        await asyncio.to_thread(file.write_text, text, encoding="utf-8")
        return file

    async def collapse(self, path: str) -> Path:
        """A heap summary as lines of "process;type KiB", which flame graph programs draw."""
        dump = self.file(path)
        file = self._folder / COLLAPSED

        def work() -> None:
            file.write_text(collapsed(dump.read_text(encoding="utf-8")), encoding="utf-8")

        await asyncio.to_thread(work)
        return file

    # -- files -------------------------------------------------------------------------

    def names(self, prefix: str = "") -> list[str]:
        """Of what is finished, the newest last."""
        try:
            found = [p for p in self._folder.iterdir() if not p.name.startswith(".")]
        except FileNotFoundError:
            return []
        found.sort(key=lambda path: (path.stat().st_mtime, path.name))
        return [path.name for path in found if path.name.startswith(prefix)]

    def file(self, path: str) -> Path:
        """The file of that name, whatever folder is said to hold it. Raises AdminError."""
        name = path.rstrip("/").rpartition("/")[2]
        if not NAME.fullmatch(name) or name not in self.names():
            raise AdminError("no such profile", code="profile", file=name)
        return self._folder / name

    def _path(self, form: str) -> Path:
        suffix = "svg" if form == "svg" else "json" if form == "speedscope" else "txt"
        stamp, path, count = self._stamp(), None, 1
        while path is None or path.exists():
            path = self._folder / f"{CPU}{stamp}{f'-{count}' if count > 1 else ''}.{suffix}"
            count += 1
        return path

    def _stamp(self) -> str:
        return self._clock().strftime(STAMP)

    def _make_room(self) -> None:
        """For one more; the folder is made when first needed, for nobody else to read."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in self.names()[: -MOST_FILES + 1]:
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise AdminError(
                "no folder for profiles", code="profile", folder=self._folder, why=error.strerror
            ) from error


def collapsed(text: str) -> str:
    """The types in a heap summary, process by process, as folded stacks."""
    process, lines = "", []
    for line in text.splitlines():
        if line.startswith("process "):
            process = line.partition(":")[0]
        elif found := TYPE_LINE.fullmatch(line):
            lines.append(f"{process};{found['type']} {round(float(found['kib']))}\n")
    return "".join(lines)


def chosen(processes: Sequence[Row], target: str) -> tuple[int, bool]:
    """The process to look at, and whether its children count. Raises AdminError."""
    role, _, slot = target.partition(":")
    if role == "all":
        # The angel has all others as children; without one there is one process alone.
        role = "angel" if any(row["role"] == "angel" for row in processes) else ""
    fit = [
        row
        for row in processes
        if row["pid"] and role in ("", row["role"]) and slot in ("", str(row["slot"]))
    ]
    if not fit:
        known = ", ".join(dict.fromkeys(_called(row) for row in processes))
        raise AdminError("no such process", code="profile", target=target, hint=f"all, {known}")
    return int(fit[0]["pid"]), target == "all"


def _called(row: Row) -> str:
    return f"worker:{row['slot']}" if row["role"] == "worker" else str(row["role"])
