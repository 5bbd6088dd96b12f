# SPDX-License-Identifier: Apache-2.0
"""Settings are one object per content, and replay is the shortest exact way between two."""

from __future__ import annotations

import gc

import pytest

from hproxy.protocols.mysql import settings
from hproxy.protocols.mysql.lexer import ANSI_QUOTES, GBK, NO_BACKSLASH_ESCAPES
from hproxy.protocols.mysql.settings import (
    DEFAULT_CHARSET,
    NULL_OF,
    Charset,
    Prepared,
    Settings,
    charset_of,
    lex_modes,
    literal,
    quoted,
    replay,
)

PLAIN = Settings.make(b"shop")
TRACKING = b"SET SESSION session_track_schema=ON"


def payloads(have: Settings | None, want: Settings) -> list[bytes]:
    steps = replay(have, want, TRACKING)
    assert steps is not None
    return [step.payload for step in steps]


# -- one object per content ------------------------------------------------------------------


def test_equal_content_is_the_same_object() -> None:
    one = PLAIN.with_variables({b"sql_mode": b"ANSI", b"autocommit": b"OFF"})
    other = PLAIN.with_variables({b"autocommit": b"OFF"}).with_variables({b"sql_mode": b"ANSI"})
    assert one is other
    assert one is not PLAIN
    assert one.with_variables({b"sql_mode": None, b"autocommit": None}) is PLAIN


def test_every_part_makes_a_difference() -> None:
    others = [
        PLAIN.with_schema(b"other"),
        PLAIN.with_charset(Charset(b"latin1", b"latin1", b"latin1_swedish_ci")),
        PLAIN.with_variables({b"autocommit": b"OFF"}),
        PLAIN.with_users({b"x": b"5"}),
        PLAIN.with_prepared({b"s": Prepared(b"SELECT 1", PLAIN)}),
        PLAIN.with_multi_statements(True),
    ]
    assert len({id(one) for one in [PLAIN, *others]}) == 7


def test_nothing_is_kept_that_nobody_holds() -> None:
    before = len(settings.KNOWN)
    held = Settings.make(b"held for a moment")
    assert len(settings.KNOWN) == before + 1
    del held
    gc.collect()
    assert len(settings.KNOWN) == before


def test_they_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="do not change"):
        PLAIN.schema = b"x"


def test_another_schema_forgets_what_was_set_of_the_last() -> None:
    found = PLAIN.with_variables({b"collation_database": b"latin1_bin", b"sql_mode": b""})
    assert found.with_schema(b"b").variables == ((b"sql_mode", b""),)


def test_look_ups() -> None:
    statement = Prepared(b"SELECT 1", PLAIN)
    found = PLAIN.with_users({b"x": b"5"}).with_prepared({b"s": statement})
    assert (found.user(b"x"), found.user(b"y")) == (b"5", None)
    assert (found.statement(b"s"), found.statement(b"t")) == (statement, None)
    assert found.context is PLAIN
    assert "x" in repr(found)


@pytest.mark.parametrize(
    ("sql_mode", "client", "modes"),
    [
        (b"", b"utf8mb4", 0),
        (b"ANSI_QUOTES,PIPES_AS_CONCAT", b"latin1", ANSI_QUOTES),
        (b"no_backslash_escapes", b"gbk", NO_BACKSLASH_ESCAPES | GBK),
    ],
)
def test_modes_of_the_lexer(sql_mode: bytes, client: bytes, modes: int) -> None:
    assert lex_modes(sql_mode, client) == modes
    charset = Charset(client, client, client)
    found = PLAIN.with_charset(charset).with_variables({b"sql_mode": sql_mode})
    assert found.lex_modes == modes
    assert PLAIN.with_charset(charset).modes(sql_mode) == modes


def test_charset_of_a_collation() -> None:
    assert charset_of(b"utf8mb4_0900_ai_ci") == b"utf8mb4"
    assert charset_of(b"binary") == b"binary"


# -- literals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (b"", b"''"),
        (b"ANSI,TRADITIONAL", b"'ANSI,TRADITIONAL'"),
        (b"it's", b"_utf8mb4 0x69742773"),
        (b"a\\b", b"_utf8mb4 0x615c62"),
        (b"\xc3\xa9", b"_utf8mb4 0xc3a9"),
    ],
)
def test_literal_means_the_same_under_every_mode(value: bytes, sql: bytes) -> None:
    assert literal(value) == sql


@pytest.mark.parametrize(
    ("text", "modes", "sql"),
    [
        (b"SELECT 'a\\n'", 0, b"'SELECT ''a\\\\n'''"),
        (b"SELECT 'a\\n'", NO_BACKSLASH_ESCAPES, b"'SELECT ''a\\n'''"),
        (b"SELECT '\x81\x5c'", GBK, b"'SELECT ''\x81\x5c'''"),
        (b"SELECT '\x81\x5c'", 0, b"'SELECT ''\x81\x5c\x5c'''"),
    ],
)
def test_text_of_the_client_keeps_its_characters(text: bytes, modes: int, sql: bytes) -> None:
    assert quoted(text, modes) == sql


# -- replay ----------------------------------------------------------------------------------


def test_nothing_to_do() -> None:
    assert replay(PLAIN, PLAIN) == ()


def test_a_schema_cannot_be_left_for_none() -> None:
    assert replay(PLAIN, Settings.make()) is None


def test_schema() -> None:
    assert payloads(PLAIN, PLAIN.with_schema(b"b")) == [b"\x02b"]


def test_schema_with_letters_of_its_own_is_named_in_utf8() -> None:
    latin1 = Settings.make(b"a", Charset(b"latin1", None, b"latin1_bin"))
    want = latin1.with_schema("é".encode())
    assert payloads(latin1, want) == [
        b"\x03SET NAMES utf8mb4",
        b"\x02\xc3\xa9",
        b"\x03SET @@SESSION.character_set_results=NULL,"
        b"@@SESSION.character_set_client=latin1,@@SESSION.collation_connection=latin1_bin",
    ]


def test_variables_in_one_statement() -> None:
    have = PLAIN.with_variables(
        {b"sql_mode": b"ANSI", b"foreign_key_checks": b"OFF", b"time_zone": b"SYSTEM"}
    )
    want = PLAIN.with_variables(
        {b"long_query_time": b"2.500000", b"time_zone": b"+01:00", b"innodb_tmpdir": b""}
    ).with_users({b"a`b": b"5"})
    assert payloads(have, want) == [
        b"\x03SET @@SESSION.foreign_key_checks=@@GLOBAL.foreign_key_checks,"
        b"@@SESSION.innodb_tmpdir=NULL,@@SESSION.long_query_time=2.500000,"
        b"@@SESSION.sql_mode=DEFAULT,@@SESSION.time_zone='+01:00',@`a``b`=5"
    ]


def test_a_user_variable_too_many_resets_everything() -> None:
    have = PLAIN.with_users({b"x": b"5"}).with_variables({b"autocommit": b"OFF"})
    want = PLAIN.with_variables({b"sql_mode": b"ANSI"})
    assert payloads(have, want) == [
        b"\x1f",
        b"\x03" + TRACKING,
        b"\x02shop",
        b"\x03SET collation_connection=utf8mb4_bin",
        b"\x03SET @@SESSION.sql_mode='ANSI',NAMES utf8mb4 COLLATE utf8mb4_general_ci",
    ]


def test_a_fresh_connection() -> None:
    assert payloads(None, PLAIN) == [
        b"\x03" + TRACKING,
        b"\x02shop",
        b"\x03SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
    ]


CHARSETS = [
    (Charset.named(b"latin1_bin"), b"NAMES latin1 COLLATE latin1_bin"),
    (Charset(b"utf8mb4", b"latin1", b"utf8mb4_general_ci", b"latin1_bin"),
     b"NAMES latin1 COLLATE latin1_bin,@@SESSION.character_set_client=utf8mb4,"
     b"@@SESSION.collation_connection=utf8mb4_general_ci"),
    (Charset(b"utf8mb4", b"utf8mb4", b"utf8mb4_general_ci"),
     b"@@SESSION.character_set_results=utf8mb4"),
    (Charset(b"utf8mb4", None, b"utf8mb4_general_ci"), b"@@SESSION.character_set_results=NULL"),
    (DEFAULT_CHARSET._replace(client=b"gbk"), b"@@SESSION.character_set_client=gbk"),
    (DEFAULT_CHARSET._replace(collation=b"utf8mb4_bin"),
     b"@@SESSION.collation_connection=utf8mb4_bin"),
]  # fmt: skip


@pytest.mark.parametrize(("charset", "sql"), CHARSETS)
def test_character_sets(charset: Charset, sql: bytes) -> None:
    assert payloads(PLAIN, PLAIN.with_charset(charset)) == [b"\x03SET " + sql]


def test_strings_do_not_stand_in_a_wide_character_set() -> None:
    wide = PLAIN.with_charset(DEFAULT_CHARSET._replace(collation=b"utf16_bin"))
    assert payloads(wide, wide.with_variables({b"sql_mode": b"ANSI"})) == [
        b"\x03SET collation_connection=utf8mb4_bin",
        b"\x03SET @@SESSION.sql_mode='ANSI',@@SESSION.collation_connection=utf16_bin",
    ]


def test_null_has_a_type() -> None:
    want = PLAIN.with_users({b"x": NULL_OF + b"1e0", b"y": b"2"})
    assert payloads(PLAIN, want) == [b"\x03SET @`x`=1e0,@`x`=NULL,@`y`=2"]


def test_to_prepare_makes_user_variables_uncertain() -> None:
    have = PLAIN.with_users({b"x": b"5"})
    want = have.with_prepared({b"s": Prepared(b"SELECT @x := 1", PLAIN)})
    assert payloads(have, want) == [b"\x03PREPARE `s` FROM 'SELECT @x := 1'", b"\x03SET @`x`=5"]


def test_the_schemas_own_variables_follow_it_again() -> None:
    have = PLAIN.with_variables({b"collation_database": b"latin1_bin"})
    assert payloads(have, PLAIN) == [b"\x02shop"]
    nowhere = Settings.make()
    have = nowhere.with_variables({b"collation_database": b"latin1_bin"})
    assert payloads(have, nowhere)[0] == b"\x1f"


def test_several_statements_in_one_text() -> None:
    on, off = PLAIN.with_multi_statements(True), PLAIN.with_multi_statements(False)
    assert payloads(PLAIN, on) == [b"\x1b\x00\x00"]
    assert payloads(PLAIN, off) == [b"\x1b\x01\x00"]
    # What the login said is the opposite of what was set later.
    assert payloads(off, PLAIN) == [b"\x1b\x00\x00"]


def test_statements_are_prepared_as_they_first_were() -> None:
    ansi = PLAIN.with_variables({b"sql_mode": b"ANSI_QUOTES"})
    statement = Prepared(b'SELECT "a" FROM t', ansi)
    want = PLAIN.with_prepared({b"s": statement})
    steps = replay(PLAIN, want)
    assert steps is not None
    assert [step.payload for step in steps] == [
        b"\x03SET @@SESSION.sql_mode='ANSI_QUOTES'",
        b"\x03PREPARE `s` FROM 'SELECT \"a\" FROM t'",
        b"\x03SET @@SESSION.sql_mode=DEFAULT",
    ]
    assert [step.prepares for step in steps] == [b"", b"s", b""]


def test_statements_that_are_there_stay() -> None:
    have = PLAIN.with_prepared({b"s": Prepared(b"SELECT 1", PLAIN)})
    assert payloads(have, have.with_schema(b"b")) == [b"\x02b"]


def test_other_statements_go() -> None:
    have = PLAIN.with_prepared(
        {b"s": Prepared(b"SELECT 1", PLAIN), b"t": Prepared(b"SELECT 2", PLAIN)}
    )
    want = PLAIN.with_prepared({b"s": Prepared(b"SELECT 3", PLAIN)})
    assert payloads(have, want) == [
        b"\x03DEALLOCATE PREPARE `s`",
        b"\x03DEALLOCATE PREPARE `t`",
        b"\x03PREPARE `s` FROM 'SELECT 3'",
    ]
