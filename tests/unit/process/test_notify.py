# SPDX-License-Identifier: Apache-2.0
"""What arrives at a manager's socket, and that nothing ever fails for want of one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hproxy.process.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        named = str(tmp_path / "notify")
        sock.bind(named if request.param == "path" else f"\0hproxy-test-{os.getpid()}")
        sock.settimeout(5)
        yield sock


def environ_of(manager: socket.socket, **more: str) -> dict[str, str]:
    name = manager.getsockname()
    text = f"@{name[1:].decode()}" if isinstance(name, bytes) else name
    return {"NOTIFY_SOCKET": text, **more}


def said(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_the_states_of_a_service(manager: socket.socket) -> None:
    notifier = Notifier.from_environ(environ_of(manager))
    notifier.ready("serves\non 6033")
    assert said(manager) == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=serves on 6033"]
    notifier.reloading()
    first, since = said(manager)
    assert (first, since.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    notifier.stopping("draining", within_sec=30)
    assert said(manager) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=draining"]
    notifier.beat()
    assert said(manager) == ["WATCHDOG=1"]
    notifier.status("")
    notifier.status("12 clients")
    assert said(manager) == ["STATUS=12 clients"]
    notifier.close()
    notifier.beat()


def test_variables_are_for_one_process_and_half_the_time_is_kept(manager: socket.socket) -> None:
    environ = environ_of(manager, WATCHDOG_USEC="3000000", WATCHDOG_PID="77")
    other = Notifier.from_environ(dict(environ))
    assert other.beat_sec == 0
    other.close()
    notifier = Notifier.from_environ(environ, pid=77)
    assert notifier.beat_sec == 1.5
    assert environ == {}
    # Whoever takes its place has another number.
    assert notifier.environ == environ_of(manager, WATCHDOG_USEC="3000000")
    notifier.close()
    assert Notifier.from_environ({"WATCHDOG_USEC": "3000000"}).beat_sec == 0


def test_no_manager_one_that_is_gone_and_one_that_does_not_read(manager: socket.socket) -> None:
    Notifier().ready("serves")
    notifier = Notifier.from_environ(environ_of(manager))
    for _ in range(10_000):  # more than any queue of datagrams holds
        notifier.beat()
    manager.close()
    notifier.beat()
    notifier.close()
