# SPDX-License-Identifier: Apache-2.0
"""Sockets a manager opened: by name, address and process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hproxy.errors import ConfigError
from hproxy.process.activation import Given, given_sockets

FIRST = 700
"""A run of numbers that nothing else in the test process has."""


@pytest.fixture
def passed(tmp_path: Path) -> Iterator[list[str]]:
    """Three sockets at FIRST and after: TCP, Unix, TCP; their addresses."""
    path = str(tmp_path / "sock")
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))),
            stack.enter_context(socket.socket(socket.AF_UNIX)),
            stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6)),
        ]
        sockets[1].bind(path)
        sockets[1].listen()
        for index, sock in enumerate(sockets):
            os.dup2(sock.fileno(), FIRST + index)
            stack.callback(os.close, FIRST + index)
        yield [
            f"127.0.0.1:{sockets[0].getsockname()[1]}",
            path,
            f"[::1]:{sockets[2].getsockname()[1]}",
        ]


def given(count: int, names: str, pid: int = 0) -> Given:
    environ = {
        "LISTEN_PID": str(pid or os.getpid()),
        "LISTEN_FDS": str(count),
        "LISTEN_FDNAMES": names,
    }
    found = given_sockets(environ, first=FIRST)
    assert environ == {}
    for _, fd in found.kept:
        os.close(fd)
    return found


def test_names_say_what_they_are_for(passed: list[str]) -> None:
    found = given(3, "mysql:http:admin")
    assert found.flags() == {"listen": passed[0], "http": passed[1], "admin": passed[2]}
    assert found.take("admin") == [(passed[2], FIRST + 2)]
    assert found.take("admin") == []
    assert not os.get_inheritable(FIRST)


def test_without_a_name_they_are_for_clients(passed: list[str]) -> None:
    found = given(2, "")
    assert found.flags() == {"listen": ";".join(passed[:2])}
    with pytest.raises(BlockingIOError), socket.socket(fileno=os.dup(FIRST)) as sock:
        sock.accept()


def test_a_process_begun_anew_finds_them_again(passed: list[str]) -> None:
    """In a process of its own, for numbers 3 and up are taken in this one."""
    again = """
import os, sys
from hproxy.process.activation import FIRST_FD, given_sockets
first = FIRST_FD if sys.argv[1:] else int(os.environ.pop("FIRST"))
if not sys.argv[1:]:
    os.environ["LISTEN_PID"] = str(os.getpid())
found = given_sockets(os.environ, first=first)
print(found.flags(), flush=True)
if not sys.argv[1:]:
    found.pass_on(os.environ)
    os.execv(sys.executable, [*sys.orig_argv, "again"])
"""
    environ = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "mysql:http:admin", "FIRST": str(FIRST)}
    answer = subprocess.run(
        [sys.executable, "-c", again],
        env=os.environ | environ,
        pass_fds=range(FIRST, FIRST + 3),
        capture_output=True,
        text=True,
        check=True,
    )
    flags = str({"listen": passed[0], "http": passed[1], "admin": passed[2]})
    assert answer.stdout.splitlines() == [flags, flags]


@pytest.mark.parametrize("environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_nothing_for_this_process_is_nothing(environ: dict[str, str]) -> None:
    assert not given_sockets(environ, first=FIRST)


def test_what_does_not_listen_is_refused() -> None:
    with socket.socket() as sock:
        os.dup2(sock.fileno(), FIRST)
    try:
        with pytest.raises(ConfigError, match=r"no listening stream socket.*700 \(mysql\)"):
            given(1, "mysql")
    finally:
        os.close(FIRST)
