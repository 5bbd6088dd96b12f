# SPDX-License-Identifier: Apache-2.0
"""Rows of digests: ProxySQL's columns and units, and sums that leave nothing out."""

from __future__ import annotations

from hproxy._native.digest import stable_hash
from hproxy._native.statistics import DigestTable
from hproxy.telemetry.digests import DigestKey, DigestRow, digest_rows

EPOCH = 1_700_000_000.0
# stats_mysql_query_digest of ProxySQL 2 and 3.
PROXYSQL = (
    "hostgroup", "schemaname", "username", "client_address", "digest", "digest_text",
    "count_star", "first_seen", "last_seen", "sum_time", "min_time", "max_time",
    "sum_rows_affected", "sum_rows_sent",
)  # fmt: skip


def rows(table: DigestTable) -> list[DigestRow]:
    return list(digest_rows(table, epoch=EPOCH))


def select(number: int = 1) -> DigestKey:
    return DigestKey(3, b"shop", b"app", b"SELECT %d" % number)


def test_columns_begin_with_those_of_proxysql() -> None:
    assert DigestRow._fields[: len(PROXYSQL)] == PROXYSQL


def test_a_digest_in_microseconds_and_unix_seconds() -> None:
    table = DigestTable(5)
    entry = table.entry(select())
    entry.record(1_999, 1, 0, 30, 500, False, 10.5)
    entry.record(5_000_000, 2, 4, 31, 600, True, 12.0)
    [row] = rows(table)
    assert row == DigestRow(
        hostgroup=3,
        schemaname="shop",
        username="app",
        client_address="",
        digest=f"0x{stable_hash(b'SELECT 1'):016X}",
        digest_text="SELECT 1",
        count_star=2,
        first_seen=1_700_000_010,
        last_seen=1_700_000_012,
        sum_time=5_001,
        min_time=1,
        max_time=5_000,
        sum_rows_affected=4,
        sum_rows_sent=3,
        errors=1,
        sum_bytes_in=61,
        sum_bytes_out=1_100,
        p50_time=1,
        p95_time=5_000,
        p99_time=5_000,
    )
    assert row.digest.removeprefix("0x").isupper()
    assert len(row.digest) == 18


def test_a_plain_tuple_is_a_key() -> None:
    table = DigestTable(5)
    assert table.entry((3, b"shop", b"app", b"SELECT 1")) is table.entry(select())


def test_what_took_longest_comes_first() -> None:
    table = DigestTable(5)
    for number, calls in ((1, 1), (2, 3), (3, 2)):
        for _ in range(calls):
            table.entry(select(number)).record(1_000, 0, 0, 0, 0, False, 1.0)
    assert [row.digest_text for row in rows(table)] == ["SELECT 2", "SELECT 3", "SELECT 1"]


def test_what_is_not_listed_is_told_in_a_last_row() -> None:
    table = DigestTable(2)
    for number in range(10):
        table.entry(select(number)).record(1_000 * number, 1, 2, 0, 0, False, float(number))
    told = rows(table)
    assert [row.digest_text for row in told] == ["SELECT 9", "SELECT 8", "(other digests)"]
    assert told[-1].hostgroup == -1
    assert told[-1].digest == "0x0000000000000000"
    assert told[-1].first_seen == EPOCH
    assert sum(row.count_star for row in told) == 10
    assert sum(row.sum_time for row in told) == sum(range(10))


def test_names_in_another_character_set_stay_distinct() -> None:
    table = DigestTable(5)
    for schema in (b"caf\xe9", b"caf\xe8", "caf\u00e9".encode()):
        table.entry(DigestKey(0, schema, b"\xff", b"SELECT '\x00'")).record(1, 0, 0, 0, 0, False, 0)
    assert {row.schemaname for row in rows(table)} == {"caf\\xe9", "caf\\xe8", "caf\u00e9"}


def test_nothing_called_is_no_row() -> None:
    assert rows(DigestTable(1)) == []
