# SPDX-License-Identifier: Apache-2.0
"""Reads go to readers unless they belong to the writer: two unlike servers tell who answered."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from tests.support.pooled import client, go, pooled
from tests.support.server import Server

HOLD_MS = 500
PORT = "SELECT @@port"


def test_who_answers(tmp_path: Path, mariadb: Server, mysql9: Server) -> None:
    writer, reader = str(mariadb.port), str(mysql9.port)
    rows = [
        {"hostname": server.host, "port": server.port, "hostgroup_id": hostgroup}
        for hostgroup, server in enumerate((mariadb, mysql9))
    ]
    pairs = [{"writer_hostgroup": 0, "reader_hostgroup": 1}]
    options = {"read_your_writes_ms": HOLD_MS}

    async def work() -> None:
        async with pooled(
            tmp_path, *rows, mysql_replication_hostgroups=pairs, proxy=options
        ) as runtime:
            session = await client(runtime)
            assert await session.value(PORT) == reader
            await session.run("BEGIN")
            assert await session.value(PORT) == writer
            await session.run("COMMIT")
            assert await session.value(PORT) == reader
            assert await session.value(f"{PORT} FOR UPDATE") == writer
            await session.run("SET autocommit = 0")
            assert await session.value(PORT) == writer
            await session.run("ROLLBACK")
            await session.run("SET autocommit = 1")
            assert await session.value(PORT) == reader
            # It sees what it wrote, for as long as a reader may lag behind.
            await session.run("CREATE TEMPORARY TABLE test.j_split (a INT)")
            await session.run("INSERT INTO test.j_split VALUES (1)")
            assert await session.value(PORT) == writer
            await session.run("DROP TEMPORARY TABLE test.j_split")
            wrote_at = monotonic()
            assert await session.value(PORT) == writer
            while await session.value(PORT) == writer:
                assert monotonic() - wrote_at < HOLD_MS / 1000 * 1.4
            # From the answer on, which came before we looked at the clock.
            assert monotonic() - wrote_at > HOLD_MS / 1000 * 0.9
            assert await session.value(PORT) == reader
            other = await client(runtime)
            assert await other.value(PORT) == reader

    go(work())
