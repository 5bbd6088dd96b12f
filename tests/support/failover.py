# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of a primary and two replicas, and what an operator does when one fails.

    stage = Stage(trio, folder)        hproxy run: writers 10, readers 20, read/write split
    stage.admin("LOAD MYSQL SERVERS TO RUNTIME")
    durable(trio)                      a write is acknowledged once replica1 has it
    promote_survivor(trio)             replica1 writes, replica2 follows it

The primary need not live when a replica is promoted here; `Trio.promote` is the planned way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pymysql

from tests.support.proxy import Proxy
from tests.support.trio import Trio

__all__ = ["READER", "WRITER", "Stage", "durable", "promote_survivor"]

WRITER, READER = 10, 20
CAUGHT_UP_S = 20.0


class Stage:
    """The proxy, and its admin port."""

    def __init__(
        self,
        trio: Trio,
        folder: Path,
        variables: Mapping[str, object] | None = None,
        servers: list[dict[str, object]] | None = None,
        level: str = "info",
    ) -> None:
        self.trio = trio
        rows = servers or [
            {
                "hostgroup_id": READER if number else WRITER,
                "hostname": node.address.host,
                "port": node.address.port,
            }
            for number, node in enumerate(trio.nodes.values())
        ]
        account = {"username": "app", "password": "app", "default_hostgroup": WRITER}
        self.proxy = Proxy(
            folder,
            {
                "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
                "proxy": {
                    "mode": "mysql",
                    "backends": [],
                    "auth": "table",
                    "monitor_username": "monitor",
                    "monitor_password": "monitor",
                },
                "logging": {"level": level, "format": "json"},
                "admin": {"address": "127.0.0.1:0"},
                "mysql_servers": rows,
                "mysql_users": [account],
                "mysql_replication_hostgroups": [
                    {"writer_hostgroup": WRITER, "reader_hostgroup": READER}
                ],
            },
        )
        try:
            found = self.proxy.wait_for_log("admin port open")
            self._port = int(str(found["address"]).rpartition(":")[2])
            if variables:
                self.set(**variables)
        except BaseException:
            self.proxy.kill()
            raise

    @property
    def host(self) -> str:
        return self.proxy.host

    @property
    def port(self) -> int:
        return self.proxy.port

    def admin(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """Run statements as an operator; the rows of the last one."""
        rows: tuple[tuple[Any, ...], ...] = ()
        with pymysql.connect(
            host="127.0.0.1", port=self._port, user="admin", password="admin", autocommit=True
        ) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = tuple(cursor.fetchall())
        return rows

    def set(self, **variables: object) -> None:
        """mysql-* variables, live."""
        settings = [
            f"UPDATE global_variables SET variable_value='{value}' "
            f"WHERE variable_name='mysql-{name}'"
            for name, value in variables.items()
        ]
        self.admin(*settings, "LOAD MYSQL VARIABLES TO RUNTIME")

    def members(self, hostgroup: int) -> dict[int, str]:
        """Ports of its servers, with their status."""
        rows = self.admin(
            f"SELECT port, status FROM runtime_mysql_servers WHERE hostgroup_id = {hostgroup}"
        )
        return {int(port): str(status) for port, status in rows}

    def connect(self, **options: Any) -> Any:
        """A client of the application."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user="app",
            password="app",
            **{"autocommit": True, "read_timeout": 30, **options},
        )


@contextmanager
def durable(trio: Trio) -> Iterator[None]:
    """A write is acknowledged once replica1 has it: what a primary that is killed said OK to is
    there. The other replica does not count, so that there is one to promote."""
    primary, replica = trio.primary, trio.replica1
    replica.ask("SET GLOBAL rpl_semi_sync_slave_enabled = ON", "STOP SLAVE", "START SLAVE")
    primary.ask(
        "SET GLOBAL rpl_semi_sync_master_timeout = 60000",
        "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC",
        "SET GLOBAL rpl_semi_sync_master_enabled = ON",
    )
    _wait(primary, "Rpl_semi_sync_master_clients", "1")
    try:
        yield
    finally:
        replica.ask("SET GLOBAL rpl_semi_sync_slave_enabled = OFF")
        if primary.server.answers():
            primary.ask("SET GLOBAL rpl_semi_sync_master_enabled = OFF")


def promote_survivor(trio: Trio) -> float:
    """replica1 applies what it has and writes, replica2 follows it; when writing was allowed."""
    new = trio.replica1
    (status,) = new.ask("SHOW SLAVE STATUS")
    if position := status["Gtid_IO_Pos"]:
        (waited,) = new.ask(f"SELECT MASTER_GTID_WAIT('{position}', {CAUGHT_UP_S}) AS w")
        assert waited["w"] == 0
    new.ask("STOP SLAVE", "RESET SLAVE ALL")
    new.read_only(False)
    promoted = monotonic()
    trio.replica2.follow(new)
    return promoted


def _wait(node: Any, status: str, value: str) -> None:
    end = monotonic() + CAUGHT_UP_S
    while True:
        (row,) = node.ask(f"SHOW GLOBAL STATUS LIKE '{status}'")
        if row["Value"] == value:
            return
        assert monotonic() < end, f"{status} is {row['Value']}, not {value}"
