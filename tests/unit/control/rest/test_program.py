# SPDX-License-Identifier: Apache-2.0
"""Programs as answers: what they write, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import monotonic

import pytest

from hproxy.control.rest import program
from hproxy.control.rest.program import Outcome, run
from tests.support.health import until
from tests.support.process import eventually


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def play(path: str, argument: str = "{}", timeout_sec: float = 20.0) -> Outcome:
    return asyncio.run(run(path, argument, timeout_sec))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "Z"


def test_its_output_and_its_argument(tmp_path: Path) -> None:
    found = play(script(tmp_path, 'printf "%s" "$1"; echo bad >&2'), '{"a": "$(id) `id`"}')
    assert found == Outcome(0, b'{"a": "$(id) `id`"}', "bad")


def test_its_status(tmp_path: Path) -> None:
    assert play(script(tmp_path, "exit 7")).status == 7


@pytest.mark.parametrize(
    "path", ["/nowhere/at/all", "/etc/passwd", "/tmp"], ids=["missing", "no program", "a folder"]
)
def test_one_that_cannot_be_started(path: str) -> None:
    found = play(path)
    assert found.status is None
    assert found.why


def test_one_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    path = script(tmp_path, f"sleep 1000 & echo $! > {told}; wait")
    began = monotonic()
    found = play(path, timeout_sec=1.0)
    assert "in time" in found.why
    assert monotonic() - began < 10
    pid = int(told.read_text())
    eventually(lambda: gone(pid), "its child is gone")


def test_one_that_heeds_no_term_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "GRACE_SEC", 0.2)
    found = play(script(tmp_path, "trap '' TERM; while :; do sleep 0.1; done"), timeout_sec=0.5)
    assert "in time" in found.why


def test_one_that_writes_without_end(tmp_path: Path) -> None:
    found = play(script(tmp_path, "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done"))
    assert "more than 1024 KiB" in found.why


def test_complaints_without_end_are_cut(tmp_path: Path) -> None:
    text = "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; echo 1"
    found = play(script(tmp_path, text))
    assert found.status == 0
    assert len(found.stderr) <= 4096
    assert found.stderr.endswith("line 1999")


def test_what_it_leaves_behind_does_not_outlive_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    path = script(tmp_path, f"sleep 1000 >/dev/null 2>&1 & echo $! > {told}; echo 1")
    assert play(path).stdout == b"1\n"
    pid = int(told.read_text())
    eventually(lambda: gone(pid), "its child is gone")


def test_who_asks_may_leave(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    path = script(tmp_path, f"echo $$ > {told}; exec sleep 1000")

    async def scene() -> None:
        task = asyncio.ensure_future(run(path, "", 60.0))
        await until(lambda: told.exists() and told.read_text().strip())
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(scene())
    pid = int(told.read_text())
    eventually(lambda: gone(pid), "it is gone")
