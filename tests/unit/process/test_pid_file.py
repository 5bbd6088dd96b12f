# SPDX-License-Identifier: Apache-2.0
"""Whose the pid file is: the lock decides, not the number."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hproxy.errors import ConfigError
from hproxy.process.pid_file import PidFile

ANOTHER = """
import sys; from pathlib import Path; from hproxy.process.pid_file import PidFile
held = PidFile.take(Path(sys.argv[1]), replace=len(sys.argv) > 2)
print("held", flush=True); sys.stdin.read(1); held.drop()
"""


@contextmanager
def another(path: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `path` until its stdin ends."""
    command = [sys.executable, "-c", ANOTHER, str(path), *how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def number(path: Path) -> int:
    return int(path.read_text())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("x")


def test_it_holds_the_number_everybody_may_read_it_and_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    before = os.umask(0o077)
    try:
        held = PidFile.take(path)
    finally:
        os.umask(before)
    assert number(path) == os.getpid()
    assert path.stat().st_mode & 0o777 == 0o644
    held.drop()
    assert not list(tmp_path.iterdir())


def test_a_living_process_refuses_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with another(path) as process:
        with pytest.raises(ConfigError, match=f"process that lives \\({process.pid}\\)"):
            PidFile.take(path)
        assert number(path) == process.pid


def test_the_file_of_one_that_was_killed_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with another(path) as process:
        process.kill()
        process.wait()
        held = PidFile.take(path)
        assert number(path) == os.getpid()
        assert number(tmp_path / "pid.old") == process.pid
        held.drop()
        assert not path.exists()


def test_a_number_without_a_lock_is_nobodys_even_when_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")
    PidFile.take(path).drop()
    assert number(tmp_path / "pid.old") == 1


def test_an_upgrade_takes_the_name_and_the_old_one_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with another(path) as old:
        held = PidFile.take(path, replace=True)
        assert (number(path), number(tmp_path / "pid.old")) == (os.getpid(), old.pid)
        end(old)
        assert number(path) == os.getpid()
        assert not (tmp_path / "pid.old").exists()
        held.drop()


def test_after_an_upgrade_that_failed_the_old_one_has_its_name_back(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with another(path) as old:
        PidFile.take(path, replace=True).drop()
        assert number(path) == old.pid
        with pytest.raises(ConfigError, match="lives"):
            PidFile.take(path)
        end(old)
        assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.daemon\.pid_file.*No such file"):
        PidFile.take(tmp_path / "none" / "pid")
