# SPDX-License-Identifier: Apache-2.0
"""The service in the background and under systemd, as they see it: the shell's prompt, the pid
file, rotated logs, datagrams, sockets that were there before it.

The backend is a closed port: what is looked at is the service, and a packet, be it an error, is
proof that it serves.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import eventually
from tests.support.proxy import toml

COMMAND = [sys.executable, "-m", "hproxy.cli.main", "run"]
LIMIT_S = 60
"""For a machine on which everything else runs as well."""


class Daemon:
    """One that was started with -d, by its pid file."""

    def __init__(self, folder: Path, **daemon: object) -> None:
        self.pid_file, self.error_log = folder / "hproxy.pid", folder / "error.log"
        self.config = folder / "hproxy.toml"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        address, data = f"127.0.0.1:{self.port}", str(folder / "data")
        files = {"pid_file": str(self.pid_file), "error_log": str(self.error_log)}
        self.config.write_text(
            toml(
                {
                    "server": {"listen_addr": address, "data_dir": data},
                    "server.daemon": files | daemon,
                    "proxy": {"mode": "mysql", "backends": ["127.0.0.1:1"]},
                    "admin": {"address": ""},
                    "http": {"address": ""},
                }
            )
        )

    def start(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "-c", str(self.config), "-d", *flags],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        if self.pid_file.exists() and (pid := self.pid):
            self.signal(signal.SIGTERM)
            eventually(lambda: not Path(f"/proc/{pid}").exists(), "gone", LIMIT_S)


@contextmanager
def daemon(folder: Path) -> Iterator[Daemon]:
    found = Daemon(folder)
    try:
        yield found
    finally:
        found.end()


def answers(address: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(LIMIT_S)
        client.connect(address)
        return is_packet(client)


def is_packet(client: socket.socket) -> bool:
    return client.recv(4, socket.MSG_WAITALL)[2:] == b"\0\0"  # short, and the first


@pytest.mark.parametrize("shape", [("--single",), ("--workers", "1")], ids=["single", "tree"])
def test_in_the_background(tmp_path: Path, shape: tuple[str, ...]) -> None:
    with daemon(tmp_path) as service:
        answer = service.start(*shape)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
        assert answers(("127.0.0.1", service.port))
        again = service.start(*shape)
        assert again.returncode == 1
        assert f"belongs to a process that lives ({service.pid})" in again.stderr
        # The log is rotated; who was there before writes to the new file, too.
        moved = service.error_log.rename(f"{service.error_log}.1")
        service.signal(signal.SIGUSR1)
        eventually(service.error_log.exists, "a new error log", LIMIT_S)
        assert '"serving"' in moved.read_text()
        pid = service.pid
        service.signal(signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), "gone", LIMIT_S)
        assert not service.pid_file.exists()
        assert '"stopped"' in service.error_log.read_text()


@pytest.mark.parametrize("shape", [("--single",), ("--workers", "1")], ids=["single", "tree"])
def test_a_start_that_fails_is_told_at_the_terminal(tmp_path: Path, shape: tuple[str, ...]) -> None:
    service = Daemon(tmp_path)
    with socket.create_server(("127.0.0.1", service.port)):
        answer = service.start(*shape)
    assert answer.returncode == 1
    assert "cannot listen: Address already in use" in answer.stderr
    assert not service.pid_file.exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pid_file": "/nowhere/hproxy.pid"}, "server.daemon.pid_file: cannot be written"),
        ({"error_log": "/nowhere/error.log"}, "server.daemon.error_log: cannot be opened"),
        ({"user": "no-such-user"}, "server.daemon.user: there is no such user"),
    ],
)
def test_what_cannot_be_had_is_refused(
    tmp_path: Path, options: dict[str, str], complaint: str
) -> None:
    answer = Daemon(tmp_path, **options).start()
    assert answer.returncode == 1
    assert complaint in answer.stderr


SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())  # the number that the service will have
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def manager(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(LIMIT_S)
        yield sock


def heard(sock: socket.socket, what: str) -> list[str]:
    """The next datagram that begins so; others are passed over."""
    while True:
        lines = sock.recv(4096).decode().split("\n")
        if lines[0] == what:
            return lines


@pytest.mark.parametrize("shape", [("--single",), ("--workers", "1")], ids=["single", "tree"])
def test_systemd_hears_and_passes_sockets(tmp_path: Path, shape: tuple[str, ...]) -> None:
    service = Daemon(tmp_path)
    path = str(tmp_path / "clients.sock")
    with manager(tmp_path / "notify") as notify, socket.socket(socket.AF_UNIX) as clients:
        clients.bind(path)
        clients.listen(16)
        early = socket.socket(socket.AF_UNIX)
        early.settimeout(LIMIT_S)
        early.connect(path)  # before there is a service
        environ = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "400000",
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "mysql",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SYSTEMD, str(clients.fileno()),
             *COMMAND, "-c", str(service.config), *shape],
            env=environ,
            pass_fds=[clients.fileno()],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            ready = heard(notify, "READY=1")
            assert ready[1] == f"MAINPID={process.pid}"
            assert ready[2].startswith(f"STATUS=serves on {path}")
            assert is_packet(early)
            assert answers(path)
            heard(notify, "WATCHDOG=1")
            heard(notify, "WATCHDOG=1")
            process.terminate()
            assert heard(notify, "STOPPING=1")[1].startswith("EXTEND_TIMEOUT_USEC=")
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
            process.wait()
            early.close()
        assert os.path.exists(path)  # it is systemd's
        clients.settimeout(LIMIT_S)
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(path)  # waits for the next service
