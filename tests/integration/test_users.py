# SPDX-License-Identifier: Apache-2.0
"""Columns of mysql_users that change what a login gets, before real servers."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from hproxy.dial.converse import Refusal
from hproxy.protocols.mysql.scramble import ed25519_public_key, sha256_crypt
from hproxy.runtime import Runtime
from tests.support.pooled import ServerError, client, go, pooled
from tests.support.server import Server

SALT = b"abcdefghijklmnopqrst"
DENIED = 1045


def row(server: Server) -> dict[str, Any]:
    return {"hostname": server.host, "port": server.port}


def hashed(password: bytes) -> str:
    return f"$A$005${(SALT + sha256_crypt(password, SALT, 5000)).decode()}"


def user(**columns: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"username": "hproxy", "password": "hproxy"} | columns
    if isinstance(given.get("attributes"), dict):
        given["attributes"] = json.dumps(given["attributes"])
    return given


async def outcome(runtime: Runtime, password: str) -> int:
    try:
        session = await client(runtime, "hproxy", password)
    except Refusal as refusal:
        number = refusal.error.facts["number"]
        assert isinstance(number, int)
        return number
    assert await session.value("SELECT 1") == "1"
    session.close()
    return 0


@pytest.mark.parametrize(
    "second", ["other", hashed(b"other"), hashed(b"other").encode().hex()], ids=str
)
def test_a_second_password(server: Server, tmp_path: Path, second: str) -> None:
    async def scenario() -> None:
        users = [user(attributes={"additional_password": second})]
        async with pooled(tmp_path, row(server), users=users) as runtime:
            passwords = ("hproxy", "other", "hproxy", "other", "wrong", "hproxy", "other")
            found = [await outcome(runtime, password) for password in passwords]
            assert found == [0, 0, 0, 0, DENIED, 0, 0]

    go(scenario())


def test_two_slow_passwords(mysql9: Server, tmp_path: Path) -> None:
    """Neither is known: the backend row opens connections."""

    async def scenario() -> None:
        users = [
            user(password=hashed(b"one"), backend=False,
                 attributes={"additional_password": hashed(b"two")}),
            user(frontend=False),
        ]  # fmt: skip
        async with pooled(tmp_path, row(mysql9), users=users) as runtime:
            found = [await outcome(runtime, password) for password in ("two", "one", "two", "no")]
            assert found == [0, 0, 0, DENIED]

    go(scenario())


def test_isolation(server: Server, tmp_path: Path) -> None:
    name = "tx_isolation" if server.name == "mariadb" else "transaction_isolation"

    async def scenario() -> None:
        users = [user(attributes={"default-transaction_isolation": "read-committed"})]
        async with pooled(tmp_path, row(server), users=users) as runtime:
            sessions = [await client(runtime) for _ in range(3)]  # the last by the fast greeter
            for session in sessions:
                assert await session.value(f"SELECT @@{name}") == "READ-COMMITTED"
            session = sessions[-1]
            await session.run("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            assert await session.value(f"SELECT @@{name}") == "SERIALIZABLE"
            assert await (await client(runtime)).value(f"SELECT @@{name}") == "READ-COMMITTED"

    go(scenario())


def test_fast_forward(server: Server, tmp_path: Path) -> None:
    """A connection of its own, and what a pool would have followed is the server's affair."""

    async def scenario() -> None:
        users = [user(fast_forward=True)]
        async with pooled(tmp_path, row(server), users=users) as runtime:
            first, second = await client(runtime), await client(runtime)
            ids = [await session.value("SELECT CONNECTION_ID()") for session in (first, second)]
            assert ids[0] != ids[1]
            await first.run("SET @mine = 7")
            for _ in range(5):
                assert await first.value("SELECT CONNECTION_ID()") == ids[0]
                assert await first.value("SELECT @mine") == "7"
                assert await second.value("SELECT @mine") is None
            assert runtime.port.pins() == ()
            assert sum(pool["used"] + pool["free"] for pool in runtime.port.pools()) == 0
            number = await first.prepare("SELECT 5")
            assert await first.execute(number)
            with pytest.raises(ServerError):
                await first.run("SELEKT")
            # KILL finds it by the id its client knows.
            (one, two) = runtime.services.registry
            assert (one.pooled, two.pooled) == (False, False)
            await second.run(f"KILL QUERY {one.id}")
            second.close()
            assert await first.value("SELECT 6") == "6"

    go(scenario())


def test_fast_forward_beside_the_others(mariadb: Server, tmp_path: Path) -> None:
    async def scenario() -> None:
        users = [user(fast_forward=True), {"username": "native", "password": "native"}]
        async with pooled(tmp_path, row(mariadb), users=users) as runtime:
            own, shared = await client(runtime), await client(runtime, "native")
            assert [c.pooled for c in runtime.services.registry] == [False, True]
            for turn in range(10):
                assert await own.value(f"SELECT {turn}") == str(turn)
                assert await shared.value(f"SELECT {turn}") == str(turn)
            own.close()
            assert await shared.value("SELECT 1") == "1"

    go(scenario())


def test_a_public_key(mariadb: Server, tmp_path: Path) -> None:
    """What MariaDB shows of an account under client_ed25519; a backend row opens connections."""

    async def scenario() -> None:
        key = b64encode(ed25519_public_key(b"hproxy")).rstrip(b"=").decode()
        users = [
            user(password=key, backend=False, attributes={"auth_plugin": "client_ed25519"}),
            user(frontend=False),
        ]
        async with pooled(tmp_path, row(mariadb), users=users) as runtime:
            assert await outcome(runtime, "hproxy") == 0
            assert await outcome(runtime, "hproxy") == 0
            assert await outcome(runtime, "wrong") == DENIED
            assert await outcome(runtime, key) == DENIED

    go(scenario())
