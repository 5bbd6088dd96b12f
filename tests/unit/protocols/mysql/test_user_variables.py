# SPDX-License-Identifier: Apache-2.0
"""User variables from literals and from answers; the servers' answers were recorded."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.settings import DEFAULT_CHARSET, NULL_OF
from hproxy.protocols.mysql.user_variables import (
    COLUMNS,
    can_be_named,
    expression,
    question,
    read_back,
    string_of,
    well_formed,
)
from hproxy.protocols.mysql.variables import Value, ValueKind

NUMBER, STRING, WORD = ValueKind.NUMBER, ValueKind.STRING, ValueKind.WORD


@pytest.mark.parametrize(
    ("kind", "text", "made"),
    [
        (NUMBER, b"5", b"5"),
        (NUMBER, b"-1.50", b"-1.50"),
        (NUMBER, b"1e-5", b"1e-5"),
        (NUMBER, b"0x41", b"0x41"),
        (NUMBER, b"+5", None),
        (WORD, b"true", b"1"),
        (WORD, b"FALSE", b"0"),
        (WORD, b"NULL", None),
        (WORD, b"foo", None),
        (STRING, b"'abc'", b"_utf8mb4 x'616263' COLLATE utf8mb4_general_ci"),
        (STRING, b"x'4142'", b"x'4142'"),
        (STRING, b"'it''s'", None),
        (STRING, b"'a\\n'", None),
        (STRING, b"'\xc3\xa9'", None),
        (STRING, b'"abc"', None),
        (STRING, b"N'abc'", None),
        (ValueKind.EXPRESSION, b"1 + 1", None),
        (ValueKind.DEFAULT, b"", None),
    ],
)
def test_literals(kind: ValueKind, text: bytes, made: bytes | None) -> None:
    assert expression(Value(kind, text), DEFAULT_CHARSET) == made


def test_a_literal_is_of_the_collation_of_the_connection() -> None:
    value = Value(STRING, b"'a'")
    binary = DEFAULT_CHARSET._replace(collation=b"binary")
    assert expression(value, binary) == b"_binary x'61'"
    assert expression(value, DEFAULT_CHARSET._replace(collation=b"utf16_bin")) is None


Recorded = list[tuple[list[bytes | None], bytes | None]]

MARIADB: Recorded = [
    ([b"INT", None, b"binary", b"binary", b"-5", b"-5"], b"-5"),
    ([b"INT UNSIGNED", None, b"binary", b"binary", b"5", b"5"], b"CAST(5 AS UNSIGNED)"),
    ([b"DECIMAL", None, b"binary", b"binary", b"5", b"5"], b"5."),
    ([b"DOUBLE", None, b"binary", b"binary", b"1", b"1"], b"1e0"),
    ([b"DOUBLE", None, b"binary", b"binary", b"1.5e300", b"1.5e300"], b"1.5e300"),
    ([b"VARCHAR", None, b"binary", b"binary", b"AB", b"AB"], b"_binary x'4142'"),
    ([b"VARCHAR", None, b"latin1", b"latin1_bin", "é".encode(), b"\xe9"],
     b"_latin1 x'e9' COLLATE latin1_bin"),
    ([b"DOUBLE", None, b"binary", b"binary", None, None], NULL_OF + b"1e0"),
    ([b"VARCHAR", None, b"binary", b"binary", None, None], NULL_OF + b"_binary x''"),
    ([None, None, b"binary", b"binary", None, None], None),
]  # fmt: skip
MYSQL: Recorded = [
    ([b"INTEGER", b"DECIMAL", b"binary", b"binary", b"5", b"5"], b"5"),
    ([b"DECIMAL", b"UNSIGNED INTEGER", b"binary", b"binary", b"5", b"5"], b"CAST(5 AS UNSIGNED)"),
    ([b"DECIMAL", b"DECIMAL", b"binary", b"binary", b"1.50", b"1.50"], b"1.50"),
    ([b"DOUBLE", b"DOUBLE", b"binary", b"binary", b"0.1", b"0.1"], b"0.1e0"),
    ([b"STRING", b"STRING", b"utf8mb4", b"utf8mb4_bin", b"a", b"a"],
     b"_utf8mb4 x'61' COLLATE utf8mb4_bin"),
    ([b"BLOB", b"BLOB", b"utf16", b"utf16_general_ci", b"a", b"\0a"],
     b"_utf16 x'0061' COLLATE utf16_general_ci"),
    ([b"INTEGER", b"UNSIGNED INTEGER", b"binary", b"binary", None, None], None),
]  # fmt: skip


@pytest.mark.parametrize(("row", "made"), MARIADB + MYSQL)
def test_read_back(row: list[bytes | None], made: bytes | None) -> None:
    assert len(row) == COLUMNS
    assert read_back(row) == made


@pytest.mark.parametrize(
    ("made", "fine"),
    [
        (b"7", True),
        (b"_utf8mb3 x'c3bc' COLLATE utf8mb3_bin", True),
        (b"_utf8mb3 x'f09f9098' COLLATE utf8mb3_bin", False),
        (b"_utf8mb4 x'f09f9098' COLLATE utf8mb4_bin", True),
        (b"NULL OF _utf8mb4 x''", True),
        (b"_utf8mb4 x'ff' COLLATE utf8mb4_bin", False),
        (b"_latin1 x'ff' COLLATE latin1_bin", True),
        (b"_ascii x'ff' COLLATE ascii_bin", False),
    ],
)
def test_strings_that_servers_refuse(made: bytes, fine: bool) -> None:
    assert well_formed(made) is fine


def test_questions_quote_names() -> None:
    assert b"@`it``s`" in question([b"it`s"], mariadb=False)
    assert b"VARIABLE_NAME=_utf8mb4 x'612762'" in question([b"a'b"], mariadb=True)
    assert question([b"a", b"b"], mariadb=True).endswith(b" LIMIT 1")


def test_names_that_servers_would_confuse() -> None:
    assert can_be_named(b"c d")
    assert not can_be_named("é".encode())
    assert not can_be_named(b"x" * 65)


@pytest.mark.parametrize(
    ("made", "client", "text"),
    [
        (b"_utf8mb4 x'61' COLLATE utf8mb4_bin", b"latin1", b"a"),
        (b"_latin1 x'e9' COLLATE latin1_bin", b"latin1", b"\xe9"),
        (b"_latin1 x'e9' COLLATE latin1_bin", b"utf8mb4", None),
        (b"_utf16 x'0061' COLLATE utf16_bin", b"utf8mb4", None),
        (b"5", b"utf8mb4", None),
        (NULL_OF + b"_binary x''", b"utf8mb4", None),
    ],
)
def test_text_for_prepare(made: bytes, client: bytes, text: bytes | None) -> None:
    assert string_of(made, client) == text
