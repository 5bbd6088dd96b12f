# SPDX-License-Identifier: Apache-2.0
"""Programs on an interval: one instance each, told when they fail, ended at the end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from hproxy.process.scheduler import Job, Scheduler
from tests.support.worker import Journal
from tests.unit.conftest import Run, until


def row(number: int, *command: str, interval_ms: int = 100, active: int = 1) -> dict[str, Any]:
    arguments: dict[str, str | None] = {f"arg{i}": None for i in range(1, 6)}
    arguments |= {f"arg{i}": text for i, text in enumerate(command[1:], 1)}
    found = {"id": number, "active": active, "interval_ms": interval_ms, "filename": command[0]}
    return found | arguments


def only(scheduler: Scheduler) -> Job:
    (job,) = scheduler.jobs
    return job


def test_runs_on_its_interval_with_its_arguments(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        out = tmp_path / "out"
        scheduler = Scheduler(Journal())
        scheduler.load([row(1, "/bin/sh", "-c", f'echo "$0 $1" >> {out}', "one", "two words")])
        await until(lambda: only(scheduler).runs >= 3)
        await scheduler.stop()
        assert set(out.read_text().splitlines()) == {"one two words"}

    run(work())


def test_one_instance_at_a_time(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        gate, started = tmp_path / "gate", tmp_path / "started"
        script = f"echo x >> {started}; while [ ! -e {gate} ]; do sleep 0.02; done"
        journal = Journal()
        scheduler = Scheduler(journal)
        scheduler.load([row(1, "/bin/sh", "-c", script)])
        await until(lambda: only(scheduler).left_out >= 3)
        assert started.read_text() == "x\n"
        assert len([line for line in journal.entries if "longer than its interval" in line[1]]) == 1
        gate.touch()
        await until(lambda: only(scheduler).runs >= 2)
        await scheduler.stop()

    run(work())


def test_failures_are_told_with_what_was_written(run: Run) -> None:
    async def work() -> None:
        journal = Journal()
        scheduler = Scheduler(journal)
        scheduler.load(
            [
                row(1, "/bin/sh", "-c", "echo not today >&2; exit 3"),
                row(2, "/nowhere/at/all"),
                row(3, "/bin/true", active=0),
            ]
        )
        await until(lambda: all(job.failures for job in scheduler.jobs))
        assert [job.number for job in scheduler.jobs] == [1, 2]
        await scheduler.stop()
        failed = {
            facts["scheduler"]: facts for _, event, facts in journal.entries if "failed" in event
        }
        assert (failed[1]["reason"], failed[1]["stderr"]) == ("exit status 3", "not today")
        assert failed[2]["reason"] == "No such file or directory"

    run(work())


def test_an_unchanged_row_goes_on_and_another_begins_anew(run: Run) -> None:
    async def work() -> None:
        scheduler = Scheduler(Journal())
        scheduler.load([row(1, "/bin/true"), row(2, "/bin/true")])
        first, second = scheduler.jobs
        scheduler.load([row(1, "/bin/true"), row(2, "/bin/true", interval_ms=200)])
        assert scheduler.jobs[0] is first
        assert scheduler.jobs[1] is not second
        scheduler.load([])
        assert scheduler.jobs == ()
        await scheduler.stop()

    run(work())


def test_stop_ends_what_runs(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        pid = tmp_path / "pid"
        scheduler = Scheduler(Journal())
        scheduler.load([row(1, "/bin/sh", "-c", f"echo $$ > {pid}; exec sleep 600")])
        await until(lambda: pid.exists() and pid.read_text() != "")
        await scheduler.stop()

    run(work())
    ended = (tmp_path / "pid").read_text().strip()
    assert not Path(f"/proc/{ended}").exists()


def test_stop_ends_what_runs_of_rows_that_are_gone(run: Run, tmp_path: Path) -> None:
    """A program that hangs, and ignores TERM, and has started another: none outlives us."""

    async def work() -> None:
        pids = tmp_path / "pids"
        script = (
            f"trap '' TERM; sleep 900 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; sleep 901"
        )
        scheduler = Scheduler(Journal())
        scheduler.load([row(1, "/bin/sh", "-c", script)])
        await until(pids.exists)
        scheduler.load([])
        await asyncio.wait_for(scheduler.stop(), 10)
        left = list(map(int, pids.read_text().split()))
        await until(lambda: not any(map(_lives, left)))

    run(work())


def test_what_a_program_left_behind_does_not_hold_up_its_next_run(run: Run, tmp_path: Path) -> None:
    """The one in the background has inherited stderr, which stays open as long as it lives."""

    async def work() -> None:
        pids = tmp_path / "pids"
        journal = Journal()
        scheduler = Scheduler(journal)
        script = f"echo why >&2; sleep 900 & echo $! >> {pids}; exit 3"
        scheduler.load([row(1, "/bin/sh", "-c", script)])
        await until(lambda: only(scheduler).failures >= 2)
        await scheduler.stop()
        for pid in map(int, pids.read_text().split()):
            os.kill(pid, signal.SIGKILL)
        assert {entry[2]["stderr"] for entry in journal.entries if "failed" in entry[1]} == {"why"}

    run(work())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
