# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl`, `hproxy top` and profiles against a service of one process, and of several.

ctl -c FILE ── Unix socket of [http] ──> the service ──> one small server in the test
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner, Result

from hproxy.cli import ctl_order
from hproxy.cli.main import main
from tests.support.embedded import threaded
from tests.support.proxy import Proxy

LIMIT_S = 15.0
TOKEN = "a-token-of-the-ctl-tests"
WAYS = {"single": (), "workers": ("--workers", "2")}


class Service:
    """A running one, and `ctl` of it."""

    def __init__(self, proxy: Proxy, way: str, backend: int) -> None:
        self.proxy = proxy
        self.way = way
        self.backend = f"127.0.0.1:{backend}"
        self._clients: list[Any] = []

    def run(self, *words: object, stdin: str | None = None) -> Result:
        bare: dict[str, str | None] = {n: None for n in os.environ if n.startswith("HPROXY_")}
        texts = [str(word) for word in words]
        return CliRunner(env=bare).invoke(main, texts, input=stdin)

    def ctl(self, *words: object, stdin: str | None = None) -> str:
        result = self.run("ctl", "-c", self.proxy.config, *words, stdin=stdin)
        assert result.exit_code == 0, f"{words}: {result.output}\n{self.proxy.story()}"
        return result.stdout

    def json(self, *words: object) -> Any:
        return json.loads(self.ctl(*words, "--json"))

    def refused(self, *words: object) -> str:
        result = self.run("ctl", "-c", self.proxy.config, *words)
        assert result.exit_code == 1, result.output
        return result.stderr

    def until(self, *words: object, holds: Any) -> Any:
        """What such a list says once it `holds`."""
        end = monotonic() + LIMIT_S
        while not holds(found := self.json(*words)):
            assert monotonic() < end, f"{words}: {found}"
            sleep(0.05)
        return found

    def client(self, user: str = "demo", password: str = "demo") -> Any:
        made = pymysql.connect(
            host=self.proxy.host,
            port=self.proxy.port,
            user=user,
            password=password,
            read_timeout=10,
            autocommit=True,
        )
        self._clients.append(made)
        return made

    def close(self) -> None:
        """Close what clients there still are."""
        for client in self._clients:
            if client.open:
                client.close()


def started(folder: Path, way: str, backend: int) -> Proxy:
    sections = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
        "proxy": {"auth": "table"},
        "admin": {"address": "127.0.0.1:0"},
        "http": {"address": str(folder / "http"), "token": TOKEN},
        "mysql_servers": [{"hostname": "127.0.0.1", "port": backend}],
        "mysql_users": [{"username": "demo", "password": "demo"}],
        "mysql_variables": {"monitor_enabled": False},
    }
    return Proxy(folder, sections, WAYS[way], single=way == "single")


@pytest.fixture(scope="module", params=[*WAYS])
def service(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("ctl")
    with threaded() as server, started(folder, request.param, server.port) as proxy:
        made = Service(proxy, request.param, server.port)
        proxy.wait_for_log("http api open")
        with closing(made):
            yield made


def test_status(service: Service) -> None:
    assert " ready " in service.ctl("status", "--check")
    told = service.json("status")
    roles = [row["role"] for row in told["processes"]]
    assert roles.count("worker") == (2 if service.way == "workers" else 0)
    assert all(row["pid"] for row in told["processes"])


@pytest.fixture
def clients(service: Service) -> Iterator[list[Any]]:
    """Six that are connected."""
    made = [service.client() for _ in range(6)]
    yield made
    service.close()


@contextmanager
def asking(clients: list[Any]) -> Iterator[None]:
    """All of them ask all the time, each worker's."""
    over = threading.Event()

    def go_on(client: Any) -> None:
        with client.cursor() as cursor:
            while not over.is_set():
                cursor.execute("SELECT 1")

    with ThreadPoolExecutor(len(clients)) as pool:
        asked = [pool.submit(go_on, client) for client in clients]
        try:
            yield
        finally:
            over.set()
    for each in asked:
        each.result()


def test_what_clients_do_is_seen(service: Service, clients: list[Any]) -> None:
    for client in clients:
        with client.cursor() as cursor:
            cursor.execute("SELECT name FROM city WHERE id = 1")
    with clients[0].cursor() as cursor:
        cursor.execute("BEGIN")
        sessions = service.json("sessions", "--where", "user=demo")
        assert sessions["total"] == 6
        assert len({row["SessionID"] for row in sessions["items"]}) == 6
        pins = service.until("pins", holds=lambda told: told["total"])["items"]
        assert "TRANSACTION" in {row["reason"] for row in pins}
        assert "pinned by" in service.ctl("session", pins[0]["session"])
        cursor.execute("ROLLBACK")
    (backend,) = service.json("backends")["items"]
    assert (backend["address"], backend["status"]) == (service.backend, "ONLINE")
    texts = service.ctl("digests", "--where", "username=demo")
    assert "SELECT name FROM city WHERE id=?" in texts
    assert [row["sessions"] for row in service.json("users")["items"]] == [6]


def test_every_list_is_there(service: Service) -> None:
    for name in ("hostgroups", "rules", "variables", "history", "show stats_mysql_global"):
        assert "\n" in service.ctl(*name.split())
    assert "no table" in service.refused("show", "nothing_of_that_name")


def test_a_session_is_killed_wherever_it_is(service: Service, clients: list[Any]) -> None:
    for client in clients:
        with client.cursor() as cursor:
            cursor.execute("SELECT 1")
    for row in service.json("sessions", "--where", "user=demo")["items"]:
        service.ctl("kill", row["SessionID"])
    for client in clients:
        with pytest.raises(pymysql.err.OperationalError), client.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert "hproxy: " in service.refused("kill", 999_999_999)


def test_accounts_variables_and_versions(service: Service) -> None:
    before = service.json("history")["items"]
    service.ctl("put", "users", "other", "password=@-", stdin="secret\n")
    service.client("other", "secret").close()
    assert "secret" not in service.ctl("users", "--json")
    assert "not done" in service.ctl("delete", "users", "other", "--dry-run")
    service.ctl("delete", "users", "other")
    with pytest.raises(pymysql.err.OperationalError):
        service.client("other", "secret")
    service.ctl("set", "mysql-default_query_timeout", 5000)
    assert "5000" in service.ctl("variables", "mysql-default_query_timeout")
    assert "hproxy: " in service.refused("set", "mysql-threads", "many")
    assert len(service.json("history")["items"]) == len(before) + 3
    tables = service.json("config", "mysql_users")
    assert tables["mysql_users"][0]["username"] == "demo"


def test_a_backend_is_taken_out_and_back(service: Service) -> None:
    service.ctl("set-status", service.backend, "OFFLINE_SOFT")
    (row,) = service.json("backends")["items"]
    assert row["status"] == "OFFLINE_SOFT"
    service.ctl("set-status", service.backend, "ONLINE")
    with service.client() as client, client.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_explain(service: Service) -> None:
    assert "hostgroup" in service.ctl("explain", "SELECT 1", "--user", "demo")


def test_pause_and_resume(service: Service) -> None:
    service.ctl("pause")
    result = service.run("ctl", "-c", service.proxy.config, "status", "--check")
    assert (result.exit_code, "paused" in result.stdout) == (1, True)
    service.ctl("resume")
    service.ctl("status", "--check")


def test_without_the_token(service: Service) -> None:
    url = f"unix:{service.proxy.config.parent}/http"
    result = service.run("ctl", "--url", url, "--token", "x" * 32, "status")
    assert result.exit_code == 1
    assert "token" in result.stderr


def test_top(service: Service) -> None:
    result = service.run("top", "-c", service.proxy.config, "--once", "--interval", "0.2")
    assert result.exit_code == 0, result.output
    assert service.backend in result.stdout
    assert "queries/s" in result.stdout


def test_memory_and_tasks(service: Service) -> None:
    heap, stacks = service.ctl("profile", "heap"), service.ctl("profile", "stacks")
    told = service.json("status")["processes"]
    for row in told:
        if row["role"] in ("single", "worker"):
            assert f"process {row['pid']}" in heap
            assert f"process {row['pid']}" in stacks
    assert "traced from now on" in service.ctl("profile", "tracing", "on")
    assert "allocated at" in service.ctl("profile", "heap")
    assert "not traced" in service.ctl("profile", "tracing", "off")


def test_a_flame_graph(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "flames.svg"
    service.ctl("profile", "cpu", "--seconds", 1, "-o", file)
    assert file.read_text().startswith("<?xml")
    names = service.json("profile", "list")["files"]
    assert names[-1].startswith("mp_cpu_")
    assert "<svg" in service.ctl("profile", "get", names[-1])


def test_a_process_that_is_stopped_for_samples_is_not_taken_for_dead(
    service: Service, clients: list[Any], tmp_path: Path
) -> None:
    before = pids(service)
    target = "worker:1" if service.way == "workers" else "all"
    words = ("--native", "--seconds", 1, "--target", target, "--format", "raw")
    with asking(clients):  # of one that idles there is nothing to sample
        service.ctl("profile", "cpu", *words, "-o", tmp_path / "x")
    assert ".so" in (tmp_path / "x").read_text()  # functions of C
    assert pids(service) == before


def pids(service: Service) -> list[int]:
    """Of all but the spare, which may be a new one at any time."""
    rows = service.json("status")["processes"]
    return [row["pid"] for row in rows if row["role"] != "spare"]


def test_haentgl_by_curl(service: Service) -> None:
    def get(path: str, token: str = TOKEN) -> bytes:
        words = ["curl", "-s", "--unix-socket", str(service.proxy.config.parent / "http")]
        header = ["-H", f"Authorization: Bearer {token}"]
        done = subprocess.run(
            [*words, *header, f"http://hproxy{path}"], capture_output=True, check=True, timeout=20
        )
        return done.stdout

    assert b"admin.token" in get("/mem_dump", "x" * 32)
    folder = Path(json.loads(get("/mem_dump"))["mem_heap_dump"])
    assert list(folder.glob("*.sql_proxy"))
    before = json.loads(get("/list_cpu_profile?profile_path=/tmp"))
    started = get("/start_cpu_prof?duration=1&profile_path=/tmp/sql_proxy_cpu_prof/")
    assert json.loads(started) == {"cpu_prof_start": "true"}
    end = monotonic() + LIMIT_S
    while (names := json.loads(get("/list_cpu_profile?profile_path=/tmp"))) == before:
        assert monotonic() < end
        sleep(0.1)
    assert json.loads(get("/stop_cpu_prof")) == {"cpu_prof_stop": "true"}
    assert b"<svg" in get(f"/print_cpu_prof?profile_file=/tmp/sql_proxy_cpu_prof/{names[-1]}")


def test_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes in any more; who idles is sent away, a transaction may end."""
    monkeypatch.setattr(ctl_order, "SPARE_SEC", 0.5)
    with (
        threaded() as server,
        started(tmp_path, "single", server.port) as proxy,
        ExitStack() as stack,
    ):
        proxy.wait_for_log("http api open")
        made = stack.enter_context(closing(Service(proxy, "single", server.port)))
        idle, busy = made.client(), made.client()
        with busy.cursor() as cursor:
            cursor.execute("BEGIN")
            assert "draining" in made.ctl("drain", "--deadline", 10, "--no-wait")
            made.until("status", holds=lambda told: told["sessions"] == 1)
            assert made.refused("drain", "--deadline", "0.1").startswith("hproxy: 1 sessions")
            cursor.execute("COMMIT")
        assert made.ctl("drain", "--deadline", 10) == "drained\n"
        with pytest.raises(pymysql.err.OperationalError), idle.cursor() as cursor:
            cursor.execute("SELECT 1")
        with pytest.raises(pymysql.err.OperationalError):
            made.client()
        assert made.run("ctl", "-c", proxy.config, "status", "--check").exit_code == 1
