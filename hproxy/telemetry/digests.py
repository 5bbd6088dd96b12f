# SPDX-License-Identifier: Apache-2.0
"""The table of digests as operators know it: the columns of ProxySQL's stats_mysql_query_digest.

    native table ── Row(key, ns, reactor seconds) ──> DigestRow(text, µs, unix seconds)

Added at the end: errors, bytes and percentiles. One more row tells what digests cost that the
bounded table does not list, so that sums over all rows are exact.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from hproxy._native.digest import stable_hash
from hproxy._native.statistics import DigestTable, Row

__all__ = ["OTHER_HOSTGROUP", "OTHER_TEXT", "DigestKey", "DigestRow", "digest_rows"]

# A hostgroup no server can be in, as ProxySQL shows what no server answered.
OTHER_HOSTGROUP = -1
OTHER_TEXT = "(other digests)"


class DigestKey(NamedTuple):
    """What a digest is counted under; a plain tuple of the four does as well."""

    hostgroup: int
    schema: bytes
    user: bytes
    text: bytes


class DigestRow(NamedTuple):
    """Columns in ProxySQL's order; moments in unix seconds, times in microseconds."""

    hostgroup: int
    schemaname: str
    username: str
    client_address: str
    """Always empty, as in ProxySQL unless it tracks host names."""
    digest: str
    """`0x` and 16 upper-case digits, the same everywhere; not the hash ProxySQL would give."""
    digest_text: str
    count_star: int
    first_seen: int
    last_seen: int
    sum_time: int
    min_time: int
    max_time: int
    sum_rows_affected: int
    sum_rows_sent: int
    errors: int
    sum_bytes_in: int
    sum_bytes_out: int
    p50_time: int
    p95_time: int
    p99_time: int


def digest_rows(table: DigestTable, *, epoch: float) -> list[DigestRow]:
    """Every digest called since the last reset, those that took longest in all first.

    `epoch` is the unix time of second 0 of the clock that calls were recorded by.
    """
    rows = []
    for row in sorted(table.snapshot(), key=lambda row: row.sum_ns, reverse=True):
        key = DigestKey(*cast("tuple[int, bytes, bytes, bytes]", row.key))
        rows.append(_told(row, key, f"0x{stable_hash(key.text):016X}", epoch))
    if table.other.count:
        nobody = DigestKey(OTHER_HOSTGROUP, b"", b"", OTHER_TEXT.encode())
        rows.append(_told(table.other.row(), nobody, f"0x{0:016X}", epoch))
    return rows


def _told(row: Row, key: DigestKey, digest: str, epoch: float) -> DigestRow:
    return DigestRow(
        hostgroup=key.hostgroup,
        schemaname=_text(key.schema),
        username=_text(key.user),
        client_address="",
        digest=digest,
        digest_text=_text(key.text),
        count_star=row.count_star,
        first_seen=int(epoch + row.first_seen),
        last_seen=int(epoch + row.last_seen),
        sum_time=row.sum_ns // 1000,
        min_time=row.min_ns // 1000,
        max_time=row.max_ns // 1000,
        sum_rows_affected=row.rows_affected,
        sum_rows_sent=row.rows_sent,
        errors=row.errors,
        sum_bytes_in=row.bytes_in,
        sum_bytes_out=row.bytes_out,
        p50_time=row.p50_ns // 1000,
        p95_time=row.p95_ns // 1000,
        p99_time=row.p99_ns // 1000,
    )


def _text(raw: bytes) -> str:
    """Clients may speak any character set; what is no UTF-8 stays readable and distinct."""
    return raw.decode("utf-8", "backslashreplace")
