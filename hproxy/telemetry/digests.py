# SPDX-License-Identifier: Apache-2.0
"""The table of digests as operators know it: the columns of ProxySQL's stats_mysql_query_digest.

    native table ── Row(key, ns, reactor seconds) ──> DigestRow(text, µs, unix seconds)

Added at the end: errors, bytes and percentiles. One more row tells what digests cost that the
bounded table does not list, so that sums over all rows are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from hproxy._native.digest import stable_hash
from hproxy._native.statistics import DigestTable, Row

__all__ = ["OTHER_HOSTGROUP", "OTHER_TEXT", "DigestKey", "DigestRow", "digest_id", "digest_rows"]

# A hostgroup no server can be in, as ProxySQL shows what no server answered.
OTHER_HOSTGROUP = -1
OTHER_TEXT = "(other digests)"


class DigestKey(NamedTuple):
    """What a digest is counted under; a plain tuple of the four does as well.

    A fifth, the client's host, is there where these are told apart."""

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
    """Empty unless client addresses are tracked."""
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


def digest_id(text: bytes) -> str:
    """What the text of a digest is called by."""
    return f"0x{stable_hash(text):016X}"


def digest_rows(table: DigestTable, *, epoch: float) -> Iterator[DigestRow]:
    """Every digest called since the last reset, those that took longest in all first.

    The table is looked at now; rows are made as they are asked for, in any thread. `epoch` is
    the unix time of second 0 of the clock that calls were recorded by.
    """
    return _made(list(table.snapshot()), table.other.row() if table.other.count else None, epoch)


def _made(rows: list[Row], other: Row | None, epoch: float) -> Iterator[DigestRow]:
    for row in sorted(rows, key=lambda row: row.sum_ns, reverse=True):
        of = cast(
            "tuple[int, bytes, bytes, bytes] | tuple[int, bytes, bytes, bytes, bytes]", row.key
        )
        key, client = DigestKey(*of[:4]), of[4] if len(of) > 4 else b""
        yield _told(row, key, digest_id(key.text), epoch, client)
    if other is not None:
        nobody = DigestKey(OTHER_HOSTGROUP, b"", b"", OTHER_TEXT.encode())
        yield _told(other, nobody, f"0x{0:016X}", epoch)


def _told(row: Row, key: DigestKey, digest: str, epoch: float, client: bytes = b"") -> DigestRow:
    return DigestRow(
        hostgroup=key.hostgroup,
        schemaname=_text(key.schema),
        username=_text(key.user),
        client_address=_text(client),
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
