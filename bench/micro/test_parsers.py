# SPDX-License-Identifier: Apache-2.0
"""Cursor, framer and scanner: per frame and per row, without a socket."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from hproxy._native.cursor import Cursor, lenenc
from hproxy._native.mysql import CommandFramer, ResponseScanner
from hproxy.protocols.mysql.handshake import Greeting
from tests.captures.reading import load

ROWS = 10_000
RECEIVED = 131072  # bytes of one recv


def per_unit(benchmark: BenchmarkFixture, name: str, units: int) -> None:
    """Show what one of `units` costs; there are no statistics when benchmarks are disabled."""
    if benchmark.stats is not None:
        mean = benchmark.stats["mean"]
        benchmark.extra_info[f"ns_per_{name}"] = round(mean / units * 1e9, 2)


def test_cursor_reads_a_row(benchmark: BenchmarkFixture, row: bytes) -> None:
    def read() -> None:
        cursor = Cursor(row)
        for _ in range(4):
            cursor.lenenc_bytes()

    benchmark(read)


def test_lenenc(benchmark: BenchmarkFixture) -> None:
    benchmark(lenenc, 4711)


def test_a_greeting_is_parsed(benchmark: BenchmarkFixture) -> None:
    payload = load("mysql/mysql-9.7/login_full").frames[0].payload
    benchmark(Greeting.parse, payload)


def test_framer_takes_a_command(
    benchmark: BenchmarkFixture, point_select: tuple[bytes, bytes]
) -> None:
    framer, command = CommandFramer(), point_select[0]

    def take() -> None:
        framer.start(0)
        framer.scan(command)

    benchmark(take)
    assert framer.scan(b"") == (0, True)


def test_scanner_takes_a_point_select(
    benchmark: BenchmarkFixture, point_select: tuple[bytes, bytes]
) -> None:
    scanner, answer = ResponseScanner(True), point_select[1]

    def take() -> None:
        scanner.start(3)
        scanner.scan(answer)

    benchmark(take)
    assert scanner.done
    per_unit(benchmark, "frame", 4)


@pytest.mark.parametrize("input_name", ["large_result", "small_rows"])
def test_scanner_counts_rows(
    benchmark: BenchmarkFixture, request: pytest.FixtureRequest, input_name: str
) -> None:
    """In pieces of one recv, as traffic comes."""
    data: bytes = request.getfixturevalue(input_name)
    scanner = ResponseScanner(True)
    pieces = [data[at : at + RECEIVED] for at in range(0, len(data), RECEIVED)]

    def take() -> None:
        scanner.start(3)
        for piece in pieces:
            scanner.scan(piece)

    benchmark(take)
    assert scanner.done
    assert scanner.rows == ROWS
    per_unit(benchmark, "row", ROWS)
