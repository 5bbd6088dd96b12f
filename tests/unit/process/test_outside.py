# SPDX-License-Identifier: Apache-2.0
"""The order of a service's life as those who started it see it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hproxy.config.load import load_config
from hproxy.config.section import DaemonOptions
from hproxy.errors import ConfigError
from hproxy.process.daemon import Launch
from hproxy.process.notify import Notifier
from hproxy.process.outside import Outside
from hproxy.process.pid_file import PidFile

CONFIG = load_config(None, {"backend": ("127.0.0.1:3306",)}, {})


def test_a_service_at_a_terminal_owes_nobody_anything() -> None:
    outside = Outside()
    outside.begin(CONFIG)
    outside.opened()
    outside.serving()
    outside.reopen()
    outside.stopping("", 0)
    outside.stopped()


def test_the_pid_file_is_there_from_the_start_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    outside = Outside(DaemonOptions(pid_file=path))
    outside.begin(CONFIG)
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(ConfigError, match="lives"):
        Outside(DaemonOptions(pid_file=path)).begin(CONFIG)
    outside.stopped()
    assert not path.exists()


def test_who_hears_of_a_failure_may_try_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    told = []
    monkeypatch.setattr(Launch, "failed", lambda _, why: told.append((why, path.exists())))

    def begun() -> None:
        with Outside(DaemonOptions(pid_file=path)).started(CONFIG):
            assert path.exists()
            raise ConfigError("the port is in use")

    with pytest.raises(ConfigError):
        begun()
    ((why, there),) = told
    assert "the port is in use" in why
    assert not there


def test_an_upgrade_has_the_pid_file_only_once_it_serves(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    old = PidFile.take(path)
    path.write_text("4711\n")  # as if by another process
    outside = Outside(DaemonOptions(pid_file=path), upgrade=True)
    outside.begin(CONFIG)
    outside.waiting()
    outside.opened()
    assert path.read_text() == "4711\n"
    outside.serving()
    assert path.read_text() == f"{os.getpid()}\n"
    old.drop()
    assert [each.name for each in tmp_path.iterdir()] == ["pid"]
    outside.stopped()


def test_the_manager_hears_each_step(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        outside = Outside(notifier=Notifier(str(tmp_path / "notify")))
        outside.begin(CONFIG)
        outside.waiting()
        outside.opened()
        outside.serving("serves")
        outside.reloading()
        outside.stopping("drains", 1, again=True)
        outside.stopping("drains", 1)
        outside.stopped()
        heard = [manager.recv(4096).decode().partition("\n")[0] for _ in range(6)]
    first = "STATUS=waiting for the sockets of the service that runs"
    again = ["RELOADING=1", "STATUS=drains"]
    assert heard == [first, "READY=1", "RELOADING=1", *again, "STOPPING=1"]
