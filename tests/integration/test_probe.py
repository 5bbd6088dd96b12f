# SPDX-License-Identifier: Apache-2.0
"""Probes log in to both families of servers with every kind of account, with and without TLS."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

import pytest
import uvloop

from hproxy.dial.probe import Dialler, Row
from hproxy.errors import BackendError, ConnectError, HProxyError
from hproxy.net.loop import ReactorLoop
from hproxy.net.tls_params import FIELDS, TlsParams, make_context
from hproxy.protocols.base import load_protocol
from tests.conftest import running
from tests.integration.conftest import ACCOUNTS, direct
from tests.support.server import Server

LOGINS = [(name, user) for name, users in ACCOUNTS.items() for user in users]


def ask(
    server: Server,
    user: str,
    password: str,
    sql: str,
    *,
    use_ssl: bool = False,
    socket: bool = False,
    variables: Mapping[str, str] | None = None,
    unasked: str = "off",
) -> list[Row]:
    """The answer on a connection of its own."""
    given = variables or {}

    async def run() -> list[Row]:
        reactor = ReactorLoop()
        params = TlsParams(**{name: given.get(f"mysql-ssl_p2s_{name}", "") for name in FIELDS})
        dial = Dialler(
            load_protocol("mysql"),
            reactor.reactor,
            lambda *_: make_context(params),
            unasked=unasked,
        )
        host, port = (str(server.socket), 0) if socket else (server.host, server.port)
        try:
            async with asyncio.timeout(20):
                probe = await dial(host, port, use_ssl, user, password)
                await probe.ping()
                rows = await probe.ask(sql)
                probe.close()
                return rows
        finally:
            reactor.close()

    return uvloop.run(run())


@pytest.mark.parametrize("use_ssl", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("name", "user"), LOGINS)
def test_accounts(name: str, user: str, use_ssl: bool) -> None:
    password = "" if user == "empty" else user
    rows = ask(
        running(name),
        user,
        password,
        "SELECT SUBSTRING_INDEX(USER(), '@', 1) AS name, @@global.read_only AS read_only",
        use_ssl=use_ssl,
    )
    assert rows == [{"name": user, "read_only": "0"}]


def test_tls_is_spoken(server: Server) -> None:
    rows = ask(server, "hproxy", "hproxy", "SHOW STATUS LIKE 'Ssl_version'", use_ssl=True)
    assert str(rows[0]["Value"]).startswith("TLSv1.")


@pytest.mark.parametrize(("unasked", "spoken"), [("off", False), ("preferred", True)])
def test_tls_where_nobody_asks_for_it(server: Server, unasked: str, spoken: bool) -> None:
    (row,) = ask(server, "hproxy", "hproxy", "SHOW STATUS LIKE 'Ssl_version'", unasked=unasked)
    assert bool(row["Value"]) is spoken


def test_full_login_after_the_server_forgot_the_password(mysql9: Server) -> None:
    """caching_sha2_password: first RSA, then the fast way; after a new password TLS."""
    user = f"probe_{secrets.token_hex(4)}"
    direct(mysql9, f"CREATE USER {user}@'%' IDENTIFIED BY 'known'")
    try:
        for use_ssl in (False, False, True):
            assert ask(mysql9, user, "known", "SELECT 1 AS one", use_ssl=use_ssl) == [{"one": "1"}]
        direct(mysql9, f"ALTER USER {user}@'%' IDENTIFIED BY 'known'")
        assert ask(mysql9, user, "known", "SELECT 1 AS one", use_ssl=True) == [{"one": "1"}]
    finally:
        direct(mysql9, f"DROP USER {user}@'%'")


def test_the_certificate_is_verified_where_a_ca_is_given(server: Server) -> None:
    right = {"mysql-ssl_p2s_ca": str(server.ca)}
    assert ask(server, "hproxy", "hproxy", "SELECT 1 AS v", use_ssl=True, variables=right)
    other = running("mysql" if server.name == "mariadb" else "mariadb")
    wrong = {"mysql-ssl_p2s_ca": str(other.ca)}
    with pytest.raises(HProxyError, match=r"(?i)certificate"):
        ask(server, "hproxy", "hproxy", "SELECT 1", use_ssl=True, variables=wrong)


def test_unix_socket(server: Server) -> None:
    assert ask(server, "root", "", "SELECT 1 AS v", socket=True) == [{"v": "1"}]


@pytest.mark.parametrize("use_ssl", [False, True], ids=["plain", "tls"])
def test_wrong_password(server: Server, use_ssl: bool) -> None:
    with pytest.raises(ConnectError) as caught:
        ask(server, "hproxy", "wrong", "SELECT 1", use_ssl=use_ssl)
    assert caught.value.facts["number"] == 1045


def test_expired_password(mysql9: Server) -> None:
    user: str = f"probe_{secrets.token_hex(4)}"
    direct(mysql9, f"CREATE USER {user}@'%' IDENTIFIED BY 'old' PASSWORD EXPIRE")
    try:
        with pytest.raises((ConnectError, BackendError)) as caught:
            ask(mysql9, user, "old", "SELECT @@global.read_only")
        number: Any = caught.value.facts["number"]
        assert number in (1820, 1862)
    finally:
        direct(mysql9, f"DROP USER {user}@'%'")
