# SPDX-License-Identifier: Apache-2.0
"""Proxies in front of the real servers, started once per configuration and shared.

proxy(server, auth="table", tls={"client": "off"})     a running `tests.support.proxy.Proxy`
route                                                  each server x each way there in turn

A way is "relay", "table" (both hold one backend connection per client), "multiplex" (table,
and sessions share a few backend connections) or "slow" (multiplex without the fast lane).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.conftest import running
from tests.integration.route import Route
from tests.support.proxy import Proxy
from tests.support.server import Server

# Everybody `ci/services` makes, with the plugin its server wants of it.
ACCOUNTS = {
    "mariadb": ("hproxy", "ed", "native", "empty"),
    "mysql": ("hproxy", "sha2", "empty"),
}

# Few enough that sessions take turns, and as many as one test has sessions pinned at a time.
SHARED_CONNECTIONS = 4

ProxyFactory = Callable[..., Proxy]


# Where the slow way is part of the usual run: many sessions at once. What one client does is
# compared byte by byte in test_fast_lane_clients.py.
SLOW_BY_DEFAULT = ("test_asyncmy", "test_pipelining")


@pytest.hookimpl(tryfirst=True)  # the selection by marks comes after it
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long matrix out unless it is asked for by name."""
    for item in items:
        way = item.callspec.params.get("auth") if hasattr(item, "callspec") else None
        if way == "slow" and item.path.stem not in SLOW_BY_DEFAULT:
            item.add_marker("full")
    if "full" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


class Fleet:
    """The proxies of this test run, by what they were started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proxies: dict[str, Proxy] = {}

    def get(self, server: Server, auth: str = "relay", **sections: Any) -> Proxy:
        """A proxy before `server`; `sections` are merged into its configuration."""
        config: dict[str, Any] = {
            # One folder for all: the certificate and the RSA key are made once.
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(self.folder / "data")},
            "proxy": {"backends": [server.address], "auth": auth},
            "logging": {"level": "debug", "format": "json"},
        }
        if auth == "table":
            config["proxy"]["session_mode"] = "session"
        if auth in ("multiplex", "slow"):
            config["proxy"] = {
                "backends": [],
                "auth": "table",
                "session_mode": "multiplex",
                "fast_lane": auth == "multiplex",
            }
            config["mysql_servers"] = [
                {
                    "hostname": server.host,
                    "port": server.port,
                    "max_connections": SHARED_CONNECTIONS,
                }
            ]
        if auth != "relay":
            config["mysql_users"] = [
                {"username": name, "password": "" if name == "empty" else name}
                for name in ACCOUNTS[server.name]
            ]
        for name, section in sections.items():
            merge = isinstance(section, Mapping) and name in config
            config[name] = {**config[name], **section} if merge else section
        key = json.dumps(config, sort_keys=True)
        found = self.proxies.get(key)
        if found is None or not found.running:
            name = f"{server.name}-{auth}-{len(self.proxies)}"
            found = self.proxies[key] = Proxy(self.folder / name, config)
        return found

    def stop(self) -> None:
        failures = []
        for proxy in self.proxies.values():
            try:
                if proxy.running:
                    proxy.stop()
                else:
                    failures.append(f"ended by itself:\n{proxy.story()}")
            except AssertionError as failure:
                failures.append(str(failure))
        assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("proxies"))
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def proxy(fleet: Fleet) -> ProxyFactory:
    """(server, auth="relay", **sections) -> a running proxy, shared by equal calls."""
    return fleet.get


@pytest.fixture(scope="session", params=["relay", "table", "multiplex", "slow"])
def auth(request: pytest.FixtureRequest) -> str:
    """Each way of checking passwords, and of holding backend connections, in turn."""
    mode: str = request.param
    return mode


@pytest.fixture(scope="session")
def route(fleet: Fleet, server: Server, auth: str) -> Route:
    """The usual configuration: each server, each way there."""
    return Route(server, auth, fleet.get(server, auth))


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test may make the proxy log a mistake of its own, or of what it made of a server."""
    if "fleet" not in request.fixturenames:
        yield
        return
    fleet: Fleet = request.getfixturevalue("fleet")
    before = {key: len(proxy.log) for key, proxy in fleet.proxies.items()}
    yield
    for key, proxy in fleet.proxies.items():
        since = before.get(key, 0)
        faults = proxy.faults(since) + proxy.lines("backend broke the protocol", since)
        assert not faults, f"{faults}\n{proxy.story(since)}"
        assert proxy.running, f"the proxy ended:\n{proxy.story()}"


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """A database of the test's own on `server`, made and dropped without the proxy."""
    name = f"it_{secrets.token_hex(6)}"
    direct(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield name
    finally:
        direct(server, f"DROP DATABASE {name}")


def direct(server: Server, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements on the server itself; the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    connection = pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        autocommit=True,
    )
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
    finally:
        connection.close()
    return rows


@pytest.fixture(scope="session")
def mysql9_dump() -> Path:
    """mysqldump of MySQL 9, which `ci/services` unpacks beside its server."""
    return running("mysql").client.with_name("mysqldump")
