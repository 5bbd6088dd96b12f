# SPDX-License-Identifier: Apache-2.0
"""What the shell gets back, and what the process in the background is left with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hproxy.errors import ConfigError
from hproxy.process.daemon import Launch, detach, take_output

LIMIT_S = 20


def background(body: str, log: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = (
        "import json, os, sys; from pathlib import Path; from hproxy.process.daemon import *\n"
        f"launch = detach({f'Path({str(log)!r})' if log else None})\n{body}\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_the_shell_goes_on_once_it_serves(tmp_path: Path) -> None:
    log, seen = tmp_path / "log", tmp_path / "seen"
    answer = background(
        "os.read(0, 1); print('out'); print('err', file=sys.stderr); os.write(1, b'raw\\n')\n"
        "mask = os.umask(0); leader = os.getsid(0) == os.getpid(); sys.stdout.flush()\n"
        "Path(sys.argv[1]).write_text(json.dumps([mask, leader, os.getcwd()]))\n"
        "launch.succeeded()",
        log,
        str(seen),
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert json.loads(seen.read_text()) == [0o007, False, str(Path.cwd())]
    assert sorted(log.read_text().split()) == ["err", "out", "raw"]


def test_a_start_that_fails_is_told_at_the_terminal() -> None:
    answer = background("launch.failed('port in use')", None)
    assert (answer.returncode, answer.stderr) == (1, "hproxy: port in use\n")


def test_a_start_that_dies_points_at_the_error_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    answer = background("raise SystemExit('at its end')", log)
    assert answer.returncode == 1
    assert answer.stderr == f"hproxy: ended while starting, without a word; see {log}\n"
    assert log.read_text() == "at its end\n"


def test_a_service_outlives_a_shell_that_does_not_wait(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    launch = f"""
import os, signal, subprocess, sys
shell = subprocess.Popen([sys.executable, "-c", '''
import os, sys; from pathlib import Path; from hproxy.process.daemon import *
launch = detach(None); print
fifo = open(sys.argv[1]); fifo.read()
launch.succeeded(); Path(sys.argv[2]).write_text("serves")
''', sys.argv[1], {str(seen)!r}])
fifo = open(sys.argv[1], "w")
shell.kill(); shell.wait(); fifo.close()
"""
    fifo = tmp_path / "fifo"
    subprocess.run(["mkfifo", fifo], check=True)
    subprocess.run([sys.executable, "-c", launch, fifo], check=True, timeout=LIMIT_S)
    subprocess.run(
        ["timeout", "10", "sh", "-c", f"until [ -s {seen} ]; do sleep 0.02; done"], check=True
    )


def test_an_error_log_that_cannot_be_opened_is_said_in_the_foreground(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.daemon\.error_log: cannot be opened"):
        detach(tmp_path / "none" / "log")


def test_rotation_makes_a_new_error_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    answer = background(
        "print('one', flush=True); log = Path(sys.argv[1]); log.rename(f'{log}.1')\n"
        "take_output(log); print('two', flush=True); launch.succeeded()",
        log,
        str(log),
    )
    assert answer.returncode == 0
    assert (log.read_text(), (tmp_path / "log.1").read_text()) == ("two\n", "one\n")


def test_a_rotated_log_that_cannot_be_made_leaves_all_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        take_output(tmp_path / "none" / "log")


def test_in_the_foreground_nobody_waits() -> None:
    launch = Launch()
    launch.succeeded()
    launch.failed("too late")
