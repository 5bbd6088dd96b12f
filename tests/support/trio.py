# SPDX-License-Identifier: Apache-2.0
"""The primary and its replicas of `ci/services up replication`, for tests that break them.

    trio.primary.ask("SET GLOBAL read_only = ON")      statements on one of them
    trio.promote("replica1")                           the others follow it
    os.kill(trio.pid("primary"), signal.SIGKILL)       as hard as it gets

`restore` makes them what they were, a killed one included.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pymysql

from ci.servers.daemon import wait_until
from ci.servers.replication import Member, Primary, Replica1, Replica2
from hproxy.health import Address
from tests.support.server import REPOSITORY, Server

__all__ = ["Node", "Trio"]

FOLLOW_S = 30.0


class Node:
    """One of them."""

    def __init__(self, server: Server, service: Member) -> None:
        self.server = server
        self.service = service
        self.address = Address(server.host, server.port)

    @property
    def pid(self) -> int:
        pid = self.service.daemon.pid
        assert pid is not None, f"{self.service.name} was not started by ci/services here"
        return pid

    def ask(self, *statements: str) -> list[dict[str, Any]]:
        """Run statements with all privileges; the rows of the last one."""
        rows: list[dict[str, Any]] = []
        with pymysql.connect(
            host=self.server.host,
            port=self.server.port,
            user=self.server.user,
            password=self.server.password,
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
        ) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = list(cursor.fetchall())
        return rows

    def start(self) -> None:
        """Run again after it was killed."""
        start(self.service.name)

    def read_only(self, on: bool) -> None:
        self.ask(f"SET GLOBAL read_only = {'ON' if on else 'OFF'}")

    def follow(self, source: Node) -> None:
        """Replicate from `source`, where it left off."""
        self.ask(
            "STOP SLAVE",
            f"CHANGE MASTER TO master_host = '{source.address.host}', "
            f"master_port = {source.address.port}, master_user = 'repl', "
            "master_password = 'repl', master_use_gtid = slave_pos, master_connect_retry = 1, "
            "master_delay = 0",
            "START SLAVE",
        )

    def caught_up(self) -> bool:
        rows = self.ask("SHOW SLAVE STATUS")
        return bool(rows) and rows[0]["Seconds_Behind_Master"] == 0


class Trio:
    """All three."""

    def __init__(self, servers: dict[str, Server]) -> None:
        services: tuple[Member, ...] = (Primary(), Replica1(), Replica2())
        self.nodes = {s.name: Node(servers[s.name], s) for s in services}
        self.primary, self.replica1, self.replica2 = self.nodes.values()

    def promote(self, name: str) -> None:
        """A planned change of roles, as an operator does it: nothing is lost."""
        new = self.nodes[name]
        others = [node for node in self.nodes.values() if node is not new]
        for node in self.nodes.values():
            node.read_only(True)
        (position,) = self.primary.ask("SELECT @@global.gtid_current_pos AS gtid")
        (waited,) = new.ask(f"SELECT MASTER_GTID_WAIT('{position['gtid']}', {FOLLOW_S}) AS w")
        assert waited["w"] == 0
        new.ask("STOP SLAVE", "RESET SLAVE ALL")
        for node in others:
            if node is self.primary:
                node.ask("SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos")
            node.follow(new)
        new.read_only(False)
        assert wait_until(lambda: all(node.caught_up() for node in others), FOLLOW_S)

    def restore(self) -> None:
        """Primary and replicas as `ci/services up replication` makes them."""
        start(*self.nodes)


def start(*names: str) -> None:
    subprocess.run([REPOSITORY / "ci/services", "up", *names], check=True, capture_output=True)
