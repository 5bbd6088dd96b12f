# SPDX-License-Identifier: Apache-2.0
"""Phrases about prepared statements, those of the text protocol and those of the binary one."""

from __future__ import annotations

from tests.torture.pen import BOUND, STRINGS, Pen, q
from tests.torture.phrases_data import change, read
from tests.torture.step import Close, Execute, Fetch, LongData, Prepare, Query, Reset, Step

__all__ = ["PHRASES"]

NAMES = ("s1", "s2", "`odd name`", "S1")


def statements(pen: Pen, slot: int) -> tuple[tuple[str, int], ...]:
    """Texts and how many parameters they have."""
    # Where MySQL wants a number it looks at the first string a connection has of it.
    wanted = "v" if slot % len(BOUND) == STRINGS and not pen.mariadb else "n"
    t, w, k = pen.table(), pen.table("w"), pen.table("k")
    u = pen.user_variable()
    # MySQL reads a text again, in the character set of then, for values of another class; and
    # tells of the class a connection had first.
    letter = "ü" if pen.mariadb else "u"
    classes = "SELECT ?, ?, ?" if pen.mariadb else "SELECT LENGTH(CONCAT(?, ?, ?))"
    users = "SELECT @a, @b, ?" if pen.mariadb else "SELECT LENGTH(CONCAT('a', ?))"
    return (
        (f"SELECT * FROM {t} WHERE id = ?", 1), (f"INSERT INTO {t} (v, n) VALUES (?, ?)", 2),
        (classes, 3),
        (f"UPDATE {t} SET n = n + ? WHERE id <= ?", 2), (f"DELETE FROM {t} WHERE id > ? + 30", 1),
        ("SELECT 1", 0), (f"SET {u} = ?", 1),
        (f"SELECT id, v FROM {t} WHERE {wanted} > ? ORDER BY id", 1),
        ("SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()", 0), ("DO ?", 1),
        ("CALL p_plain(?)", 1), ("CALL p_var(?)", 1), (f"SELECT {u} := ?", 1), ("BEGIN", 0),
        ("COMMIT", 0), (f"INSERT INTO {w} (v) VALUES (?)", 1),
        ("SELECT DATABASE(), @@sql_mode, @@autocommit", 0), ("SELECT CAST(? AS SIGNED), 1/0", 1),
        (f"SELECT * FROM {k} ORDER BY id", 0),
        ("SET SESSION sort_buffer_size = ?", 1), ("SELECT ? + 1, CONCAT(?, 'x')", 2),
        (f"SELECT COUNT(*), SUM(n) FROM {t}", 0), ("SHOW WARNINGS", 0),
        ("SELECT * FROM no_such_table", 0), ("SELEC ?", 1), ("CALL p_out(?, ?, ?)", 3),
        ("USE {db}2", 0), ("SET NAMES latin1", 0), (f"SELECT '{letter}', HEX(?)", 1),
        (f"SELECT v FROM {t} ORDER BY id LIMIT ?", 1), ("SELECT f_var(?)", 1),
        (f"CREATE TEMPORARY TABLE tmp{pen.session:02} (a INT)", 0),
        (f"DROP TEMPORARY TABLE IF EXISTS tmp{pen.session:02}", 0), (users, 1),
        ("SET autocommit = 1", 0), (f"SELECT SQL_CALC_FOUND_ROWS id FROM {t} LIMIT ?", 1),
        ("SELECT 1; SELECT 2", 0), ("SELECT GET_LOCK(CONCAT('{db}" + f"{pen.session:02}', ?), 0)",
        1), ("DO RELEASE_ALL_LOCKS()", 0), (f"REPLACE INTO {t} (id, v) VALUES (?, ?)", 2),
        ("SELECT \"x\", 'a\\\\'", 0), ("PREPARE x FROM 'SELECT 1'", 0),
        (f"SELECT id INTO @a FROM {t} LIMIT ?", 1), ("ROLLBACK", 0),
    )  # fmt: skip


def binary(pen: Pen) -> list[Step]:
    slot = pen.rng.randrange(6)
    sql, count = pen.pick(statements(pen, slot))
    steps: list[Step] = [Prepare(slot, sql.encode())]
    pen.slots[slot] = count
    if "GET_LOCK" in sql:
        pen.sticky.add("lock")
    if "CREATE TEMPORARY" in sql:
        pen.sticky.add("temporary")
    steps += [_execute(pen, slot) for _ in range(pen.rng.randrange(4))]
    if pen.chance(0.3):
        steps.append(Close(slot))
        pen.slots.pop(slot, None)
    return steps


def again(pen: Pen) -> list[Step]:
    """A statement prepared a while ago."""
    slot = pen.slot()
    steps: list[Step] = [_execute(pen, slot) for _ in range(pen.rng.randrange(1, 4))]
    if pen.chance(0.3):
        steps.insert(
            0,
            pen.pick(
                (
                    q("USE {db}1"),
                    q("USE {db}2"),
                    q(change(pen)),
                    q("SET NAMES utf8mb4"),
                    q("SET sql_mode = ''"),
                )
            ),
        )
    if pen.chance(0.1):
        steps.append(Reset(slot))
    if pen.chance(0.15):
        steps.append(Close(slot))
        pen.slots.pop(slot, None)
        if pen.chance(0.3):
            steps.append(Execute(slot))
    return steps


def _execute(pen: Pen, slot: int, flags: int = 0) -> Execute:
    count = pen.slots.get(slot, 0)
    # Types left as they were bound: values of those types, else nobody can read them. Servers
    # take them from the last execution, which the script does not know: rebind nearly always.
    return Execute(slot, tuple(pen.bound(slot) for _ in range(count)), flags)


def repeated(pen: Pen) -> list[Step]:
    """Bound once, executed again without types, as libmariadb and others do."""
    slot = pen.rng.randrange(6)
    t = pen.table()
    sql, values = pen.pick(
        (
            (f"INSERT INTO {t} (v, n) VALUES (?, ?)", ((b"x", 1), (b"yyy", 2), (None, 3),
            (b"zzzzz", None))),
            (f"SELECT * FROM {t} WHERE id = ?", ((1,), (2,), (None,), (100,))),
            ("SELECT LENGTH(CONCAT(?, ?, ?))", ((1, b"a", 1.5), (2, b"bbb", -1.5),
            (None, None, None))),
            (f"UPDATE {t} SET n = ? WHERE id = ?", ((5, 1), (6, 2))),
        )
    )  # fmt: skip
    steps: list[Step] = [Prepare(slot, sql.encode())]
    pen.slots[slot] = sql.count("?")
    for i, row in enumerate(values):
        steps.append(Execute(slot, row, 0, i == 0))
        if pen.chance(0.2):
            steps.append(q(pen.pick(("SELECT 1", "SET @a = 3", f"SELECT COUNT(*) FROM {t}"))))
    steps.append(q(f"DELETE FROM {t} WHERE id > 30"))
    return steps + _done_with(pen, slot)


def long_data(pen: Pen) -> list[Step]:
    slot = pen.rng.randrange(6)
    sql = pen.pick(("SELECT LENGTH(?), MD5(?)", f"INSERT INTO {pen.table()} (v, n) VALUES (?, ?)"))
    steps: list[Step] = [Prepare(slot, sql.encode())]
    pen.slots[slot] = 2
    steps += [
        LongData(slot, 0, pen.pick((b"a" * 10, b"b" * 5000, b"")))
        for _ in range(pen.rng.randrange(1, 4))
    ]
    between = pen.rng.random()
    if between < 0.2:
        steps.append(Reset(slot))
        steps.append(Execute(slot, (b"x", 2)))
    elif between < 0.4:
        steps.append(q(read(pen)))
        steps.append(Execute(slot, (b"", 1), long=frozenset({0})))
    else:
        steps.append(Execute(slot, (b"", 1), long=frozenset({0})))
    if pen.chance(0.5):
        steps.append(Execute(slot, (b"after", 3)))
    if pen.chance(0.2):
        steps += [LongData(slot, 7, b"x"), Execute(slot, (b"x", 1)), Execute(slot, (b"x", 1))]
    return steps + _done_with(pen, slot)


def _done_with(pen: Pen, slot: int) -> list[Step]:
    """Nobody binds values of other classes to it (`Pen.bound`)."""
    if pen.mariadb:
        return []
    pen.slots.pop(slot, None)
    return [Close(slot)]


def cursor(pen: Pen) -> list[Step]:
    slot = pen.rng.randrange(6)
    t = pen.table()
    sql = pen.pick(
        (
            f"SELECT id, v FROM {t} ORDER BY id",
            f"SELECT a.id, b.id FROM {t} a, {t} b ORDER BY 1, 2 LIMIT 50",
            "SELECT 1",
            "DO 1",
        )
    )
    steps: list[Step] = [Prepare(slot, sql.encode()), Execute(slot, (), 1)]
    pen.slots[slot] = 0
    for _ in range(pen.rng.randrange(4)):
        steps.append(Fetch(slot, pen.pick((0, 1, 2, 5, 100))))
        if pen.chance(0.3):
            steps.append(q(pen.pick((read(pen), change(pen), "SELECT @a", "COMMIT", "SET @a = 4"))))
    end = pen.rng.random()
    if not pen.mariadb or end < 0.4:
        # MySQL answers what nobody can read when a statement that had a cursor is executed without.
        steps.append(Close(slot))
        pen.slots.pop(slot, None)
    elif end < 0.8:
        steps.append(Reset(slot))
    else:
        steps += [Execute(slot, (), 0), Fetch(slot, 1), q("DO 0"), Reset(slot)]
    return steps


def refused(pen: Pen) -> list[Step]:
    """Ids that are not there, an empty text."""
    none = 40
    among = (Execute(none), Reset(none), Reset(pen.slot()), Close(none), Prepare(5, b""))
    return [pen.step(*among), q("DO 0")]


def text(pen: Pen) -> list[Step]:
    """PREPARE, EXECUTE, DEALLOCATE."""
    t = pen.table()
    name = pen.pick(NAMES)
    source = pen.pick(
        (
            ("'SELECT 1'", ""), ("'SELECT ? + 1'", " USING @a"),
            (f"'SELECT v FROM {t} WHERE id = ?'", " USING @b"), ("CONCAT('SELECT ', '2')", ""),
            (f"'INSERT INTO {t} (v) VALUES (?)'", " USING @a"), ("'SET @a = ?'", " USING @b"),
            ("@source", ""), ("'SELEC 1'", ""), ("'SELECT @a, DATABASE()'", ""),
            ("'SET SESSION sql_mode = ?'", " USING @mode"), ("'BEGIN'", ""), ("'COMMIT'", ""),
            ("'SELECT ?, ?'", " USING @a, @b"), ("'SELECT ''quoted'', 1/0'", ""),
            (f"'CREATE TEMPORARY TABLE IF NOT EXISTS tmp{pen.session:02} (a INT)'", ""),
            (f"'DROP TEMPORARY TABLE IF EXISTS tmp{pen.session:02}'", ""),
            ("'SET autocommit = 0'", ""), ("'SET autocommit = 1'", ""), ("'SET NAMES latin1'", ""),
            ("'USE {db}2'", ""), ("'CALL p_var(?)'", " USING @a"),
            ("'SELECT LAST_INSERT_ID(), ROW_COUNT()'", ""),
            (f"'SELECT * FROM {t} ORDER BY id LIMIT ?'", " USING @limit"),
        )
    )  # fmt: skip
    if "CREATE TEMPORARY" in source[0]:
        pen.sticky.add("temporary")
    steps = [f"PREPARE {name} FROM {source[0]}"]
    if pen.chance(0.3):
        steps.insert(
            0,
            pen.pick(
                (
                    "SET @source = 'SELECT ''from variable'''",
                    "SET @mode = 'ANSI_QUOTES'",
                    "SET @limit = 2",
                )
            ),
        )
    steps += [
        f"EXECUTE {pen.pick(NAMES) if pen.chance(0.3) else name}{source[1]}"
        for _ in range(pen.rng.randrange(3))
    ]
    if pen.chance(0.4):
        steps.append(pen.pick((f"DEALLOCATE PREPARE {name}", f"DROP PREPARE {name}")))
    if pen.chance(0.2):
        steps.append(
            pen.pick(
                (
                    "EXECUTE s1",
                    "EXECUTE s2 USING @a",
                    "SELECT @a",
                    "DEALLOCATE PREPARE no_such_statement",
                )
            )
        )
    return [q(sql) for sql in steps]


def text_again(pen: Pen) -> list[Step]:
    name = pen.pick(NAMES)
    return [q(f"EXECUTE {name}{pen.pick(('', '', ' USING @a', ' USING @a, @b'))}")]


def stale(pen: Pen) -> list[Step]:
    """The table changes between prepare and execute."""
    slot = pen.rng.randrange(6)
    c = f"c{pen.session:02}"
    pen.slots[slot] = 0
    steps: list[Step] = [
        q(f"CREATE TABLE IF NOT EXISTS {c} (a INT)"), q(f"INSERT INTO {c} VALUES (1)"),
        Prepare(slot, f"SELECT * FROM {c}".encode()), Execute(slot),
        q(f"ALTER TABLE {c} ADD COLUMN b INT DEFAULT 3"), Execute(slot),
        q(f"ALTER TABLE {c} MODIFY a VARCHAR(20)"), Execute(slot),
        q(f"DROP TABLE {c}"), Execute(slot), Close(slot),
    ]  # fmt: skip
    pen.slots.pop(slot, None)
    return [
        step
        for step in steps
        if not (isinstance(step, Query) and step.sql.startswith(b"ALTER") and pen.chance(0.4))
    ]


PHRASES = {
    binary: 10,
    again: 10,
    repeated: 4,
    long_data: 3,
    cursor: 4,
    refused: 1,
    text: 8,
    text_again: 4,
    stale: 1,
}


def close_all(pen: Pen) -> list[Step]:
    """Whatever the session has prepared in the binary protocol."""
    slots = sorted(pen.slots)
    pen.slots.clear()
    return [Close(slot) for slot in slots]
