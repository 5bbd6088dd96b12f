# SPDX-License-Identifier: Apache-2.0
"""Fixed inputs: responses and commands as real servers and clients sent them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.captures.reading import load
from tests.native.responses import columns, eof, framed
from tests.native.rig import Rig
from tests.support.socket_pair import Peer

__all__ = ["close_peers", "large_result", "point_select", "rig", "row", "small_rows"]


def pytest_configure(config: pytest.Config) -> None:
    # The project's options disable benchmarks, so that a test run only tries each once.
    if config.option.benchmark_only:
        config.option.benchmark_disable = False


@pytest.fixture(autouse=True)
def close_peers() -> Iterator[None]:
    yield
    for peer in list(Peer.open):
        peer.close()


@pytest.fixture(scope="session")
def point_select() -> tuple[bytes, bytes]:
    """The command and the answer of a SELECT of one row, as MySQL gave it."""
    frames = load("mysql/mysql-9.7/commands_text_deprecated_eof").frames
    start = next(n for n, frame in enumerate(frames) if frame.data[4:] == b"\x03SELECT 1")
    end = next(n for n in range(start + 1, len(frames)) if frames[n].client)
    return frames[start].data, b"".join(frame.data for frame in frames[start + 1 : end])


@pytest.fixture(scope="session")
def row() -> bytes:
    """A row of sysbench's table: an integer and a hundred and eighty bytes of text."""
    return b"\x044711" + b"\x0250" + b"\x78" + b"c" * 120 + b"\x3c" + b"p" * 60


@pytest.fixture(scope="session")
def large_result(row: bytes) -> bytes:
    """10,000 of them."""
    return framed([*columns(4, True), *([row] * 10_000), *eof(True)])


@pytest.fixture(scope="session")
def small_rows() -> bytes:
    """10,000 rows of one digit: as many frames as can be had in few bytes."""
    return framed([*columns(1, True), *([b"\x017"] * 10_000), *eof(True)])


@pytest.fixture
def rig() -> Rig:
    """A session over socketpairs."""
    return Rig(idle_timeout=600.0).start()
