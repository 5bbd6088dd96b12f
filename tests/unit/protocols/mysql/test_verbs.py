# SPDX-License-Identifier: Apache-2.0
"""The first words of a statement."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.statement import Effect, Trait
from hproxy.protocols.mysql.verbs import PLAIN, SPECIAL, kind_of_thing, verb, word


def read(text: str) -> list[bytes]:
    return text.encode().split()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELECT ?", b"SELECT"),
        ("( ( SELECT ? ) )", b"SELECT"),
        ("( WITH x AS ( SELECT ? ) SELECT ? )", b"SELECT"),
        ("WITH x AS ( SELECT ? ) UPDATE t", b"UPDATE"),
        ("WITH x AS ( SELECT ? ) ( SELECT ? )", b"SELECT"),
        ("WITH x AS ( SELECT ? ) ( ( WITH y AS ( SELECT ? ) TABLE y ) )", b"TABLE"),
        ("WITH x", b"WITH"),
        ("EXPLAIN FORMAT = TREE DELETE FROM t", b"EXPLAIN"),
        ("ANALYZE FORMAT = JSON SELECT ?", b"ANALYZE"),
        ("SET STATEMENT x = ? FOR SELECT ?", b"SELECT"),
        ("SET TRANSACTION READ ONLY", b"SET TRANSACTION"),
        ("CREATE OR REPLACE TEMPORARY TABLE t", b"CREATE TABLE"),
        ("CREATE UNIQUE INDEX i ON t", b"CREATE INDEX"),
        ("CREATE DEFINER = a SQL SECURITY INVOKER VIEW v", b"CREATE VIEW"),
        ("DROP PREPARE s", b"DEALLOCATE"),
        ("ROLLBACK WORK TO SAVEPOINT s", b"ROLLBACK TO"),
        ("START TRANSACTION READ ONLY", b"START TRANSACTION"),
        ("START REPLICA", b"START"),
        ("XA START ?", b"XA START"),
        ("XA", b"XA"),
        ("LOCK TABLES t READ", b"LOCK TABLES"),
        ("LOAD DATA INFILE", b"LOAD DATA"),
        ("SELEKT ?", b"SELEKT"),
    ],
)
def test_names(text: str, name: bytes) -> None:
    assert verb(read(text)).name == name


def test_a_word_is_plain_or_special() -> None:
    assert PLAIN.keys() & SPECIAL.keys() == set()


def test_unknown_words_say_so() -> None:
    for text in ("SELEKT ?", "( FOO )", "", "(", "IF a THEN", "BEGIN NOT ATOMIC"):
        assert Effect.UNKNOWN in verb(read(text)).effects, text


def test_what_is_stored_is_not_run() -> None:
    assert verb(read("CREATE PROCEDURE p ( ) SELECT f ( )")).runs < 0
    assert verb(read("CREATE TABLE t ( a INT )")).runs < 0
    assert verb(read("CREATE TABLE t ( a INT ) SELECT f ( )")).runs == 7
    assert verb(read("GRANT SELECT ON t TO u")).runs < 0


def test_nesting_is_no_recursion() -> None:
    """A text of nothing but openings must not exhaust the stack."""
    for text in ("( " * 20_000, "WITH " * 20_000, "WITH x AS ( ? ) ( " * 20_000):
        assert Effect.UNKNOWN in verb(read(text)).effects
    many = verb(read("SET STATEMENT a = ? FOR " * 5_000 + "UPDATE t"))
    assert (many.traits, many.effects) == (Trait.WRITE, Effect.SET)


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("CREATE TABLE t", b"TABLE"),
        ("ALTER DEFINER = a EVENT e", b"EVENT"),
        ("DROP DATABASE IF EXISTS d", b"DATABASE"),
        ("CREATE SPATIAL REFERENCE SYSTEM ?", b""),
    ],
)
def test_kind_of_thing(text: str, thing: bytes) -> None:
    assert kind_of_thing(read(text), 0) == thing


def test_there_is_nothing_beyond_the_end() -> None:
    assert word([b"SELECT"], 0) == b"SELECT"
    assert word([b"SELECT"], 1) == b""
