# SPDX-License-Identifier: Apache-2.0
"""restapi_routes on a running proxy: answers of programs, live changes, and who is sent away."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.console import Admin
from tests.support.operated import Operated, operated, server_row
from tests.support.own_server import free_port
from tests.support.process import eventually
from tests.support.server import Server


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, mariadb: Server) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("rest"), server_row(mariadb)) as made:
        yield made


@pytest.fixture
def port(proxy: Operated) -> Iterator[int]:
    """The REST port, open."""
    number = free_port()
    with proxy.admin() as admin:
        admin("DELETE FROM restapi_routes")
        admin(f"SET admin-restapi_port = {number}")
        admin("SET admin-restapi_enabled = 'true'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        yield number
        admin("SET admin-restapi_enabled = 'false'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")


def program(folder: Path, text: str) -> str:
    path = folder / f"program{len(list(folder.iterdir()))}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def route(admin: Admin, uri: str, script: str, method: str = "GET", timeout_ms: int = 9000) -> None:
    admin(
        "INSERT INTO restapi_routes (active, timeout_ms, method, uri, script) "
        f"VALUES (1, {timeout_ms}, '{method}', '{uri}', '{script}')"
    )
    admin("LOAD RESTAPI TO RUNTIME")


def ask(port: int, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if kind == "application/json" else text
    finally:
        connection.close()


def closed(port: int) -> bool:
    with suppress(OSError):
        ask(port, "/metrics")
        return False
    return True


def test_programs_answer(proxy: Operated, port: int, tmp_path: Path) -> None:
    echo = program(tmp_path, 'printf \'{"got": %s}\' "$1"')
    with proxy.admin() as admin:
        route(admin, "echo", echo)
        route(admin, "echo", echo, "POST")
        assert ask(port, "/sync/echo?a=1&b=%22x") == (200, {"got": {"a": "1", "b": '"x'}})
        assert ask(port, "/sync/echo", '{"c": [1, 2]}') == (200, {"got": {"c": [1, 2]}})
        assert len(admin("SELECT * FROM runtime_restapi_routes")) == 2
        admin("DELETE FROM restapi_routes WHERE method = 'GET'")
        admin("LOAD RESTAPI TO RUNTIME")
        status, told = ask(port, "/sync/echo?a=1")
        assert status == 400
        assert "was not found" in told["error"]
        assert ask(port, "/sync/echo", "[]")[0] == 200


def test_programs_that_fail(proxy: Operated, port: int, tmp_path: Path) -> None:
    with proxy.admin() as admin:
        for uri, text in (
            ("fails", "echo why >&2; exit 3"),
            ("empty", "true"),
            ("text", "echo no json"),
        ):
            route(admin, uri, program(tmp_path, text))
        route(admin, "slow", program(tmp_path, "sleep 1000"), timeout_ms=300)
        route(admin, "missing", str(tmp_path / "missing"))
    since = len(proxy.log)
    wanted = {
        "fails": "Script failed to be executed.",
        "empty": "Script response is empty, only valid JSONs are accepted.",
        "slow": "Script execution timed out.",
        "missing": os.strerror(2),
    }
    for uri, error in wanted.items():
        status, told = ask(port, f"/sync/{uri}?a=1")
        assert (status, told["type"], told["error"]) == (424, "out", error)
    status, told = ask(port, "/sync/text?a=1")
    assert (status, told["script_stdout"]) == (424, "no json\n")
    assert proxy.wait_for_log("rest request", since=since, uri="fails")["stderr"] == "why"


def test_bad_requests(proxy: Operated, port: int, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with proxy.admin() as admin:
        route(admin, "touch", program(tmp_path, f"touch {ran}; echo 1"))
        route(admin, "touch", program(tmp_path, f"touch {ran}; echo 1"), "POST")
    assert ask(port, "/sync/touch")[0] == 400
    assert ask(port, "/sync/touch", "{")[0] == 400
    assert ask(port, "/sync/touch", "[" * 100_000)[0] == 400
    assert ask(port, "/sync/touch", json.dumps("x" * 200_000))[0] == 413
    assert ask(port, "/sync/touch", "x" * (5 << 20))[0] == 413
    assert ask(port, "/sync/..%2f..%2fetc?a=1")[0] in (400, 404)
    assert ask(port, "/anything")[0] == 404
    assert ask(port, "/sync/touch?a=1", Origin="http://evil.example")[0] == 403
    assert ask(port, "/sync/touch?a=1", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert not ran.exists()
    assert ask(port, "/sync/touch?a=1")[0] == 200
    assert ran.exists()


def test_numbers_for_prometheus(port: int) -> None:
    status, text = ask(port, "/metrics")
    assert status == 200
    assert "proxysql_" in text


def test_the_port_follows_its_variables(proxy: Operated, port: int) -> None:
    other = free_port()
    with proxy.admin() as admin:
        admin(f"SET admin-restapi_port = {other}")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        assert ask(other, "/metrics")[0] == 200
        assert closed(port)
        since = len(proxy.log)
        admin(f"SET admin-restapi_port = {proxy.number}")  # the admin port has it
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        proxy.wait_for_log("the rest port cannot be opened", since=since)
        admin(f"SET admin-restapi_port = {other}")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        eventually(lambda: not closed(other), "it is open again")
        admin("SET admin-restapi_enabled = 'false'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        assert closed(other)


def test_it_ends_with_its_programs(tmp_path: Path, mariadb: Server) -> None:
    """Who stops the proxy does not wait for them, and none is left."""
    told, number = tmp_path / "pid", free_port()
    folder = tmp_path / "own"
    folder.mkdir()
    more = {"admin_variables": {"restapi_enabled": True, "restapi_port": number}}
    with operated(folder, server_row(mariadb), **more) as own:
        with own.admin() as admin:
            route(admin, "stays", program(tmp_path, f"echo $$ > {told}; exec sleep 1000"))
        connection = http.client.HTTPConnection("127.0.0.1", number, timeout=30)
        connection.request("GET", "/sync/stays?a=1")
        eventually(lambda: told.exists() and bool(told.read_text().strip()), "it runs")
    connection.close()
    assert not Path(f"/proc/{int(told.read_text())}").exists()
