# SPDX-License-Identifier: Apache-2.0
"""Proxies in front of the real servers, started once per configuration and shared.

proxy(server, auth="table", tls={"client": "off"})     a running `tests.support.proxy.Proxy`
route                                                  each server x each auth mode in turn
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

ProxyFactory = Callable[..., Proxy]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long matrix out unless it is asked for by name."""
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


@pytest.fixture(scope="session", params=["relay", "table"])
def auth(request: pytest.FixtureRequest) -> str:
    """Each way of checking passwords in turn."""
    mode: str = request.param
    return mode


@pytest.fixture(scope="session")
def route(fleet: Fleet, server: Server, auth: str) -> Route:
    """The usual configuration: each server, each auth mode."""
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
