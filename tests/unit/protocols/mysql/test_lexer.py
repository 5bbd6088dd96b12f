# SPDX-License-Identifier: Apache-2.0
"""Where tokens begin and end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.lexer import (
    ANSI_QUOTES,
    BIG5,
    GB18030,
    GBK,
    NO_BACKSLASH_ESCAPES,
    SAFE,
    SJIS,
    Kind,
    family,
    name,
    tokens,
)

MODES = [quotes | group for quotes in range(4) for group in (SAFE, GBK, SJIS, BIG5, GB18030)]
FAMILIES = [GBK, SJIS, BIG5, GB18030]

LETTERS = {
    Kind.WORD: "w",
    Kind.QUOTED: "q",
    Kind.STRING: "s",
    Kind.NUMBER: "n",
    Kind.USER_VARIABLE: "u",
    Kind.SYSTEM_VARIABLE: "y",
    Kind.PARAMETER: "?",
    Kind.PUNCTUATION: ".",
    Kind.HINT: "h",
}


def cut(sql: bytes, modes: int = 0) -> list[bytes]:
    return [token.text for token in tokens(sql, modes)]


def kinds(sql: bytes, modes: int = 0) -> str:
    """One letter for each token."""
    return "".join(LETTERS[token.kind] for token in tokens(sql, modes))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"", ""),
        (b" \t\n\v\f\r", ""),
        (b"SELECT c FROM sbtest1 WHERE id=5046", "wwwwww.n"),
        (b"N'a' n'a' x'41' X'41' b'01' B'01' 'a' \"a\"", "ssssssss"),
        (b"_utf8mb4'a' _binary x'41' N 'a' x\"41\"", "wswswsws"),
        (b"'it''s' 'it\\'s' '\\\\' \"a\"\"b\" \"a\\\"b\"", "sssss"),
        (b"`a` `a``b` `a\\` db.`t`", "qqqw.q"),
        (b"1 1.5 1. .5 1e5 1E+5 1.5e-3 .5e3 0x1F 0b01", "nnnnnnnnnn"),
        (b"1a 1e 0x 0xg 0X1F 0b 0b2 0b1e5 \xc3\xa9 $1 _", "wwwwwwwwwww"),
        (b"1e5abc 1.5abc 1..5 1.e", "nwnwnnnw"),
        (b"t.1a t.1e5 t.0x41 t.x'41' t.5.6", "w.ww.ww.ww.wsw.w.w"),
        (b"t. 5 t .5 `t`.5 `t`.a", "w.nwnqnq.w"),
        (b"@a @a.b @$1 @_ @'a b' @\"a\" @`a``b` @", "uuuuuuuu"),
        (b"@ a @ 'a'", "uwus"),
        (b"root@localhost 'a'@'%'", "wusu"),
        (b"@@a @@session.a @@`a` @@a.b.c @@ @@.a", "yyyyyy.w"),
        (b"? a=? 'a'?", "?w.?s?"),
        (b"/*+ a */ /*+ a", "hh"),
        (b"a -- b\nc --\td\n# e\nf --\x01\ng", "wwww"),
        (b"a--b - -1 --", "w..w..n"),
        (b"a /* b ' */ c /**/ d /*/ */ e /* /* */ f /***/ g /* h", "wwwwww"),
        (b"/*M a */ b /* ! c */", "w"),
    ],
)
def test_kinds(sql: bytes, expected: str) -> None:
    assert kinds(sql) == expected


OPERATORS = (
    b"<=> <= >= <> != << >> && || := -> ->> = < > ! & | : - + * / % ^ ~ ( ) , ; . { } [ ] \\"
)


@pytest.mark.parametrize("operator", OPERATORS.split())
def test_an_operator_is_one_token(operator: bytes) -> None:
    assert cut(b"a%bb" % operator) == [b"a", operator, b"b"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"<=>=", [b"<=>", b"="]),
        (b"->>>", [b"->>", b">"]),
        (b"a=-1", [b"a", b"=", b"-", b"1"]),
        (b"--1", [b"-", b"-", b"1"]),
        (b"|||", [b"||", b"|"]),
        (b"*/", [b"*", b"/"]),
        (b"\0\\", [b"\0", b"\\"]),
    ],
)
def test_operators_side_by_side(sql: bytes, expected: list[bytes]) -> None:
    assert cut(sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"/*!40101 SET NAMES utf8 */;", b"SET NAMES utf8 ;"),
        (b"a /*! b */ c", b"a b c"),
        (b"/*!50110b*/", b"b"),
        (b"/*!100100 b*/", b"b"),
        (b"/*!1234 b*/", b"1234 b"),
        (b"/*M!100100 b */ /*M! c*/", b"b c"),
        (b"/*! a '*/' b */ c */", b"a '*/' b c * /"),
        (b"/*! a /* b */ c */ d */", b"a c d * /"),
        (b"/*! a /*! b */ c */", b"a b c * /"),
        (b"/*! a # b */ c\n d */ e", b"a d e"),
        (b"/*!50110 open", b"open"),
    ],
)
def test_code_in_comments(sql: bytes, expected: bytes) -> None:
    assert b" ".join(cut(sql)) == expected


@pytest.mark.parametrize(
    "sql", [b"'a", b'"a', b"`a", b"'a''", b"'a\\'", b"'a\\", b"@'a", b"/*+ a*"]
)
def test_what_is_not_closed_reaches_to_the_end(sql: bytes) -> None:
    assert cut(b"x " + sql) == [b"x", sql]


def test_modes_decide_about_double_quotes() -> None:
    assert kinds(b'"a" "a""b" @"a" @@"a"."b"', ANSI_QUOTES) == "qquy"
    assert cut(b'"a\\" b', ANSI_QUOTES) == [b'"a\\"', b"b"]
    assert kinds(b'@@"a"') == "ys"


def test_modes_decide_about_backslashes() -> None:
    assert cut(b"'a\\' b", NO_BACKSLASH_ESCAPES) == [b"'a\\'", b"b"]
    assert cut(b'"a\\" b', NO_BACKSLASH_ESCAPES) == [b'"a\\"', b"b"]
    assert cut(b"@'a\\' b", NO_BACKSLASH_ESCAPES) == [b"@'a\\'", b"b"]


@pytest.mark.parametrize("modes", FAMILIES)
def test_a_second_byte_is_no_character_of_its_own(modes: int) -> None:
    assert cut(b"'\xe0\\' b", modes) == [b"'\xe0\\'", b"b"]
    assert cut(b"`\xe0`` b", modes) == [b"`\xe0``", b"b"]
    assert cut(b"\xe0\\\xe0`\xe0| b", modes) == [b"\xe0\\\xe0`\xe0|", b"b"]
    # Not so where it is none, behind a backslash, or in a safe character set.
    assert cut(b"'\xe0' b", modes) == [b"'\xe0'", b"b"]
    assert cut(b"'\\\xe0\\' b", modes) == [b"'\\\xe0\\' b"]
    assert cut(b"'\xe0\\' b") == [b"'\xe0\\' b"]


@pytest.mark.parametrize(
    ("modes", "lead", "trail", "whole"),
    [
        (GBK, 0x81, 0x5C, True),
        (GBK, 0x80, 0x5C, False),
        (GBK, 0xFE, 0x5C, True),
        (GBK, 0xFF, 0x5C, False),
        (SJIS, 0x9F, 0x5C, True),
        (SJIS, 0xA0, 0x5C, False),
        (SJIS, 0xDF, 0x5C, False),
        (SJIS, 0xE0, 0x5C, True),
        (SJIS, 0xFC, 0x5C, True),
        (SJIS, 0xFD, 0x5C, False),
        (BIG5, 0xA0, 0x5C, False),
        (BIG5, 0xA1, 0x5C, True),
        (BIG5, 0xF9, 0x5C, True),
        (BIG5, 0xFA, 0x5C, False),
        (GB18030, 0x81, 0x5C, True),
        (GB18030, 0x80, 0x5C, False),
    ],
)
def test_lead_bytes(modes: int, lead: int, trail: int, whole: bool) -> None:
    sql = b"'%c%c'" % (lead, trail)
    assert cut(sql + b" b'", modes) == ([sql, b"b'"] if whole else [sql + b" b'"])


def test_four_bytes_of_gb18030() -> None:
    # The third byte would be a lead byte otherwise, and take the backslash.
    assert cut(b"'\x81\x30\x81\x30\\' b", GB18030) == [b"'\x81\x30\x81\x30\\' b"]
    assert cut(b"'\x81\x30\x81\\' b", GB18030) == [b"'\x81\x30\x81\\'", b"b"]


def test_family() -> None:
    assert family(b"gbk") == GBK
    assert family(b"CP932") == family(b"sjis") == SJIS
    assert family(b"big5") == BIG5
    assert family(b"gb18030") == GB18030
    assert family(b"utf8mb4") == family(b"latin1") == family(b"euckr") == SAFE


@pytest.mark.parametrize(
    ("sql", "modes", "expected"),
    [
        (b"Name", 0, b"Name"),
        (b"`Na``me`", 0, b"Na`me"),
        (b"`open", 0, b"open"),
        (b'"Na""me"', ANSI_QUOTES, b'Na"me'),
        (b"@Name.X", 0, b"name.x"),
        (b"@", 0, b""),
        (b"@'a''b\\'c\\n\\%'", 0, b"a'b'c\n\\%"),
        (b"@'a\\n'", NO_BACKSLASH_ESCAPES, b"a\\n"),
        (b'@"a""B\\""', 0, b'a"b"'),
        (b'@"a\\n"', ANSI_QUOTES, b"a\\n"),
        (b"@`A``b`", 0, b"a`b"),
        (b"@'\xe0\\\\n'", GBK, b"\xe0\\\n"),
        (b"@@Sql_Mode", 0, b"sql_mode"),
        (b"@@SESSION.sql_mode", 0, b"session.sql_mode"),
        (b"@@`session`.`a.b`", 0, b"session.a.b"),
        (b"@@", 0, b""),
    ],
)
def test_name(sql: bytes, modes: int, expected: bytes) -> None:
    [token] = tokens(sql, modes)
    assert name(token, modes) == expected


PIECES = [
    *[b"'", b'"', b"`", b"\\", b"\\'", b"/*", b"/*!", b"/*!50110", b"/*M!", b"/*+", b"*/", b"--"],
    *[b"@", b"@@", b".", b"?", b"#", b"\n", b" ", b"-", b"0", b"x", b"b", b"e", b"1", b"N", b"ab"],
    *[b"\x81", b"\xe0", b"\xff", b"0x", b"<", b"=", b">", b"&", b"|", b":", b"\0", b";", b"+"],
]
SQL = st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join) | st.binary(max_size=60)


@given(SQL, st.sampled_from(MODES))
def test_tokens_are_pieces_of_the_text(sql: bytes, modes: int) -> None:
    found = tokens(sql, modes)
    assert all(token.text == sql[token.start : token.end] for token in found)
    assert all(token.end > token.start for token in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    for token in found:
        name(token, modes)


@given(SQL, st.sampled_from(MODES))
def test_only_comments_and_space_are_left_out(sql: bytes, modes: int) -> None:
    end = 0
    for token in [*tokens(sql, modes), None]:
        gap = sql[end : token.start if token else len(sql)]
        assert not gap.strip() or gap.lstrip().startswith((b"#", b"--", b"/*", b"*/"))
        end = token.end if token else 0


@pytest.mark.parametrize("sql", [b"'" * 100_001, b"`a" * 50_000, b"/*" * 50_000, b"1." * 50_000])
def test_no_text_takes_long(sql: bytes) -> None:
    """Linear: what went back and forth would take minutes here."""
    assert tokens(sql, GBK) == tokens(sql)
