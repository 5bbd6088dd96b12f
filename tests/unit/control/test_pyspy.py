# SPDX-License-Identifier: Apache-2.0
"""A flame graph of a process that runs; every failure is a reason and leaves no file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hproxy.control import pyspy
from hproxy.errors import AdminError
from tests.unit.conftest import Run, until

BUSY = "def occupied():\n    while True: sum(range(1000))\nprint('on', flush=True)\noccupied()"


@pytest.fixture
def busy() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("form", ["svg", "raw"])
def test_shows_what_the_process_does(run: Run, busy: int, tmp_path: Path, form: str) -> None:
    file = tmp_path / "profile"
    run(pyspy.record(busy, 1, file, form=form))
    assert "occupied" in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_ended_early_keeps_what_it_has(run: Run, busy: int, tmp_path: Path) -> None:
    file = tmp_path / "profile"

    async def work() -> None:
        enough = asyncio.Event()
        recording = asyncio.ensure_future(pyspy.record(busy, 600, file, enough=enough))
        await asyncio.sleep(0.5)  # something must have been sampled
        enough.set()
        await recording

    run(work())
    assert "occupied" in file.read_text()


def test_a_process_that_sleeps_is_an_empty_picture(run: Run, tmp_path: Path) -> None:
    words = "import time; print('on', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            run(pyspy.record(process.pid, 1, tmp_path / "profile"))
        finally:
            process.kill()
    assert "nothing ran" in (tmp_path / "profile").read_text()


def test_a_process_that_is_none_is_a_reason(run: Run, tmp_path: Path) -> None:
    with pytest.raises(AdminError, match=r"py-spy: .*(?i:process)") as caught:
        run(pyspy.record(2**22 - 1, 1, tmp_path / "profile"))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pretender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A py-spy that does what the test says."""
    program = tmp_path / "bin/py-spy"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_a_refusal_of_the_kernel_is_explained(run: Run, pretender: Path, tmp_path: Path) -> None:
    words = "Error: Permission Denied: Try running again with elevated permissions"
    pretender.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    with pytest.raises(AdminError, match="CAP_SYS_PTRACE") as caught:
        run(pyspy.record(1, 1, tmp_path / "profile"))
    assert caught.value.full_code == "admin.profile"


def test_one_that_never_ends_is_ended(
    run: Run, pretender: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyspy, "GRACE_SEC", 0.1)
    pretender.write_text(
        f"#!/bin/sh\ntrap '' INT\necho $$ > {tmp_path}/pid\nsleep 60 & wait; wait\n"
    )
    with pytest.raises(AdminError, match="does not end"):
        run(pyspy.record(1, 0.3, tmp_path / "profile"))
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_cancelled_leaves_nothing(run: Run, pretender: Path, tmp_path: Path) -> None:
    pretender.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    told = tmp_path / "pid"

    async def work() -> None:
        recording = asyncio.ensure_future(pyspy.record(1, 60, tmp_path / "profile"))
        await until(lambda: told.exists() and told.read_text() != "")
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        process = Path(f"/proc/{told.read_text().strip()}")
        # Cancelled while it is being started, uvloop ends it and does not wait.
        await until(lambda: not process.exists())

    run(work())


def test_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(AdminError, match="pip install py-spy"):
        pyspy.required()
