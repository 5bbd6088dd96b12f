# SPDX-License-Identifier: Apache-2.0
"""Phrases about the session itself: variables, character sets, schema, user variables."""

from __future__ import annotations

from hproxy.protocols.mysql.constants import Capability
from tests.torture.pen import MODES, Pen, q
from tests.torture.step import ChangeUser, Command, InitDb, Query, Reconnect, Step
from tests.torture.variables import unsteady

__all__ = ["PHRASES"]


def assignment(pen: Pen) -> str:
    """One item of a SET."""
    variable = pen.pick(pen.variables)
    value = pen.pick(variable.values)
    name = variable.name.upper() if pen.chance(0.1) else variable.name
    if pen.chance(0.2):
        value = "DEFAULT"
    elif pen.chance(0.1):
        value = f"@@{name}"
    elif pen.chance(0.1):
        value = f"@@global.{name}"
    elif pen.chance(0.05):
        value = f"(SELECT {value})"
    elif pen.chance(0.05) and value.isdigit():
        value = f"{value} + 0"
    form = pen.pick(("{}", "{}", "SESSION {}", "@@session.{}", "@@{}", "LOCAL {}", "@@local.{}"))
    sign = ":=" if pen.chance(0.1) else "="
    return f"{form.format(name)} {sign} {value}"


def set_variables(pen: Pen) -> list[Step]:
    items = [assignment(pen) for _ in range(pen.pick((1, 1, 1, 2, 3, 5)))]
    return [q("SET " + ", ".join(items))]


def set_mixed(pen: Pen) -> list[Step]:
    items = [
        assignment(pen),
        f"{pen.user_variable()} = {pen.value()}",
        pen.pick(("NAMES latin1", "autocommit = 1", "sql_mode = ''", "CHARACTER SET utf8mb4")),
    ]
    pen.rng.shuffle(items)
    return [q("SET " + ", ".join(items))]


def set_wrong(pen: Pen) -> list[Step]:
    return [
        q(
            pen.pick(
                (
                    "SET no_such_variable = 1", "SET sort_buffer_size = 'many'",
                    f"SET {assignment(pen)}, no_such_variable = 1",
                    f"SET {assignment(pen)}, sql_mode = 'NONSENSE'",
                    f"SET {pen.user_variable()} = 5, sql_mode = 'NONSENSE'",
                    f"SET {assignment(pen)}, time_zone = 'Nowhere/Never'",
                    "SET version = 'x'", "SET SESSION max_connections = 5", "SET NAMES nonsense",
                    "SET sql_mode = NULL", "SET autocommit = 7", "SET", "SET @a", "SET @a = ",
                    "SET time_zone = '+99:00'", "SET NAMES latin1 COLLATE utf8mb4_bin",
                    f"SET {pen.user_variable()} = (SELECT no_such_column)",
                    f"SET {pen.user_variable()} = 1, @b = (SELECT 1 FROM no_such_table)",
                    "SET character_set_client = utf16", "SET lc_time_names = 'xx_XX'",
                    "SET sort_buffer_size = 1", "SET join_buffer_size = 18446744073709551615",
                    "SET sort_buffer_size = -5", "SET div_precision_increment = 1000",
                )
            )
        )
    ]  # fmt: skip


def set_mode(pen: Pen) -> list[Step]:
    steps: list[Step] = [q(f"SET {pen.pick(('', 'SESSION '))}sql_mode = {pen.pick(MODES)}")]
    if pen.chance(0.7):
        steps.append(mode_probe(pen))
    return steps


def mode_probe(pen: Pen) -> Step:
    """Reads differently under ANSI_QUOTES, NO_BACKSLASH_ESCAPES, PIPES_AS_CONCAT ..."""
    t = pen.table()
    return q(
        pen.pick(
            (
                f'SELECT "v" FROM {t} ORDER BY id LIMIT 2', "SELECT 'a\\\\', 'b'", "SELECT 1 || 0",
                "SELECT 'it\\'s', 2", f'SELECT COUNT(*) FROM "{t}"',
                "SELECT NOT 1 BETWEEN -5 AND 5",
                "SELECT 'x\\', 'y', 'z'", 'SELECT "it\'s", 1', "SELECT CAST(0 AS UNSIGNED) - 1",
                'SELECT "a\\"b"', "SELECT COUNT (*) FROM (SELECT 1) x", "SELECT '\\\\\\'', 3",
                'SELECT "@a", \'@a\'', "SELECT 'a' -- \\' comment\n, 'b'", "SELECT 1/0, 5/3",
                "SELECT @@sql_mode",
            )
        )
    )  # fmt: skip


def set_names(pen: Pen) -> list[Step]:
    cs = pen.charset()
    step = q(
        pen.pick(
            (
                f"SET NAMES {cs}", f"SET NAMES '{cs}'", f"SET NAMES {cs} COLLATE {cs}_bin",
                "SET NAMES DEFAULT", f"SET CHARACTER SET {cs}", f"SET CHARSET '{cs}'",
                "SET CHARACTER SET DEFAULT", f"SET character_set_results = {cs}",
                "SET character_set_results = NULL", f"SET character_set_client = {cs}",
                f"SET character_set_connection = {cs}",
                f"SET collation_connection = {pen.collation()}",
                "SET @@session.character_set_results = @@character_set_client",
                "SET collation_connection = DEFAULT", "SET character_set_client = DEFAULT",
                "SET NAMES utf8mb4", "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
                "set names latin1",
                "SET NAMES binary", "SET NAMES utf8",
                "SET character_set_connection = @@character_set_server",
                "/* from a driver */ SET NAMES utf8mb4", "SET character_set_connection = 8",
            )
        )
    )  # fmt: skip
    return [step, charset_probe(pen)] if pen.chance(0.7) else [step]


def charset_probe(pen: Pen) -> Step:
    return pen.step(
        q("SELECT @@character_set_client, @@character_set_connection, @@character_set_results,"
          " @@collation_connection, CHARSET('x'), COLLATION('x')"),
        q("SELECT 'grüße', HEX('grüße'), LENGTH('é')"),
        q("SHOW SESSION VARIABLES LIKE 'character_set_%'"),
        q("SHOW VARIABLES LIKE 'collation%'"),
        # Where 0x5C is the second byte of a character, the string goes on.
        Query(b"SELECT '\xbf\\' , ' OR 1 -- '"),
        Query(b"SELECT '\x95\\', 1 -- '\n"),
        q(f"SELECT v, HEX(v) FROM {pen.table()} ORDER BY id LIMIT 3"),
        q("SELECT _latin1'x' = 'x', 'A' = 'a'"),
    )  # fmt: skip


def schema(pen: Pen) -> list[Step]:
    t = pen.table()
    step = pen.step(
            q("USE {db}1"), q("USE {db}2"), q("use `{db}1`;"), InitDb(b"{db}1"), InitDb(b"{db}2"),
            q("USE no_such_database"), InitDb(b"no_such_database"), InitDb(b""),
            q("USE information_schema"), InitDb(b"information_schema"), q("/* x */ USE {db}1"),
    )  # fmt: skip
    steps = [step]
    if pen.chance(0.8):
        steps.append(
            q(
                pen.pick(
                    (
                        "SELECT DATABASE(), SCHEMA()", f"SELECT COUNT(*), MIN(v) FROM {t}",
                        f"SHOW TABLES LIKE 't{pen.session:02}'",
                        f"SELECT v FROM {t} ORDER BY id LIMIT 1",
                        "SELECT @@character_set_database, @@collation_database",
                        f"INSERT INTO {t} (v, n) VALUES ('schema', 5)",
                    )
                )
            )
        )  # fmt: skip
    if pen.chance(0.85):
        steps.append(pen.step(q("USE {db}1"), InitDb(b"{db}1")))
    return steps


def own_database(pen: Pen) -> list[Step]:
    """A schema that goes away under the session."""
    name = f"{{db}}c{pen.session:02}"
    steps: list[Step] = [
        q(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET latin1"),
        q(f"USE {name}"),
        q("SELECT DATABASE(), @@character_set_database"),
        q("CREATE TABLE inside (a INT)"),
        q(f"DROP DATABASE {name}"),
        q("SELECT DATABASE()"),
        q("SELECT * FROM inside"),
        q("SELECT @@collation_database"),
        q("USE {db}1"),
    ]
    keep = pen.rng.randrange(2, len(steps))
    return steps[:keep] + steps[-1:]


def set_user_variables(pen: Pen) -> list[Step]:
    u = pen.user_variable
    t = pen.table()
    a = u()
    step = pen.pick(
        (
            f"SET {u()} = {pen.value()}", f"SET {u()} = {pen.value()}",
            f"SET {u()} := {pen.value()}", f"SET {u()} = {pen.value()}, {u()} = {pen.value()}",
            f"SELECT {a} := {pen.value()}", f"SELECT {a} := id FROM {t} ORDER BY id",
            f"SELECT id, {a} := {a} + 1 FROM {t} ORDER BY id", f"SELECT MAX(id) INTO {a} FROM {t}",
            f"SELECT {pen.value()}, {pen.value()} INTO {a}, {u()}",
            f"SELECT id, v INTO @a, @b FROM {t} WHERE id = 1",
            f"SELECT v INTO {a} FROM {t} WHERE id = -5", f"SELECT v INTO {a} FROM {t}",
            f"UPDATE {t} SET n = ({a} := COALESCE({a}, 0) + 1) WHERE id < 3",
            f"INSERT INTO {t} (v, n) VALUES ({a} := 'in insert', 3)",
            f"DO {a} := {pen.value()}", f"SET {a} = NULL", f"SET {a} = {a}",
            f"SELECT f_var({pen.small()})",
            f"INSERT INTO w{pen.session:02} (v) VALUES ({pen.word()})",
            f"DELETE FROM {t} WHERE ({a} := id) > 1000", f"SET {a} = (SELECT {pen.value()})",
            f"SELECT 1 WHERE ({a} := 5) IS NULL", f"SET {a} = {pen.value()} COLLATE utf8mb4_bin",
            f"SELECT @never_set, {a}", f"SET @@{'sql_mode'} = '', {a} = 1",
        )
    )  # fmt: skip
    steps: list[Step] = [q(step)]
    if pen.chance(0.7):
        steps.append(variable_probe(pen, a))
    return steps


def variable_probe(pen: Pen, name: str = "") -> Step:
    a = name or pen.user_variable()
    b = pen.user_variable()
    return q(
        pen.pick(
            (
                f"SELECT {a}, {b}", f"SELECT {a}, CHARSET({a}), COLLATION({a})",
                f"SELECT {a}, COERCIBILITY({a}), LENGTH({a})", "SELECT @a, @b, @c, @A, @`odd name`",
                f"SELECT {a} + 0, CONCAT({a}, '')", f"SELECT {a} IS NULL, HEX({a})",
                f"SELECT {a} / 3, {a} * 2", f"SELECT {a} = '1', {a} LIKE 'x%'",
                "SELECT @f, @trigger, @routine",
                f"SELECT v FROM {pen.table()} WHERE id = {a}",
            )
        )
    )  # fmt: skip


def probe(pen: Pen) -> list[Step]:
    """Ask for what was set, now or long ago."""
    readable = pen.readable
    names = pen.rng.sample(readable, 6)
    # Shown its own session_track_*, a session of MySQL is not told of the end of its transaction.
    before = [] if pen.mariadb else [q("COMMIT")]
    return [
        *before,
        pen.pick(
            (
                q("SELECT " + ", ".join(f"@@session.{name}" for name in names)),
                q("SELECT " + ", ".join(f"@@{name}" for name in names)),
                q("SHOW SESSION VARIABLES WHERE Variable_name IN ("
                  + ", ".join(f"'{name}'" for name in names) + ")"),
                q(f"SHOW VARIABLES WHERE Variable_name NOT IN ({unsteady()})"),
                q("SHOW VARIABLES LIKE '%buffer_size'"),
                q("SELECT @@autocommit, @@sql_mode, @@time_zone, DATABASE()"),
                q(f"SELECT @@{'tx' if pen.mariadb else 'transaction'}_isolation,"
                  f" @@{'tx' if pen.mariadb else 'transaction'}_read_only"),
                charset_probe(pen),
                variable_probe(pen),
                variable_probe(pen),
                mode_probe(pen),
                q("SELECT @@sql_select_limit, @@last_insert_id, @@identity"),
                q("SELECT USER(), CURRENT_USER(), @@global.sort_buffer_size"),
            )
        ),
    ]  # fmt: skip


def special_variables(pen: Pen) -> list[Step]:
    """Those that act once, or stand for more than their value."""
    t = pen.table()
    group = pen.pick(
        (
            ["SET timestamp = 1700000000.5", "SELECT NOW(6), UNIX_TIMESTAMP()",
             "SET timestamp = DEFAULT",
             "SELECT NOW() > '2025-01-01'"],
            ["SET insert_id = 5000", f"INSERT INTO {t} (v) VALUES ('given id')",
             "SELECT LAST_INSERT_ID()",
             f"DELETE FROM {t} WHERE id >= 5000", f"ALTER TABLE {t} AUTO_INCREMENT = 4"],
            ["SET last_insert_id = 77", "SELECT LAST_INSERT_ID(), @@identity"],
            ["SET identity = 78", "SELECT LAST_INSERT_ID(), @@last_insert_id"],
            ["SET rand_seed1 = 10, rand_seed2 = 20", "SELECT RAND(), RAND()"],
            ["SET sql_select_limit = 1", f"SELECT id FROM {t} ORDER BY id",
             "SELECT @@sql_select_limit",
             "SET sql_select_limit = DEFAULT"],
            [f"SET time_zone = '{pen.pick(('+05:30', '-03:00', 'SYSTEM', '+00:00'))}'",
             "SELECT FROM_UNIXTIME(0), @@time_zone"],
            ["SET SESSION sql_select_limit = 2", "SELECT 1 UNION SELECT 2 UNION SELECT 3",
             "SET sql_select_limit = 18446744073709551615"],
            ["SET div_precision_increment = 8", "SELECT 1/7",
             "SET div_precision_increment = DEFAULT"],
            ["SET group_concat_max_len = 4", "SELECT GROUP_CONCAT('abcdef')", "SHOW WARNINGS",
             "SET group_concat_max_len = DEFAULT"],
            ["SET SESSION auto_increment_increment = 10",
             f"INSERT INTO {t} (v) VALUES ('a'), ('b')",
             "SELECT LAST_INSERT_ID()", "SET SESSION auto_increment_increment = DEFAULT"],
            ["SET sql_safe_updates = 1", f"DELETE FROM {t}", "SET sql_safe_updates = 0"],
            ["SET lc_time_names = 'de_DE'", "SELECT DAYNAME('2024-02-29')"],
            ["SET profiling = 1", "SELECT 1", "SET profiling = 0"],
            ["SET STATEMENT sort_buffer_size = 100000 FOR SELECT @@sort_buffer_size",
             "SELECT @@sort_buffer_size"]
            if pen.mariadb else
            ["SELECT /*+ SET_VAR(sort_buffer_size = 100000) */ @@sort_buffer_size",
             "SELECT @@sort_buffer_size"],
            ["SET sql_auto_is_null = 1", f"INSERT INTO {t} (v) VALUES ('null')",
             f"SELECT id FROM {t} WHERE id IS NULL", "SET sql_auto_is_null = 0"],
            ["SET max_error_count = 1", "SELECT 1/0, CAST('x' AS SIGNED), CAST('y' AS SIGNED)",
             "SHOW WARNINGS",
             "SHOW COUNT(*) WARNINGS", "SET max_error_count = DEFAULT"],
            ["SET sql_notes = 0", "DROP TABLE IF EXISTS no_such_table", "SHOW WARNINGS",
             "SET sql_notes = 1"],
            ["SET default_storage_engine = MEMORY",
             f"CREATE TEMPORARY TABLE e{pen.session:02} (a INT)",
             f"SHOW CREATE TABLE e{pen.session:02}", f"DROP TEMPORARY TABLE e{pen.session:02}",
             "SET default_storage_engine = DEFAULT"],
            ["SET ROLE NONE", "SELECT CURRENT_ROLE()"],
            ["SET DEFAULT ROLE NONE" + ("" if pen.mariadb else " TO CURRENT_USER()")],
            ["SET foreign_key_checks = 0, unique_checks = 0",
             "SELECT @@foreign_key_checks, @@unique_checks",
             "SET foreign_key_checks = 1, unique_checks = 1"],
            ["SELECT CONNECTION_ID() = CONNECTION_ID()", "DO CONNECTION_ID()"],
        )
    )  # fmt: skip
    return [q(sql) for sql in group]


def tracking(pen: Pen) -> list[Step]:
    """The client's own session tracking; without the capability nothing may show."""
    variable = pen.pick(pen.variables)
    first = pen.pick(
        (
            "SET session_track_state_change = ON", "SET session_track_state_change = OFF",
            "SET session_track_schema = OFF", "SET session_track_schema = ON",
            "SET session_track_system_variables = ''",
            f"SET session_track_system_variables = '{variable.name},autocommit,sql_mode'",
            "SET session_track_system_variables = DEFAULT",
            "SET session_track_transaction_info = 'OFF'",
            "SET session_track_system_variables = 'no_such_variable'",
            "SELECT @@session_track_system_variables, @@session_track_schema,"
            " @@session_track_state_change, @@session_track_transaction_info",
            "SHOW VARIABLES LIKE 'session_track%'",
        )
    )  # fmt: skip
    more = (
        f"SET {variable.name} = {pen.pick(variable.values)}", "SET autocommit = 1", "USE {db}1",
        f"SET {pen.user_variable()} = 1", "BEGIN", "COMMIT", "SET NAMES utf8mb4", "SELECT 1",
        "SET time_zone = '+01:00'", f"SELECT COUNT(*) FROM {pen.table()}",
    )  # fmt: skip
    steps = [first, *(pen.pick(more) for _ in range(pen.rng.randrange(4)))]
    return [q(sql) for sql in steps]


def commands(pen: Pen) -> list[Step]:
    step: Step
    roll = pen.rng.random()
    if roll < 0.3:
        step = Command(b"\x0e")  # COM_PING
    elif roll < 0.55:
        step = Command(b"\x1b" + pen.pick((b"\x00\x00", b"\x01\x00")))  # COM_SET_OPTION
        probe_ = q("SELECT 1; SELECT @@autocommit")
        back = Command(b"\x1b\x00\x00") if Capability.MULTI_STATEMENTS in pen.capabilities else None
        return [step, probe_, back] if back else [step, probe_]
    elif roll < 0.7:
        pen.slots.clear()
        pen.sticky.clear()
        step = Command(b"\x1f")  # COM_RESET_CONNECTION
        return [step, q("SELECT DATABASE(), @a, @@autocommit, @@sql_mode, @@character_set_client")]
    elif roll < 0.85:
        pen.slots.clear()
        pen.sticky.clear()
        step = ChangeUser(pen.pick((b"{db}1", b"{db}1", b"{db}2", b"")), pen.pick((8, 45, 33, 28)))
        return [step, q("SELECT DATABASE(), @a, CHARSET('x')"), q("USE {db}1")]
    else:
        pen.slots.clear()
        pen.sticky.clear()
        return [Reconnect(), q("SELECT DATABASE(), @a, @@autocommit")]
    return [step]


PHRASES = {
    set_variables: 10, set_mixed: 3, set_wrong: 3, set_mode: 5, set_names: 6, schema: 5,
    own_database: 1, set_user_variables: 14, probe: 14, special_variables: 5, tracking: 2,
    commands: 4,
}  # fmt: skip
