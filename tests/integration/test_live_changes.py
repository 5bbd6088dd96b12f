# SPDX-License-Identifier: Apache-2.0
"""Everything changes while clients work, and none of them notices.

sysbench oltp_read_write, text ──────┐
sysbench oltp_read_write, prepared ──┼──> hproxy run ──> one server under two names, twice
LOADS random LOADs, seeded ──────────┘
"""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.integration.conftest import direct
from tests.support.console import Admin
from tests.support.operated import Operated, operated, server_row
from tests.support.own_server import free_port
from tests.support.process import descriptors, eventually, resident_kib
from tests.support.server import Server

LOADS = 200
SETTLED = 60  # of them, before it is looked at how much memory is taken
SEED = 4
THREADS = 4
TABLES, ROWS = 2, 1000
ROUND_S = 3
MORE_KIB = 40 * 1024
MORE_FILES = 8  # logs, samples, timers: nothing that comes with each LOAD, session or connection

NAMES = ("127.0.0.1", "localhost")
VARIABLES: dict[str, tuple[str, ...]] = {
    "mysql-default_query_timeout": ("86400000", "60000"),
    "mysql-connect_timeout_server": ("3000", "5000"),
    "mysql-connect_timeout_server_max": ("10000", "20000"),
    "mysql-max_connections": ("500", "10000"),
    "mysql-wait_timeout": ("28800000", "600000"),
    "mysql-query_digests": ("true", "false"),
    "mysql-query_digests_normalize_digest_text": ("true", "false"),
    "mysql-commands_stats": ("true", "false"),
    "mysql-eventslog_filename": ("", "events"),
    "mysql-eventslog_default_log": ("0", "1"),
    "mysql-eventslog_format": ("1", "2"),
    "mysql-auditlog_filename": ("", "audit"),
    "mysql-long_query_time": ("1", "1000"),
    "mysql-free_connections_pct": ("0", "2", "10"),
    "mysql-connection_max_age_ms": ("0", "1000"),
    "mysql-max_stmts_per_connection": ("5", "200"),
    "mysql-multiplexing": ("true", "false"),
    "mysql-monitor_ping_interval": ("1000", "10000"),
    "mysql-monitor_enabled": ("true", "false"),
    "mysql-query_processor_regex": ("1", "2"),
    "mysql-use_tcp_keepalive": ("true", "false"),
}


class Operator:
    """Draws a change, writes it to memory and loads it; each draw leaves servers to work with."""

    def __init__(self, admin: Admin, proxy: Operated, server: Server, schemas: list[str]) -> None:
        self.admin = admin
        self.rng = Random(SEED)
        self.server = server
        self.schemas = schemas
        self.main = f"{proxy.host}:{proxy.port}"
        self.spare = [free_port() for _ in range(3)]
        self.kinds: list[Callable[[], str]] = [
            self.servers, self.servers, self.users, self.rules, self.routing,
            self.replication, self.attributes, self.variables, self.interfaces,
        ]  # fmt: skip

    def change(self) -> str:
        """One LOAD; its name."""
        kind = self.rng.choice(self.kinds)
        module = kind()
        self.admin(f"LOAD {module} TO RUNTIME")
        if kind == self.interfaces:
            self.see_ports()
        if self.rng.random() < 0.1:
            self.admin(f"SAVE {module} TO DISK")
        return kind.__name__

    def servers(self) -> str:
        rng = self.rng
        rows = []
        for hostgroup in (0, 1):
            names = rng.sample(NAMES, rng.choice((1, 2, 2)))
            for number, name in enumerate(names):
                # The first of them works, whatever becomes of the other.
                status = "ONLINE" if number == 0 else rng.choice(("ONLINE", "OFFLINE_SOFT"))
                weight, most = rng.choice((1, 5)), rng.choice((50, 200))
                compression, tls = rng.choice((0, 0, 1)), rng.choice((0, 0, 1))
                rows.append(
                    f"({hostgroup}, '{name}', {self.server.port}, '{status}', {weight}, {most},"
                    f" {compression}, {tls})"
                )
        self.admin("DELETE FROM mysql_servers")
        self.admin(
            "INSERT INTO mysql_servers (hostgroup_id, hostname, port, status, weight,"
            f" max_connections, compression, use_ssl) VALUES {', '.join(rows)}"
        )
        return "MYSQL SERVERS"

    def users(self) -> str:
        rng = self.rng
        self.admin(
            "UPDATE mysql_users SET default_hostgroup = %s, max_connections = %s,"
            " transaction_persistent = %s WHERE username = 'hproxy'",
            rng.choice((0, 1)), rng.choice((100, 1000)), 1,
        )  # fmt: skip
        self.admin("DELETE FROM mysql_users WHERE username <> 'hproxy'")
        for number in range(rng.randrange(4)):
            self.admin("INSERT INTO mysql_users (username, password) VALUES (%s, 'x')",
                       f"other{number}")  # fmt: skip
        return "MYSQL USERS"

    def rules(self) -> str:
        rng = self.rng
        drawn: tuple[dict[str, Any], ...] = (
            {"match_digest": "^SELECT c FROM", "destination_hostgroup": rng.choice((0, 1))},
            {"match_pattern": "^SELECT DISTINCT c ", "replace_pattern": "SELECT DISTINCT  c "},
            {"match_digest": "^UPDATE", "log": rng.choice((0, 1)), "timeout": 60000},
            {"match_digest": "^DELETE", "delay": 1},
            {"match_digest": "^SELECT SUM", "retries": 2, "multiplex": rng.choice((0, 1, 2))},
            {"match_digest": "BEGIN|START", "sticky_conn": 1},
            {"match_digest": "^INSERT", "flagOUT": 7},
            {"flagIN": 7, "destination_hostgroup": 0, "apply": 1},
        )
        self.admin("DELETE FROM mysql_query_rules")
        for number, rule in enumerate(drawn, 1):
            if rng.random() < 0.5:
                columns = {"rule_id": number, "active": 1} | rule
                marks = ", ".join(["%s"] * len(columns))
                self.admin(
                    f"INSERT INTO mysql_query_rules ({', '.join(columns)}) VALUES ({marks})",
                    *columns.values(),
                )
        return "MYSQL QUERY RULES"

    def routing(self) -> str:
        self.admin("DELETE FROM mysql_query_rules_fast_routing")
        for schema in self.schemas:
            if self.rng.random() < 0.5:
                hostgroup = self.rng.choice((0, 1))
                self.admin(
                    "INSERT INTO mysql_query_rules_fast_routing"
                    " (username, schemaname, flagIN, destination_hostgroup, comment)"
                    " VALUES ('hproxy', %s, 0, %s, '')",
                    schema,
                    hostgroup,
                )
        return "MYSQL QUERY RULES"

    def replication(self) -> str:
        self.admin("DELETE FROM mysql_replication_hostgroups")
        if self.rng.random() < 0.5:
            self.admin("INSERT INTO mysql_replication_hostgroups VALUES (0, 1, 'read_only', '')")
        return "MYSQL SERVERS"

    def attributes(self) -> str:
        rng = self.rng
        self.admin("DELETE FROM mysql_hostgroup_attributes")
        for hostgroup in (0, 1):
            if rng.random() < 0.5:
                self.admin(
                    "INSERT INTO mysql_hostgroup_attributes (hostgroup_id, multiplex,"
                    " connection_warming, free_connections_pct) VALUES (%s, %s, %s, %s)",
                    hostgroup, rng.choice((0, 1)), rng.choice((0, 1)), rng.choice((0, 2, 10)),
                )  # fmt: skip
        return "MYSQL SERVERS"

    def variables(self) -> str:
        for name in self.rng.sample(sorted(VARIABLES), 4):
            self.set(name, self.rng.choice(VARIABLES[name]))
        return "MYSQL VARIABLES"

    def interfaces(self) -> str:
        self.open = [port for port in self.spare if self.rng.random() < 0.5]
        places = [self.main, *(f"127.0.0.1:{port}" for port in self.open)]
        self.rng.shuffle(places)
        self.set("mysql-interfaces", ";".join(places))
        return "MYSQL VARIABLES"

    def set(self, name: str, value: str) -> None:
        self.admin("UPDATE global_variables SET variable_value = %s WHERE variable_name = %s",
                   value, name)  # fmt: skip

    def see_ports(self) -> None:
        """New ports answer at once, closed ones do not."""
        for port in self.spare:
            assert answers(port) == (port in self.open), port

    def rest(self) -> None:
        """The configuration everything began with."""
        for table in ("mysql_replication_hostgroups", "mysql_hostgroup_attributes",
                      "mysql_query_rules", "mysql_query_rules_fast_routing"):  # fmt: skip
            self.admin(f"DELETE FROM {table}")
        self.admin("DELETE FROM mysql_users WHERE username <> 'hproxy'")
        for name, values in VARIABLES.items():
            self.set(name, values[0])
        self.set("mysql-interfaces", self.main)
        for module in ("SERVERS", "USERS", "QUERY RULES", "VARIABLES"):
            self.admin(f"LOAD MYSQL {module} TO RUNTIME")


def answers(port: int) -> bool:
    """Whether a MySQL server, or one who looks like it, greets there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return len(connection.recv(5)) == 5
    except ConnectionRefusedError:
        return False


class Sysbench(threading.Thread):
    """Round after round until `enough`; each logs in anew and may not see one error."""

    def __init__(self, proxy: Operated, schema: str, mode: str) -> None:
        super().__init__(name=f"sysbench {mode}")
        self.enough = threading.Event()
        self.failed = ""
        self.transactions = 0
        self.command = [
            "sysbench", "oltp_read_write", f"--mysql-host={proxy.host}",
            f"--mysql-port={proxy.port}", "--mysql-user=hproxy", "--mysql-password=hproxy",
            f"--mysql-db={schema}", f"--tables={TABLES}", f"--table-size={ROWS}",
            f"--threads={THREADS}", f"--time={ROUND_S}", "--mysql-ignore-errors=1213",
            f"--db-ps-mode={mode}",
        ]  # fmt: skip

    def once(self, what: str) -> str:
        done = subprocess.run([*self.command, what], capture_output=True, text=True, timeout=120)
        said = done.stdout + done.stderr
        if done.returncode or "FATAL" in said or not re.search(r"reconnects:\s+0|Creating", said):
            self.failed = said
        return said

    def run(self) -> None:
        while not self.enough.is_set() and not self.failed:
            found = re.search(r"transactions:\s+(\d+)", self.once("run"))
            self.transactions += int(found[1]) if found else 0


@pytest.fixture
def schemas(server: Server) -> Iterator[list[str]]:
    names = [f"it_{secrets.token_hex(6)}" for _ in range(2)]
    direct(server, *(f"CREATE DATABASE {name}" for name in names))
    yield names
    direct(server, *(f"DROP DATABASE {name}" for name in names))


def running(admin: Admin, name: str) -> dict[str, Any]:
    return dict(admin(f"SELECT * FROM {name}"))


def test_everything_changes_under_load(tmp_path: Path, server: Server, schemas: list[str]) -> None:
    rows = [server_row(server, hostgroup) for hostgroup in (0, 1)]
    with operated(tmp_path, *rows) as proxy, proxy.admin() as admin:
        before = descriptors(proxy.pid)
        load = [Sysbench(proxy, *pair) for pair in zip(schemas, ("disable", "auto"), strict=True)]
        for one in load:
            one.once("prepare")
            assert not one.failed, one.failed
            one.start()
        operator = Operator(admin, proxy, server, schemas)
        kinds: list[str] = []
        taken = 0
        try:
            for number in range(LOADS):
                kinds.append(operator.change())
                failed = [one.failed for one in load if one.failed]
                assert not failed, (number, kinds[-5:], failed, proxy.story(-20))
                if number == SETTLED:
                    taken = resident_kib(proxy.pid)
        finally:
            for one in load:
                one.enough.set()
            for one in load:
                one.join()
        failed = [one.failed for one in load if one.failed]
        assert not failed, failed
        assert {kind.__name__ for kind in operator.kinds} <= set(kinds), "each was drawn"
        assert all(one.transactions > 100 for one in load), [one.transactions for one in load]
        operator.rest()
        nothing_is_left(proxy, admin, before, taken)
        for table in ("mysql_servers", "mysql_users", "mysql_query_rules", "global_variables"):
            same(admin, table)
        assert not any(map(answers, operator.spare))


def nothing_is_left(proxy: Operated, admin: Admin, files: int, taken: int) -> None:
    """No session, no connection in use, no file; memory as after the first of it."""

    def gone() -> bool:
        sessions = admin.one("SELECT count(*) FROM stats_mysql_processlist")
        used = admin.one("SELECT sum(ConnUsed) FROM stats_mysql_connection_pool")
        return (sessions, used) == ("0", "0")

    eventually(gone, "sessions and connections in use are gone")
    free = int(admin.one("SELECT sum(ConnFree) FROM stats_mysql_connection_pool"))
    assert descriptors(proxy.pid) <= files + free + MORE_FILES
    assert resident_kib(proxy.pid) <= taken + MORE_KIB


def same(admin: Admin, table: str) -> None:
    """What runs is what memory says."""
    columns = "username, default_hostgroup, max_connections" if table == "mysql_users" else "*"
    where = " WHERE frontend = 1" if table == "mysql_users" else ""
    of = [
        sorted(map(str, admin(f"SELECT {columns} FROM {name}{where}")))
        for name in (table, f"runtime_{table}")
    ]
    assert of[0] == of[1], table
