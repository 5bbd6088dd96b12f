# SPDX-License-Identifier: Apache-2.0
"""HAProxy in TCP mode before both databases: what our cost per query is compared with."""

from __future__ import annotations

import shutil
import socket

from ci.servers.daemon import Daemon, find
from ci.servers.place import (
    HAPROXY_MARIADB_PORT,
    HAPROXY_MYSQL9_PORT,
    HERE,
    HOST,
    make_folder,
    shared_folder,
)

START_S = 10.0
ANSWER_S = 5.0


class HAProxy:
    """Configured by haproxy.cfg, which repeats the ports of place.py."""

    name = "haproxy"

    def __init__(self) -> None:
        self.folder = shared_folder() / self.name
        self.daemon = Daemon(self.folder)

    def exports(self) -> dict[str, str]:
        return {
            "HPROXY_TEST_HAPROXY_MARIADB": f"{HOST}:{HAPROXY_MARIADB_PORT}",
            "HPROXY_TEST_HAPROXY_MYSQL": f"{HOST}:{HAPROXY_MYSQL9_PORT}",
        }

    def answers(self) -> bool:
        """Whether the databases' greetings arrive through it."""
        return all(_greets(port) for port in (HAPROXY_MARIADB_PORT, HAPROXY_MYSQL9_PORT))

    def up(self) -> None:
        program = find("haproxy", "haproxy")
        if self.answers():
            return
        if self.daemon.pid is None:
            make_folder(self.folder)
            shutil.copy(HERE / "haproxy.cfg", self.folder / "cfg")
            self.daemon.start([program, "-db", "-f", str(self.folder / "cfg")])
        self.daemon.wait_until(self.answers, START_S)

    def down(self) -> bool:
        return self.daemon.stop()


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=ANSWER_S) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False
