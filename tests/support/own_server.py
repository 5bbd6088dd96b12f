# SPDX-License-Identifier: Apache-2.0
"""Programs a test starts for itself, on ports of its own: HAProxy, and MariaDB with options."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from time import monotonic, sleep

import pymysql

from tests.support.server import Server

__all__ = ["OwnMariadb", "connects", "free_port", "haproxy", "own_mariadb"]

FIRST_PORT, LAST_PORT = 24_000, 32_000
START_S = 60.0
SMALL = ("--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M")
"""A tenth of the megabytes to write before it serves."""

# Drawn by the system: test runs side by side begin at different ports.
PORTS = SystemRandom().sample(range(FIRST_PORT, LAST_PORT), LAST_PORT - FIRST_PORT)


def free_port() -> int:
    """Below the ports that the kernel gives to clients, so that it stays free; none twice."""
    while True:
        port = PORTS.pop()
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it answers. Raises AssertionError with its log."""
    end = monotonic() + START_S
    while not ready():
        assert process.poll() is None, log.read_text()
        assert monotonic() < end, log.read_text()
        sleep(0.05)


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def haproxy(folder: Path, servers: dict[str, str]) -> Iterator[dict[str, int]]:
    """One frontend per entry: name -> the text of its server line, "127.0.0.1:6033 send-proxy".

    Gives each one's port."""
    ports = {name: free_port() for name in servers}
    text = (
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
    )
    for name, server in servers.items():
        text += f"listen {name}\n  bind 127.0.0.1:{ports[name]}\n  server one {server}\n"
    (folder / "haproxy.cfg").write_text(text)
    log = folder / "haproxy.log"
    with log.open("wb") as output:
        command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: all(map(connects, ports.values())), process, log)
        yield ports
    finally:
        process.terminate()
        process.wait()


class OwnMariadb:
    """A MariaDB of the test's own, with the account hproxy/hproxy and no other rights asked.

        database = OwnMariadb(folder)           serves
        database.kill()                         SIGKILL: nothing is said to those connected
        database.start()                        the same data on the same port

    Begins on an empty `folder`; `kill` it at the end."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._log, pid = folder / "mariadb.log", folder / "pid"
        data, sock, port = folder / "data", folder / "sock", free_port()
        common = ["--no-defaults", f"--datadir={data}", *SMALL]
        self.server = Server("mariadb", "127.0.0.1", port, "hproxy", "hproxy", sock, Path(), Path())
        self._command = [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd", *common, f"--port={port}",
            f"--socket={sock}", "--bind-address=127.0.0.1", "--skip-name-resolve",
            f"--user={_who()}", f"--pid-file={pid}", *options,
        ]  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mariadb-install-db", *common, "--auth-root-authentication-method=normal",
             "--skip-test-db", "--skip-name-resolve", f"--user={_who()}"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.start()
        try:
            with (
                pymysql.connect(unix_socket=str(sock), user="root") as root,
                root.cursor() as cursor,
            ):
                cursor.execute("CREATE USER hproxy@'%' IDENTIFIED BY 'hproxy'")
                cursor.execute("GRANT ALL ON *.* TO hproxy@'%'")
        except BaseException:
            self.kill()
            raise

    def start(self) -> None:
        """Serve, again if need be."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)
        until(lambda: connects(self.server.port), self._process, self._log)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


@contextmanager
def own_mariadb(folder: Path, *options: str) -> Iterator[Server]:
    """One that nobody kills before the end."""
    database = OwnMariadb(folder, *options)
    try:
        yield database.server
    finally:
        database.kill()


def _who() -> str:
    return "root" if os.geteuid() == 0 else str(os.geteuid())
