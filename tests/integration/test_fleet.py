# SPDX-License-Identifier: Apache-2.0
"""Two workers are one proxy to operators: what the admin port says and does is true of all.

clients ── two workers ── one small server in the test
operator ── admin port of the head: LOAD, stats_*, KILL; HUP; kill -9 of the head
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pymysql
import pytest

from hproxy.admin.embedded import EmbeddedDatabase
from tests.support.embedded import SCRIPT, threaded
from tests.support.process import eventually
from tests.support.proxy import Proxy, toml
from tests.support.service import Service

SESSIONS = 12
"""Enough that both workers have some."""
UNCHECKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE
SPAN = 1 << 22
"""Ids of one worker."""


class Fleet(Service):
    """A running one, its file, and its operator's connection."""

    def __init__(self, proxy: Proxy, sections: dict[str, Any]) -> None:
        super().__init__(proxy)
        self.sections = sections
        self.admin_port = int(proxy.wait_for_log("admin port open")["address"].rpartition(":")[2])

    def client(self, user: str = "demo", **more: Any) -> Any:
        return pymysql.connect(
            host=self.proxy.host, user=user, password="demo",
            read_timeout=10, autocommit=True, **{"port": self.proxy.port} | more,
        )  # fmt: skip

    def status_of(self, hostgroup: int) -> str:
        rows = self.admin(
            f"SELECT status FROM runtime_mysql_servers WHERE hostgroup_id = {hostgroup}"
        )
        return str(rows[0][0])

    def workers_see(self, backend: str) -> set[str]:
        """The status of a server, as the workers say."""
        since = len(self.proxy.log)
        self.proxy.signal(signal.SIGUSR2)
        lines = [self.proxy.wait_for_log("state", since=since, worker=slot) for slot in (0, 1)]
        return {line["backends"][backend] for line in lines}

    def clients(self, stack: ExitStack) -> list[Any]:
        """Enough of them for both workers."""
        found = [stack.enter_context(self.client()) for _ in range(SESSIONS)]
        assert len({c.thread_id() // SPAN for c in found}) == 2, "each worker has some"
        return found

    def admin(self, *statements: str) -> list[tuple[Any, ...]]:
        """The rows of the last."""
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.admin_port,
                user="admin",
                password="admin",
                autocommit=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def new_head(self) -> None:
        """Kill the one there is, and wait for the next."""
        since, before = len(self.proxy.log), self.rows()["head"]["pid"]
        os.kill(before, signal.SIGKILL)
        line = self.proxy.wait_for_log("admin port open", since=since)
        self.admin_port = int(line["address"].rpartition(":")[2])
        self.answers()

    def answers(self) -> None:
        """Wait until both workers answer the head."""
        eventually(lambda: self.number("MySQL_Thread_Workers") == 2, "both are in the sums")

    def number(self, name: str) -> int:
        rows = self.admin(
            f"SELECT Variable_Value FROM stats_mysql_global WHERE Variable_Name='{name}'"
        )
        return int(rows[0][0])

    def write(self, **sections: Any) -> None:
        self.proxy.config.write_text(toml(self.sections | sections))

    def hup(self, event: str) -> Any:
        since = len(self.proxy.log)
        self.proxy.signal(signal.SIGHUP)
        return self.proxy.wait_for_log(event, since=since)


def database() -> EmbeddedDatabase:
    return EmbeddedDatabase("writer", dict.fromkeys(("demo", "late", "filed"), "demo"), SCRIPT)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with threaded(database) as server:
        sections = {
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
            "proxy": {"auth": "table", "auditlog_filename": str(folder / "audit")},
            "admin": {"address": "127.0.0.1:0", "credentials": "admin:admin"},
            "mysql_servers": [{"hostname": "127.0.0.1", "port": server.port}],
            "mysql_users": [{"username": "demo", "password": "demo"}],
        }
        with Proxy(folder, sections, ("--workers", "2"), single=False) as proxy:
            service = Fleet(proxy, sections)
            service.answers()
            yield service


def answer(client: Any, sql: str) -> Any:
    with client.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_what_is_loaded_acts_in_both_workers(service: Fleet) -> None:
    with ExitStack() as stack:
        clients = service.clients(stack)
        service.admin(
            "INSERT INTO mysql_query_rules (rule_id, active, match_pattern, OK_msg, apply) "
            "VALUES (1, 1, '^SELECT 42', 'ruled', 1)",
            "LOAD MYSQL QUERY RULES TO RUNTIME",
        )
        for client in clients:
            assert not answer(client, "SELECT 42")
        assert service.admin("SELECT hits FROM stats_mysql_query_rules") == [(str(SESSIONS),)]
        service.admin("DELETE FROM mysql_query_rules", "LOAD MYSQL QUERY RULES TO RUNTIME")
        for client in clients:
            assert answer(client, "SELECT 42") == ((42,),)
    service.admin(
        "INSERT INTO mysql_users (username, password) VALUES ('late', 'demo')",
        "LOAD MYSQL USERS TO RUNTIME",
        "SET mysql-max_connections = 77",
        "LOAD MYSQL VARIABLES TO RUNTIME",
    )
    with ExitStack() as stack:
        late = [stack.enter_context(service.client("late")) for _ in range(SESSIONS)]
        assert len({client.thread_id() // SPAN for client in late}) == 2
    port = service.sections["mysql_servers"][0]["port"]
    service.admin(
        f"INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (5, '127.0.0.1', {port})",
        "LOAD MYSQL SERVERS TO RUNTIME",
    )
    rows = service.admin("SELECT hostgroup, status FROM stats_mysql_connection_pool ORDER BY 1")
    assert rows == [("0", "ONLINE"), ("5", "ONLINE")]
    service.admin(
        "DELETE FROM mysql_servers WHERE hostgroup_id = 5", "LOAD MYSQL SERVERS TO RUNTIME"
    )


def test_numbers_are_those_of_all(service: Fleet) -> None:
    before = service.number("Questions")
    with ExitStack() as stack:
        clients = service.clients(stack)
        for client in clients:
            answer(client, "SELECT 4711")
        assert service.number("Client_Connections_connected") == SESSIONS
        assert service.number("Questions") - before >= SESSIONS
        rows = service.admin("SELECT SessionID, ThreadID FROM stats_mysql_processlist")
        assert {int(number) for number, _ in rows} == {client.thread_id() for client in clients}
        assert {thread for _, thread in rows} == {"0", "1"}
        (digest,) = service.admin(
            "SELECT count_star FROM stats_mysql_query_digest "
            "WHERE digest_text = 'SELECT ?' AND hostgroup = 0"
        )
        assert int(digest[0]) >= SESSIONS
        text = service.admin("SHOW PROMETHEUS METRICS")[0][0]
        assert f"proxysql_client_connections_connected {SESSIONS}.0" in text


def test_a_session_of_either_worker_can_be_killed(service: Fleet) -> None:
    with ExitStack() as stack:
        clients = service.clients(stack)
        by_worker = {client.thread_id() // SPAN: client for client in clients}
        one, other = by_worker.values()
        service.admin(f"KILL CONNECTION {one.thread_id()}")
        with pytest.raises(pymysql.err.OperationalError):
            answer(one, "SELECT 1")
        with pytest.raises(pymysql.err.MySQLError, match="Unknown thread id: 5"):
            service.admin("KILL CONNECTION 5")
        # A client of this worker ends one of the other.
        killer = next(c for c in clients if c is not one and c.thread_id() // SPAN
                      == one.thread_id() // SPAN)  # fmt: skip
        answer(killer, f"KILL {other.thread_id()}")
        with pytest.raises(pymysql.err.OperationalError):
            answer(other, "SELECT 1")
        assert answer(killer, "SELECT 1") == ((1,),)


def test_the_head_is_killed_and_the_next_one_knows(service: Fleet) -> None:
    service.admin(
        "UPDATE mysql_users SET comment = 'loaded' WHERE username = 'demo'",
        "LOAD MYSQL USERS TO RUNTIME",
    )
    with ExitStack() as stack:
        clients = service.clients(stack)
        service.new_head()
        for client in clients:
            assert answer(client, "SELECT 1") == ((1,),)
        rows = service.admin("SELECT DISTINCT comment FROM runtime_mysql_users "
                             "WHERE username = 'demo'")  # fmt: skip
        assert rows == [("loaded",)]
        assert service.number("Client_Connections_connected") == SESSIONS
        service.admin("UPDATE mysql_users SET comment = 'again'", "LOAD MYSQL USERS TO RUNTIME")


def test_what_monitors_see_all_workers_and_the_next_head_know(service: Fleet) -> None:
    service.admin(
        "INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (7, '127.0.0.1', 1)",
        "LOAD MYSQL SERVERS TO RUNTIME",
        "SET mysql-monitor_ping_interval = 100",
        "SET mysql-monitor_ping_max_failures = 1",
        "LOAD MYSQL VARIABLES TO RUNTIME",
    )
    eventually(lambda: service.status_of(7) == "SHUNNED", "the head knows")
    eventually(lambda: service.workers_see("7 127.0.0.1:1") == {"SHUNNED"}, "workers know")
    # From now on a head does not find out by itself.
    service.admin(
        "SET mysql-monitor_ping_max_failures = 50",
        "SET mysql-monitor_ping_interval = 60000",
        "LOAD MYSQL VARIABLES TO RUNTIME",
    )
    service.new_head()
    assert service.status_of(7) == "SHUNNED"
    assert service.status_of(0) == "ONLINE"
    service.admin(
        "DELETE FROM mysql_servers WHERE hostgroup_id = 7", "LOAD MYSQL SERVERS TO RUNTIME"
    )
    steps = [step for step, *_ in service.admin("EXPLAIN ROUTE SELECT 1 AS demo")]
    assert "decision" in steps, steps


def test_certificates_are_read_anew_by_all(service: Fleet, tmp_path: Path) -> None:
    def shown() -> set[str]:
        found = set()
        for _ in range(SESSIONS):
            with service.client(ssl=UNCHECKED) as client:
                der = client._sock.getpeercert(binary_form=True)
                found.add(sha256(der).hexdigest())
        return found

    before = shown()
    assert len(before) == 1
    data = service.proxy.config.parent / "data"
    for name in os.listdir(data):
        if name.endswith(".pem"):
            os.unlink(data / name)
    service.hup("reloaded")
    after = shown()
    assert len(after) == 1
    assert after != before


def test_what_the_file_says_now_acts_after_hup(service: Fleet) -> None:
    users = [{"username": "demo", "password": "demo"}, {"username": "filed", "password": "demo"}]
    service.write(mysql_users=users)
    told = service.hup("reloaded")
    assert "mysql_users" in told["text"], told
    with ExitStack() as stack:
        filed = [stack.enter_context(service.client("filed")) for _ in range(SESSIONS)]
        assert len({client.thread_id() // SPAN for client in filed}) == 2
    rows = service.admin("SELECT username FROM mysql_users WHERE username = 'filed'")
    assert rows == [("filed",)]
    # What was LOADed and what the file never changed stay.
    assert service.admin("SELECT @@mysql-max_connections") == [("77",)]


def test_a_file_that_is_wrong_changes_nothing(service: Fleet) -> None:
    service.write(mysql_servers=[{"hostname": "127.0.0.1", "port": 99999}])
    told = service.hup("not reloaded: nothing has changed")
    assert "port" in told["reason"]
    service.write(tls={"cert": "/nowhere.pem", "key": "/nowhere.pem"})
    told = service.hup("not reloaded: nothing has changed")
    assert "/nowhere.pem" in told["reason"]
    with service.client() as client:
        assert answer(client, "SELECT 1") == ((1,),)
    service.write()


def test_all_workers_write_one_journal_and_go_on_together(service: Fleet) -> None:
    folder = service.proxy.config.parent

    def newest() -> Path:
        return max(folder.glob("audit.*"))

    def numbers() -> set[int]:
        lines = newest().read_text().splitlines()
        found = [line for line in lines if '"MySQL_Client_Connect_OK"' in line]
        return {int(line.partition('"thread_id":')[2].partition(",")[0]) // SPAN for line in found}

    def both(_: Callable[[], Path] = newest) -> bool:
        return len(numbers()) == 2

    with ExitStack() as stack:
        service.clients(stack)
        eventually(both, "both workers are on record")
    before = newest()
    service.admin("PROXYSQL FLUSH LOGS")
    eventually(lambda: newest() != before, "the next file")
    with ExitStack() as stack:
        service.clients(stack)
        eventually(both, "both go on in the next file")


def test_pause_and_resume_are_the_service_s(service: Fleet) -> None:
    with service.client() as client:
        service.admin("PROXYSQL PAUSE")
        with pytest.raises(pymysql.err.OperationalError):
            service.client()
        assert answer(client, "SELECT 1") == ((1,),)
        with pytest.raises(pymysql.err.MySQLError, match="already paused"):
            service.admin("PROXYSQL PAUSE")
        service.admin("PROXYSQL RESUME")
    with ExitStack() as stack:
        service.clients(stack)


def test_addresses_are_opened_for_all_or_refused(service: Fleet) -> None:
    (before,) = service.admin("SELECT @@mysql-interfaces")[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = taken.getsockname()[1]
        service.admin(f"SET mysql-interfaces = '{before};127.0.0.1:{used}'")
        with pytest.raises(pymysql.err.MySQLError, match="cannot listen"):
            service.admin("LOAD MYSQL VARIABLES TO RUNTIME")
    with ExitStack() as stack:
        service.clients(stack)
    # Nobody holds it now.
    service.admin("LOAD MYSQL VARIABLES TO RUNTIME")
    with ExitStack() as stack:
        found = [stack.enter_context(service.client(port=used)) for _ in range(SESSIONS)]
        assert len({client.thread_id() // SPAN for client in found}) == 2
        service.admin(f"SET mysql-interfaces = '{before}'", "LOAD MYSQL VARIABLES TO RUNTIME")
        assert answer(found[0], "SELECT 1") == ((1,),), "who came in through it stays"
        eventually(lambda: refused(used), "closed")


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_worker_that_hangs_keeps_no_load_from_acting(service: Fleet) -> None:
    """The angel replaces it, and the next one runs on what was loaded."""
    asked = service.number("Questions")
    pid = service.rows()["worker 1"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    service.admin(
        "UPDATE mysql_users SET comment = 'meanwhile' WHERE username = 'demo'",
        "INSERT INTO mysql_query_rules (rule_id, active, match_pattern, OK_msg, apply) "
        "VALUES (1, 1, '^SELECT 43', 'ruled', 1)",
        "LOAD MYSQL QUERY RULES TO RUNTIME",
    )
    service.answers()
    assert service.number("Questions") >= asked, "what the lost one has counted stays"
    with ExitStack() as stack:
        for client in service.clients(stack):
            assert not answer(client, "SELECT 43")
