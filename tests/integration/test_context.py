# SPDX-License-Identifier: Apache-2.0
"""What statements leave behind is found again, though others use the connection in between."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from hproxy.protocols.mysql.constants import Capability
from tests.support.gateway import Gateway
from tests.support.pooled import client, go, pooled
from tests.support.server import Server

TWO = {"max_connections": 2}


def test_warnings_outlive_statements_without_tables(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with Gateway(mariadb) as gateway, pooled(tmp_path, gateway.row | TWO) as runtime:
            ann = await client(runtime)
            await ann.run("SELECT 'a' + 1")
            for sql in (
                "SELECT 1",
                "SET @a = 5",
                "USE test",
                "DO 0",
                "SELECT @@session_track_schema",
            ):
                await ann.run(sql)
            (warning,) = await ann.run("SHOW WARNINGS")
            assert warning[:2] == ("Warning", "1292")
            await ann.run("SELECT 1 FROM (SELECT 1) AS t")
            assert await ann.run("SHOW WARNINGS") == []

    go(work())


def test_kept_warnings_are_told_when_others_needed_the_connection(
    tmp_path: Path, mariadb: Server
) -> None:
    async def work() -> None:
        one = {"max_connections": 1}
        async with Gateway(mariadb) as gateway, pooled(tmp_path, gateway.row | one) as runtime:
            ann, bob = await client(runtime), await client(runtime)
            await ann.run("SELECT 'a' + 1")
            assert await bob.value("SELECT 2") == "2"
            assert await ann.value("SELECT 1") == "1"
            (warning,) = await ann.run("SHOW WARNINGS")
            assert warning[:2] == ("Warning", "1292")
            assert await ann.run("SHOW WARNINGS LIMIT 1") == [warning]
            assert await ann.run("show warnings limit 1, 5") == []
            assert await ann.run("SHOW ERRORS LIMIT 5 OFFSET 0") == []
            assert await bob.run("SHOW WARNINGS") == []

    go(work())


def test_kept_warnings_do_not_keep_a_transaction_from_its_writer(
    tmp_path: Path, mariadb: Server
) -> None:
    async def work() -> None:
        split: dict[str, Any] = {
            "mysql_replication_hostgroups": [{"writer_hostgroup": 0, "reader_hostgroup": 1}],
        }
        async with Gateway(mariadb) as writer, Gateway(mariadb) as reader:
            rows = (writer.row, reader.row | {"hostgroup_id": 1})
            async with pooled(tmp_path, *rows, **split) as runtime:
                ann = await client(runtime)
                await ann.run("SELECT 'a' + 1")
                (used,) = [row for row in runtime.port.pools() if row["used"]]
                assert used["hostgroup"] == 1
                assert [pin["reason"] for pin in runtime.port.pins()] == ["WARNINGS"]
                await ann.run("BEGIN")
                (used,) = [row for row in runtime.port.pools() if row["used"]]
                assert used["hostgroup"] == 0
                (warning,) = await ann.run("SHOW WARNINGS")
                assert warning[:2] == ("Warning", "1292")
                await ann.run("ROLLBACK")

    go(work())


def test_every_pin_tells_its_own_statement(tmp_path: Path, server: Server) -> None:
    async def work() -> None:
        async with Gateway(server) as gateway, pooled(tmp_path, gateway.row) as runtime:
            ann = await client(runtime)
            await ann.run("CREATE TEMPORARY TABLE test.one (a INT)")
            await ann.run("SELECT GET_LOCK('test every pin', 0)")
            await ann.run("SELECT 1")  # answered when what GET_LOCK has done is known
            first, second = sorted(runtime.port.pins(), key=lambda pin: -pin["seconds"])
            assert (first["reason"], second["reason"]) == ("TEMP_TABLE", "USER_LOCK")
            assert first["statement"] == "CREATE TEMPORARY TABLE test.one (a INT)"
            assert second["statement"] == "SELECT GET_LOCK(?,...)"

    go(work())


def test_found_rows_is_what_the_session_found(tmp_path: Path, server: Server) -> None:
    async def work() -> None:
        async with Gateway(server) as gateway, pooled(tmp_path, gateway.row | TWO) as runtime:
            ann, bob = await client(runtime), await client(runtime)
            await ann.run("BEGIN")
            await ann.run("SELECT 1 UNION SELECT 2 UNION SELECT 3")
            await ann.run("COMMIT")
            await bob.run("BEGIN")
            await bob.run("SELECT 1 UNION SELECT 2")
            await ann.run("SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4")
            await bob.run("COMMIT")
            await bob.run("BEGIN")
            await ann.run("SET @x = 1")
            assert await ann.value("SELECT FOUND_ROWS()") == "4"
            await bob.run("COMMIT")

    go(work())


def test_an_explicit_id_does_not_hide_the_generated_one(tmp_path: Path, server: Server) -> None:
    async def work() -> None:
        async with Gateway(server) as gateway, pooled(tmp_path, gateway.row | TWO) as runtime:
            ann, bob = await client(runtime, database="test"), await client(runtime)
            await bob.run("SELECT LAST_INSERT_ID()")  # the account is known to ask
            await ann.run("CREATE TEMPORARY TABLE mine (id INT AUTO_INCREMENT PRIMARY KEY)")
            await ann.run("INSERT INTO mine VALUES (NULL)")
            await ann.run("INSERT INTO mine VALUES (18)")
            assert await ann.value("SELECT LAST_INSERT_ID()") == "1"

    go(work())


def test_ignored_spaces_outlive_what_others_reset(tmp_path: Path, server: Server) -> None:
    async def work() -> None:
        more = int(Capability.IGNORE_SPACE)
        one = {"max_connections": 1}
        async with Gateway(server) as gateway, pooled(tmp_path, gateway.row | one) as runtime:
            ann = await client(runtime, more=more)
            bob = await client(runtime, more=more)
            assert "IGNORE_SPACE" in str(await ann.value("SELECT @@sql_mode"))
            await ann.run("SET @a = 1")
            await bob.run("SELECT 1")  # a reset takes @a back
            for session in (bob, ann, bob):
                assert "IGNORE_SPACE" in str(await session.value("SELECT @@sql_mode"))
            await bob.command(b"\x1f")  # MariaDB itself forgets it here
            kept = "IGNORE_SPACE" in str(await bob.value("SELECT @@sql_mode"))
            assert kept is (server.name == "mysql")

    go(work())


def test_a_variable_taken_from_the_context_stays_the_sessions(
    tmp_path: Path, mariadb: Server
) -> None:
    async def work() -> None:
        async with Gateway(mariadb) as gateway, pooled(tmp_path, gateway.row | TWO) as runtime:
            ann, bob = await client(runtime), await client(runtime)
            await ann.run("SET @a = 1")
            await ann.run("SELECT 1 UNION SELECT 2")
            await ann.run("SET @b = FOUND_ROWS()")
            await bob.run("SELECT 5 FROM (SELECT 1) AS t")
            await bob.run("SET @b = 99")
            assert await ann.value("SELECT @b FROM (SELECT 1) AS t") == "2"
            assert await ann.value("SELECT @b") == "2"

    go(work())


def test_a_routine_that_is_still_to_be_read_holds_nobody_up(tmp_path: Path, server: Server) -> None:
    """Its body is asked for when the warnings are given up, for which somebody has to wait."""
    name = f"test.harmless_{secrets.token_hex(4)}"

    async def work() -> None:
        one = {"max_connections": 1}
        async with Gateway(server) as gateway, pooled(tmp_path, gateway.row | one) as runtime:
            ann, bob = await client(runtime, database="test"), await client(runtime)
            await ann.run(f"CREATE FUNCTION {name}(a INT) RETURNS INT DETERMINISTIC RETURN a")
            try:
                await ann.run(f"SELECT CAST('x' AS SIGNED), {name}(1) FROM (SELECT 1) AS t")
                pins = {pin["reason"] for pin in runtime.port.pins()}
                assert pins == {"WARNINGS", "ROUTINE"}
                assert await bob.value("SELECT 2") == "2"
                (warning,) = await ann.run("SHOW WARNINGS")
                assert warning[:2] == ("Warning", "1292")
            finally:
                await ann.run(f"DROP FUNCTION {name}")

    go(work())
