# SPDX-License-Identifier: Apache-2.0
"""Once, into a pipe, and live on a terminal of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.fake_api import TOKEN, FakeApi
from tests.unit.cli.conftest import Asking

LIMIT_S = 20.0


def test_once(asking: Asking) -> None:
    result = asking("top", "--once", "--interval", "0.1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("hproxy 9.9  ready")
    assert "db:3306" in result.stdout
    assert "\x1b" not in result.stdout


def test_once_as_json(asking: Asking) -> None:
    told = json.loads(asking("top", "--once", "--interval", "0.1", "--json").stdout)
    assert told["counters"] == {"Questions": 100}
    assert told["status"]["version"] == "9.9"


def test_unreachable_is_1(api: FakeApi, asking: Asking) -> None:
    result = asking("top", "--once", HPROXY_URL="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("hproxy: http://127.0.0.1:1: ")


# As from a shell on a terminal: what runs in the background of a script has ^C ignored.
START = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("hproxy.cli.main", run_name="__main__", alter_sys=True)
"""


class Terminal:
    """`hproxy top` on a terminal."""

    def __init__(self, url: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "top", "--interval", "0.1"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"HPROXY_URL": url, "HPROXY_TOKEN": TOKEN, "COLUMNS": "100"},
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until `text` has come since the last time."""
        end = time.monotonic() + LIMIT_S
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
        self.seen = self.seen.partition(text)[2]

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(api: FakeApi) -> Iterator[Terminal]:
    made = Terminal(api.url)
    yield made
    made.close()


def test_live(api: FakeApi, terminal: Terminal) -> None:
    terminal.until("\x1b[?1049h")
    for _ in range(3):
        terminal.until("hproxy 9.9")
    answers, api.answers = api.answers, {"GET /status": lambda: api.hang_up()}
    api.answers["GET /tables/stats_mysql_global"] = api.answers["GET /status"]
    terminal.until("looking again")
    api.answers = answers
    terminal.until("hproxy 9.9")
    terminal.press("q")
    terminal.until("\x1b[?1049l")
    assert terminal.process.wait(LIMIT_S) == 0


def test_interrupted_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.until("hproxy 9.9")
    terminal.process.send_signal(2)
    terminal.until("\x1b[?25h")
    assert terminal.process.wait(LIMIT_S) == 0
