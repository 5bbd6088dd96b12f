# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of a real process: what it shows is so, what it changes acts on real sessions."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support.operated import Operated, operated, sections, server_row
from tests.support.process import eventually
from tests.support.server import Server

HERE = "127.0.0.1"
TOKEN = "0123456789abcdef0123"
ANSWER_S = 15.0
OPEN = {"address": f"{HERE}:0", "token": TOKEN}
CUT = (2006, 2013, 1317, 1927)


class Api:
    """Of a process."""

    def __init__(self, proxy: Operated) -> None:
        address = proxy.wait_for_log("http api open")["address"]
        self.number = int(address.rpartition(":")[2])

    def __call__(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> Any:
        """The status and what is answered."""
        connection = http.client.HTTPConnection(HERE, self.number, timeout=ANSWER_S)
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            made = answer.getheader("content-type") == "application/json"
            return answer.status, json.loads(text) if made else text
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, answer = self("GET", f"/api/v1/{path}")
        assert status == 200, answer
        return answer

    def done(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self(method, f"/api/v1/{path}", body)
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, mariadb: Server, mysql9: Server
) -> Iterator[Operated]:
    """Hostgroup 0 is MariaDB, 1 MySQL."""
    folder = tmp_path_factory.mktemp("http")
    rows = (server_row(mariadb), server_row(mysql9, 1))
    audit = {"auditlog_filename": str(folder / "audit.log")}
    with operated(folder, *rows, http=OPEN, mysql_variables=audit) as made:
        yield made


@pytest.fixture(scope="module")
def api(proxy: Operated) -> Api:
    return Api(proxy)


def session_of(api: Api, client: Any) -> dict[str, Any]:
    """Its row."""
    port = client.connection._sock.getsockname()[1]
    (found,) = api.get(f"sessions?cli_port={port}")["items"]
    return dict(found)


def test_what_is_shown_is_so(proxy: Operated, api: Api, mariadb: Server) -> None:
    assert api("GET", "/healthz/ready", token="") == (200, {"ready": True, "reasons": []})
    with proxy.client() as client:
        client("SELECT 17")
        client("BEGIN")
        client("SELECT 17")
        row = session_of(api, client)
        assert (row["user"], row["db"]) == ("hproxy", "test")
        (pin,) = api.get(f"sessions/{row['SessionID']}")["pins"]
        assert pin["reason"] == "TRANSACTION"
        assert api.get("status")["sessions"] == 1
        (digest,) = api.get("digests?digest_text=SELECT ?".replace(" ", "%20"))["items"]
        assert digest["count_star"] == 2
        backend = api.get(f"backends?port={mariadb.port}")["items"][0]
        assert (backend["status"], backend["used"]) == ("ONLINE", 1)
        status, text = api("GET", "/metrics", token="")
        assert status == 200
        assert "proxysql_client_connections_connected 1.0" in text
        answer = api.done("POST", "explain", {"sql": "SELECT 1", "user": "hproxy"})
        assert any("hostgroup 0" in detail for _, detail in answer["items"])


def test_a_session_is_killed(proxy: Operated, api: Api) -> None:
    with proxy.client() as client:
        number = session_of(api, client)["SessionID"]
        api.done("POST", f"sessions/{number}/kill")
        with pytest.raises(pymysql.err.MySQLError) as raised:
            client("SELECT 1")
        assert raised.value.args[0] in CUT
    assert api("POST", f"/api/v1/sessions/{number}/kill")[0] == 404


def test_an_account_and_a_rule_act_at_once(proxy: Operated, api: Api, mysql9: Server) -> None:
    api.done("PUT", "users/ann", {"password": "secret-of-ann", "default_hostgroup": 0})
    api.done("PUT", "users/hproxy", {"password": "hproxy"})
    rule = {"active": 1, "match_digest": "@@version", "destination_hostgroup": 1, "apply": 1}
    answer = api.done("PUT", "rules/10", rule)
    assert answer["changes"][0]["change"] == "insert"
    with proxy.client() as client:
        assert client.one("SELECT @@version") == version_of(mysql9)
        assert api.get("rules?rule_id=10")["items"][0]["hits"] == 1
        api.done("DELETE", "rules/10")
        assert client.one("SELECT @@version") != version_of(mysql9)
    before = answer["version"] - 1
    api.done("POST", "config/rollback", {"version": before})
    with proxy.admin() as admin:
        names = {name for (name,) in admin("SELECT username FROM runtime_mysql_users")}
        assert names == {"ann", "hproxy"}
        told = admin("SELECT username, statement FROM hproxy_config_history WHERE version > 9")
    assert ("http", 'HTTP PUT /api/v1/rules/10 {"active":1,"match_digest":"@@version",'
                    '"destination_hostgroup":1,"apply":1}') in told  # fmt: skip
    assert "secret-of-ann" not in str(told)


def version_of(server: Server) -> str:
    connection: Any = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@version")
        return str(cursor.fetchone()[0])


def test_a_backend_goes_and_comes_back(proxy: Operated, api: Api, mariadb: Server) -> None:
    place = f"backends/0/{mariadb.address}"
    with proxy.client() as client:
        client("BEGIN")
        client("SELECT 1")
        api.done("POST", f"{place}/status", {"status": "OFFLINE_SOFT"})
        client("SELECT 2")  # its transaction goes on
        assert api.get("hostgroups?hostgroup=0")["items"][0]["online"] == 0
        api.done("POST", f"{place}/status", {"status": "ONLINE"})
        client("COMMIT")
        assert client.one("SELECT 3") == 3


def test_what_is_refused_changes_nothing(proxy: Operated, api: Api) -> None:
    before = api.get("config/history")["total"]
    status, answer = api("PUT", "/api/v1/variables/mysql-interfaces", {"value": "1.2.3.4:1"})
    assert (status, answer["error"]["code"]) == (422, "config")
    status, _ = api("PUT", "/api/v1/users/bob", {"password": "x", "default_hostgroup": -1})
    assert status == 422
    assert api.get("config/history")["total"] == before
    assert api("GET", "/api/v1/users", token="x" * 20)[0] == 401


def test_pause_tells_the_load_balancer(proxy: Operated, api: Api) -> None:
    with proxy.client() as client:
        api.done("POST", "pause")
        try:
            assert api("GET", "/healthz/ready", token="") == (
                503, {"ready": False, "reasons": ["paused"]},
            )  # fmt: skip
            assert api("GET", "/healthz/live", token="")[0] == 200
            assert client.one("SELECT 5") == 5
            status, answer = api("POST", "/api/v1/pause")
            assert (status, answer["error"]["code"]) == (409, "admin.paused")
        finally:
            api.done("POST", "resume")
    with proxy.client() as client:
        assert client.one("SELECT 6") == 6
    assert api("GET", "/healthz/ready", token="")[0] == 200


def test_the_audit_log_hears_of_it(proxy: Operated, api: Api) -> None:
    (folder,) = {proxy.config.parent}
    text = "".join(path.read_text() for path in folder.glob("audit.log*"))
    assert '"HTTP POST /api/v1/pause"' in text
    assert "secret-of-ann" not in text


def test_two_workers_are_one_service(tmp_path: Path, mariadb: Server) -> None:
    made = sections(tmp_path, server_row(mariadb), http=OPEN)
    with Operated(tmp_path, made, ("--workers", "2"), single=False) as proxy:
        api = Api(proxy)
        eventually(lambda: api("GET", "/healthz/ready", token="")[0] == 200, "it serves")
        processes = [(row["role"], row["slot"]) for row in api.get("status")["processes"]]
        assert sorted(processes)[:2] == [("angel", 0), ("head", 0)]
        assert [slot for role, slot in processes if role == "worker"] == [0, 1]
        with ExitStack() as stack:
            clients = [stack.enter_context(proxy.client()) for _ in range(8)]
            for client in clients:
                client("SELECT 23")
            assert api.get("status")["sessions"] == 8
            numbers = {row["SessionID"] for row in api.get("sessions")["items"]}
            assert len(numbers) == 8
            (digest,) = api.get("digests?digest_text=SELECT%20?")["items"]
            assert digest["count_star"] == 8
            text = api("GET", "/metrics", token="")[1]
            assert "proxysql_client_connections_connected 8.0" in text
            for client in clients:
                api.done("POST", f"sessions/{session_of(api, client)['SessionID']}/kill")
                with pytest.raises(pymysql.err.MySQLError):
                    client("SELECT 1")
        rule = {"active": 1, "match_pattern": "23", "error_msg": "no such luck", "apply": 1}
        api.done("PUT", "rules/7", rule)
        for _ in range(4):
            with proxy.client() as client:
                assert "no such luck" in client.refused("SELECT 23")[1]


def test_readiness_turns_false_before_the_end(tmp_path: Path, mariadb: Server) -> None:
    """And a token was made, and is kept."""
    given = {"address": OPEN["address"]}
    with operated(tmp_path, server_row(mariadb), http=given) as proxy, proxy.client() as client:
        api = Api(proxy)
        token = (tmp_path / "data" / "http.token").read_text().strip()
        assert api("GET", "/api/v1/status", token=token)[0] == 200
        assert api("GET", "/api/v1/status", token=TOKEN)[0] == 401
        assert token not in proxy.story()
        client("BEGIN")
        client("SELECT 1")
        proxy.signal(signal.SIGTERM)
        proxy.wait_for_log("draining")
        status, answer = api("GET", "/healthz/ready", token="")
        assert (status, "draining" in answer["reasons"]) == (503, True)
        assert api("GET", "/healthz/live", token="")[0] == 200
        client("COMMIT")
        eventually(lambda: not proxy.running, "the end")


def test_a_drain_before_the_end(tmp_path: Path, mariadb: Server) -> None:
    with operated(tmp_path, server_row(mariadb), http=OPEN) as proxy, proxy.client() as client:
        api = Api(proxy)
        client("BEGIN")
        client("SELECT 1")
        with proxy.client() as idle:
            status, answer = api("POST", "/api/v1/drain", {"deadline_sec": 30})
            assert (status, answer["message"]) == (202, "draining")
            with pytest.raises(pymysql.err.MySQLError):
                idle("SELECT 1")
        ready = api("GET", "/healthz/ready", token="")
        assert ready == (503, {"ready": False, "reasons": ["draining"]})
        assert api.get("status")["sessions"] == 1
        client("COMMIT")
        eventually(lambda: api.get("status")["sessions"] == 0, "nobody is left")
        assert proxy.running


def test_an_address_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server((HERE, 0)) as taken:
        address = f"{HERE}:{taken.getsockname()[1]}"
        flags = [
            "--backend",
            f"{HERE}:1",
            "--listen",
            f"{HERE}:0",
            "--admin",
            "",
            "--http",
            address,
        ]
        done = subprocess.run(
            [sys.executable, "-m", "hproxy.cli.main", "run", "--single", *flags],
            env={**os.environ, "HPROXY_SERVER__DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert f"http.address: cannot listen: Address already in use, got {address}" in done.stderr
