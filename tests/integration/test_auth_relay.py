# SPDX-License-Identifier: Apache-2.0
"""Relay mode: the backend checks the password, whatever the plugin and whoever has TLS."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest

from hproxy.protocols.mysql import auth
from tests.integration.conftest import ACCOUNTS, ProxyFactory, direct
from tests.support.proxy import Proxy
from tests.support.recording_client import Login, RecordingClient, Refused
from tests.support.server import Server

MODES = ("off", "preferred", "required", "verify_ca")

tls_or_not = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
every_mode = pytest.mark.parametrize("backend", MODES)


def relay(proxy: ProxyFactory, server: Server, backend: str, **more: str) -> Proxy:
    """A proxy whose connections to the backend are encrypted as `backend` says."""
    tls = {"backend": backend} | more
    if backend.startswith("verify"):
        tls.setdefault("backend_ca", str(server.ca))
    return proxy(server, auth="relay", tls=tls)


def login(user: str, **more: Any) -> Login:
    return Login(user=user, password="" if user == "empty" else user, **more)


def accounts(server: Server) -> tuple[str, ...]:
    return ACCOUNTS[server.name]


@every_mode
@tls_or_not
def test_every_account(proxy: ProxyFactory, server: Server, backend: str, tls: bool) -> None:
    running = relay(proxy, server, backend)
    for user in accounts(server):
        with RecordingClient(running.host, running.port, login(user, tls=tls)) as client:
            assert client.query("SELECT 1")[0] == b"\x01"
            cipher = b"".join(client.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))
            assert (b"TLS" in cipher or b"AES" in cipher) is (backend != "off")


@every_mode
@tls_or_not
def test_full_authentication_is_bridged(
    proxy: ProxyFactory, mysql9: Server, backend: str, tls: bool
) -> None:
    """The password goes in clear on a side with TLS and under RSA on one without."""
    running = relay(proxy, mysql9, backend)
    direct(mysql9, "FLUSH PRIVILEGES")  # it forgets whom it knows
    for expected in (True, False):
        with RecordingClient(running.host, running.port, login("sha2", tls=tls)) as client:
            assert client.full is expected
            assert client.query("SELECT 1")[0] == b"\x01"
    direct(mysql9, "FLUSH PRIVILEGES")
    with pytest.raises(Refused) as refused:
        RecordingClient(running.host, running.port, Login(user="sha2", password="no", tls=tls))
    assert refused.value.packet.number == 1045


@every_mode
@tls_or_not
def test_drivers_authenticate_in_full(
    proxy: ProxyFactory, mysql9: Server, backend: str, tls: bool
) -> None:
    running = relay(proxy, mysql9, backend)
    direct(mysql9, "FLUSH PRIVILEGES")
    for _ in range(2):
        connection = pymysql.connect(
            host=running.host,
            port=running.port,
            user="sha2",
            password="sha2",
            ssl={"check_hostname": False, "verify_mode": "none"} if tls else None,
            ssl_disabled=not tls,
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT SUBSTRING_INDEX(USER(), '@', 1)")
            assert cursor.fetchone() == ("sha2",)
        connection.close()


@pytest.mark.parametrize(
    "plugin", [auth.NATIVE, auth.CACHING_SHA2, auth.ED25519, b"no_such_plugin"], ids=bytes.decode
)
@tls_or_not
def test_the_backend_switches_the_client(
    proxy: ProxyFactory, server: Server, plugin: bytes, tls: bool
) -> None:
    running = relay(proxy, server, "off")
    for user in accounts(server):
        with RecordingClient(
            running.host, running.port, login(user, plugin=plugin, tls=tls)
        ) as client:
            through = client.plugins
        with RecordingClient(server.host, server.port, login(user, plugin=plugin)) as client:
            assert through == client.plugins


@tls_or_not
def test_refusals_are_the_backends_own(proxy: ProxyFactory, server: Server, tls: bool) -> None:
    running = relay(proxy, server, "off")
    for user, database in (("hproxy", "test"), ("nobody", "test"), ("empty", "test")):
        told = []
        for host, port in ((running.host, running.port), (server.host, server.port)):
            with pytest.raises(Refused) as refused:
                RecordingClient(
                    host, port, Login(user=user, password="wrong", database=database, tls=tls)
                )
            told.append(refused.value.packet)
        assert told[0] == told[1]
    with pytest.raises(Refused) as refused:
        RecordingClient(running.host, running.port, Login(database="no_such_database", tls=tls))
    assert refused.value.packet.number == 1049


def test_clients_can_be_made_to_use_tls(proxy: ProxyFactory, server: Server) -> None:
    running = proxy(server, auth="relay", tls={"client": "required"})
    with pytest.raises(Refused) as refused:
        RecordingClient(running.host, running.port, Login())
    assert refused.value.packet.number == 3159
    with RecordingClient(running.host, running.port, Login(tls=True)) as client:
        assert client.query("SELECT 1")[0] == b"\x01"


def test_clients_can_be_kept_from_tls(proxy: ProxyFactory, server: Server) -> None:
    running = proxy(server, auth="relay", tls={"client": "off"})
    with RecordingClient(running.host, running.port, Login()) as client:
        assert not client.greeting.capabilities & (1 << 11)


@pytest.mark.parametrize("backend", ["verify_ca", "verify_identity"])
def test_a_backend_with_a_foreign_certificate_is_refused(
    proxy: ProxyFactory, server: Server, mariadb: Server, mysql9: Server, backend: str
) -> None:
    other = mysql9 if server.name == "mariadb" else mariadb
    running = relay(proxy, server, backend, backend_ca=str(other.ca))
    since = len(running.log)
    with pytest.raises((Refused, ConnectionError)):
        RecordingClient(running.host, running.port, Login())
    line = running.wait_for_log("login failed", since=since)
    assert "certificate" in line["reason"].lower()


def test_a_backend_of_another_name_is_refused(proxy: ProxyFactory, server: Server) -> None:
    running = relay(proxy, server, "verify_identity", backend_server_name="somebody.else")
    since = len(running.log)
    with pytest.raises((Refused, ConnectionError)):
        RecordingClient(running.host, running.port, Login())
    assert running.wait_for_log("login failed", since=since)
