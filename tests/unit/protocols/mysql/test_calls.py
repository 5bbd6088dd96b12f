# SPDX-License-Identifier: Apache-2.0
"""What is a call and what only looks like one."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.calls import Call, calls
from hproxy.protocols.mysql.lexer import ANSI_QUOTES, Kind, tokens

PUNCTUATED = {Kind.WORD, Kind.PUNCTUATION}


def found(sql: bytes, modes: int = 0) -> list[Call]:
    cut = tokens(sql, modes)
    words = [token.text.upper() if token.kind in PUNCTUATED else b"" for token in cut]
    return list(calls(cut, words, modes))


def routines(sql: bytes, modes: int = 0) -> list[bytes]:
    return [call.routine for call in found(sql, modes) if call.routine]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        (b"SELECT f(1)", [b"f"]),
        (b"SELECT f ( 1 )", [b"f"]),
        (b"SELECT a, f(g(1), h())", [b"f", b"g", b"h"]),
        (b"SELECT shop.f(1), a.b . c(2)", [b"shop.f", b"a.b.c"]),
        (b"SELECT `shop`.`my f`(1)", [b"`shop`.`my f`"]),
        (b"SELECT shop.abs(1)", [b"shop.abs"]),
        (b"SELECT `count`(1)", [b"`count`"]),
        (b"SELECT DISTINCT f(a) FROM t WHERE g(a) AND NOT h(a)", [b"f", b"g", b"h"]),
        (b"SELECT a FROM t WHERE b BETWEEN f(1) AND g(2) OR c LIKE h(3)", [b"f", b"g", b"h"]),
        (b"SELECT CASE f(1) WHEN g(2) THEN h(3) ELSE i(4) END", [b"f", b"g", b"h", b"i"]),
        (b"SELECT 1 FROM t ORDER BY f(a) LIMIT 1", [b"f"]),
        (b"SELECT a FROM t JOIN u ON f(a)", [b"f"]),
        (b"SELECT TRIM(LEADING f(1) FROM g(2)), EXTRACT(DAY FROM h(3))", [b"f", b"g", b"h"]),
        (b"SELECT a ESCAPE f(1), {fn g(1)}, -h(1), !i(1)", [b"f", b"g", b"h", b"i"]),
        (b"SELECT COUNT(DISTINCT f(a)) OVER (PARTITION BY g(a))", [b"f", b"g"]),
        (b"INSERT INTO t (a, b) VALUES (f(1), 2)", [b"f"]),
        (b"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = f(VALUES(a))", [b"f"]),
        (b"UPDATE t SET a = f(a), b = g(b)", [b"f", b"g"]),
        (b"DELETE FROM t RETURNING f(a)", [b"f"]),
        (b"EXECUTE s USING f(1)", [b"f"]),
        (b"SELECT 5 MOD f(2), {member g(1)}", [b"f", b"g"]),
        (b"KILL QUERY f(1)", [b"f"]),
        (b"SET @a = f(1)", [b"f"]),
        (b"DO f(1)", [b"f"]),
        (b"WITH x (a) AS (SELECT f(1)), y (b) AS (SELECT 2) SELECT g(a) FROM x", [b"f", b"g"]),
    ],
)
def test_calls(sql: bytes, names: list[bytes]) -> None:
    assert routines(sql) == names


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT COUNT(*), abs(1), `abs`(1), COALESCE(a, b), JSON_EXTRACT(j, '$')",
        b"INSERT INTO t (a) VALUES (1), (2)",
        b"INSERT t (a) VALUES (1)",
        b"INSERT IGNORE t(a) SELECT 1",
        b"INSERT LOW_PRIORITY INTO shop.t (a) VALUES ROW(1)",
        b"REPLACE `shop`.`t` (a) VALUES (1)",
        b"REPLACE DELAYED t (a) VALUES (1)",
        b"INSERT INTO t (a) VALUES (1) AS new (m) ON DUPLICATE KEY UPDATE a = m",
        b"LOAD DATA INFILE 'x' INTO TABLE t FIELDS TERMINATED BY ',' IGNORE 1 LINES (a, b)",
        b"LOAD DATA INFILE 'x' INTO TABLE t IGNORE 1 ROWS (a, b)",
        b"SELECT * FROM t PARTITION (p0, p1) USE INDEX (i) IGNORE INDEX FOR JOIN (j)",
        b"SELECT * FROM t JOIN u USING (id) WHERE a IN (1, 2) AND b = ANY (SELECT 1)",
        b"SELECT * FROM (SELECT 1) x (a), (SELECT 2) AS `y` (b)",
        b"SELECT * FROM a, LATERAL (SELECT a.x) AS l",
        b"WITH RECURSIVE x (a) AS (SELECT 1), y (b, c) AS (SELECT 2, 3) SELECT * FROM x, y",
        b"SELECT CAST(a AS CHAR(3)), CAST(a AS DECIMAL(10, 2)), CONVERT(a, DATETIME(6))",
        b"SELECT CAST(a AS VECTOR(3)), MATCH (a, b) AGAINST ('x'), a LIKE 'b' ESCAPE ('!')",
        b"SELECT * FROM JSON_TABLE(j, '$' COLUMNS (a VARCHAR(9) PATH '$', `b` text(5) PATH '$')) t",
        b"SELECT 1 MEMBER OF ('[1]'), SUM(a) OVER w FROM t WINDOW w AS (ORDER BY a), v AS (w)",
        b"SELECT RANK() OVER (ORDER BY a), PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a)",
        b"SELECT GROUP_CONCAT(a SEPARATOR ','), INTERVAL(1, 2), DATE_ADD(a, INTERVAL (1) DAY)",
        b"SELECT a FROM t WHERE t.a = u.b(+)",
        b"SELECT _utf8mb4'f(1)', 'g(1)', \"h(1)\" -- i(1)",
        b"SELECT * FROM t GROUP BY a WITH ROLLUP HAVING (a) AND (b)",
        b"SELECT 1 UNION (SELECT 2) EXCEPT (SELECT 3)",
        b"SELECT * FROM t FOR SYSTEM_TIME AS OF (NOW())",
        b"SELECT * FROM t TABLESAMPLE SYSTEM (10)",
        b"SELECT (",
        b"",
    ],
)
def test_no_calls(sql: bytes) -> None:
    assert routines(sql) == []


def test_quotes_follow_the_mode() -> None:
    assert routines(b'SELECT "f"(1)', ANSI_QUOTES) == [b'"f"']
    assert routines(b'SELECT "f"(1)') == []


def test_names_and_arguments() -> None:
    assert found(b"SELECT Last_Insert_Id(), last_insert_id(5)") == [
        Call(b"LAST_INSERT_ID", b"", False),
        Call(b"LAST_INSERT_ID", b"", True),
    ]


def test_a_sequence_is_named_and_not_quoted_like_a_string() -> None:
    """MariaDB's sequences; elsewhere people write functions of these names."""
    assert found(b"SELECT nextval(s), SETVAL(`s`, 1)") == [
        Call(b"NEXTVAL", b"", True, True),
        Call(b"SETVAL", b"", True, True),
    ]
    assert routines(b"SELECT nextval('s'), shop.nextval(s)") == [b"nextval", b"shop.nextval"]
