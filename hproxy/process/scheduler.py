# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of the `scheduler` table, each on its interval and never twice at once.

due ── runs still? ── yes ──> left out this time, counted
     └ no ──> started ──> ended: a failure is told, with the end of what it wrote to stderr
load(rows) ── unchanged row ──> goes on as it was
            └ changed, gone ──> not started again; what runs may end
stop ── TERM, later KILL ──> all that runs, with what it has started: none outlives the service

A program has ended when it has, though what it left in the background holds its stderr.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Job", "Scheduler"]

MOST_STDERR = 4096
"""Bytes of what a program wrote that are shown when it fails."""
GRACE_SEC = 2.0
"""Between TERM and KILL at the end."""
REST_SEC = 0.5
"""What a program wrote is here soon after it has ended, or held back by what it left behind."""


@dataclass(slots=True)
class Job:
    """One row at work."""

    number: int
    interval: float
    command: tuple[str, ...]
    runs: int = 0
    failures: int = 0
    left_out: int = 0
    process: asyncio.subprocess.Process | None = None
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Scheduler:
    """Use within a running event loop."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._jobs: dict[int, Job] = {}
        self._ending: dict[asyncio.Task[None], Job] = {}
        """Those of rows that are gone, as long as they run."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Those of the rows loaded last."""
        return tuple(self._jobs.values())

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """These are to run from now on, each for the first time after one interval."""
        wanted = {row["id"]: row for row in rows if row["active"]}
        for number, job in list(self._jobs.items()):
            row = wanted.get(number)
            if row is not None and (_command(row), _interval(row)) == (job.command, job.interval):
                del wanted[number]
            else:
                self._drop(self._jobs.pop(number))
        for number, row in sorted(wanted.items()):
            job = self._jobs[number] = Job(number, _interval(row), _command(row))
            self._again(job)

    def _drop(self, job: Job) -> None:
        if job.timer is not None:
            job.timer.cancel()
        if job.task is not None and not job.task.done():
            self._ending[job.task] = job
            job.task.add_done_callback(self._ending.pop)

    def _again(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        job.timer = loop.call_later(job.interval, self._due, job)

    def _due(self, job: Job) -> None:
        self._again(job)
        if job.task is not None and not job.task.done():
            job.left_out += 1
            if job.left_out == 1:
                self._log.warning(
                    "a scheduled program runs longer than its interval",
                    scheduler=job.number,
                    program=job.command[0],
                )
            return
        loop = asyncio.get_running_loop()
        job.task = loop.create_task(self._run(job), name=f"scheduler {job.number}")

    async def _run(self, job: Job) -> None:
        job.runs += 1
        try:
            stderr, end = os.pipe()
        except OSError as error:
            self._failed(job, error.strerror or str(error))
            return
        try:
            job.process = await asyncio.create_subprocess_exec(
                *job.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=end,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(stderr)
            self._failed(job, getattr(error, "strerror", None) or str(error))
            return
        finally:
            os.close(end)
        status, written = await _ended(job.process, stderr)
        if status:
            self._failed(job, f"exit status {status}", stderr=written)

    def _failed(self, job: Job, reason: str, **facts: object) -> None:
        job.failures += 1
        self._log.error(
            "a scheduled program failed",
            scheduler=job.number,
            program=job.command[0],
            reason=reason,
            **facts,
        )

    async def stop(self) -> None:
        """Start nothing more, and end what runs."""
        for job in self._jobs.values():
            self._drop(job)
        self._jobs.clear()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for job in self._ending.values():
                _signal(job, number)
            if self._ending:
                await asyncio.wait(set(self._ending), timeout=GRACE_SEC)
        for task in self._ending:
            task.cancel()


def _signal(job: Job, number: int) -> None:
    """To the program and to what it has started."""
    if job.process is not None and job.process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(job.process.pid, number)


async def _ended(process: asyncio.subprocess.Process, stderr: int) -> tuple[int, str]:
    """Its status, and the end of what it wrote to the pipe, which is closed then."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stderr, "rb", 0)
    )
    kept = bytearray()
    reading = loop.create_task(_keep_tail(reader, kept), name="stderr of a program")
    try:
        status = await process.wait()
        await asyncio.wait({reading}, timeout=REST_SEC)
    finally:
        reading.cancel()
        transport.close()
    return status, kept.decode("utf-8", "replace").strip()


async def _keep_tail(reader: asyncio.StreamReader, kept: bytearray) -> None:
    while chunk := await reader.read(65536):
        kept += chunk
        del kept[:-MOST_STDERR]


def _command(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The program, and its arguments up to the first that is NULL."""
    arguments = []
    for name in ("arg1", "arg2", "arg3", "arg4", "arg5"):
        if row[name] is None:
            break
        arguments.append(str(row[name]))
    return (row["filename"], *arguments)


def _interval(row: Mapping[str, Any]) -> float:
    return float(row["interval_ms"]) / 1000
