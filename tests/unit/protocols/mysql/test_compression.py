# SPDX-License-Identifier: Apache-2.0
"""Codecs and what two sides agree on; frames are tested in tests/native/test_compression.py."""

from __future__ import annotations

import os

import pytest

from hproxy.protocols.mysql.compression import (
    COMPRESSION,
    Agreed,
    agree,
    choose,
    codec,
    flags,
)
from hproxy.protocols.mysql.constants import Capability

ZLIB, ZSTD = Capability.COMPRESS, Capability.ZSTD_COMPRESSION
NOTHING = Capability(0)
OTHER = Capability.PROTOCOL_41 | Capability.SSL

algorithms = pytest.mark.parametrize("algorithm", ["zlib", "zstd"])


@algorithms
@pytest.mark.parametrize("level", [1, 3, 9])
@pytest.mark.parametrize("data", [b"a", b"abc" * 1000, bytes(100_000), os.urandom(5000)])
def test_there_and_back(algorithm: str, level: int, data: bytes) -> None:
    found = codec(algorithm, level)
    packed = found.compress(memoryview(data))
    assert found.decompress(memoryview(packed), len(data)) == data


@algorithms
@pytest.mark.parametrize("size", [1, 299, 301, 1 << 24])
def test_another_length_than_announced(algorithm: str, size: int) -> None:
    found = codec(algorithm, 3)
    packed = found.compress(b"abc" * 100)
    with pytest.raises(ValueError, match=f"{size} bytes"):
        found.decompress(packed, size)


@algorithms
@pytest.mark.parametrize("data", [b"", b"\0", b"garbage" * 9, b"\x78\x9c\x03", b"\x28\xb5\x2f\xfd"])
def test_what_was_never_packed(algorithm: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec(algorithm, 3).decompress(data, 100)


@algorithms
def test_what_goes_on_behind_its_end(algorithm: str) -> None:
    found = codec(algorithm, 3)
    packed = found.compress(b"abc" * 100)
    for more in (b"\0", packed):
        with pytest.raises(ValueError, match=r"."):
            found.decompress(packed + more, 300)
        with pytest.raises(ValueError, match=r"."):
            found.decompress(packed + more, 600)
    for less in (packed[:-1], packed[:-4], packed[:5]):
        with pytest.raises(ValueError, match=r"."):
            found.decompress(less, 300)


def test_one_codec_serves_all_connections() -> None:
    assert codec("zstd", 3) is codec("zstd", 3)
    assert codec("zstd", 3) is not codec("zstd", 4)
    assert Agreed("zlib", 6).codec is codec("zlib", 6)


def test_flags() -> None:
    assert flags(()) == NOTHING
    assert flags(("zlib",)) == ZLIB == Agreed("zlib", 1).flag
    assert flags(["zstd"]) == ZSTD == Agreed("zstd", 1).flag
    assert flags(("zstd", "zlib")) == COMPRESSION


@pytest.mark.parametrize(
    ("asks", "offered", "wish", "found"),
    [
        (NOTHING, COMPRESSION, 0, None),
        (COMPRESSION, NOTHING, 3, None),
        (ZSTD, ZLIB, 3, None),
        (ZLIB, ZSTD, 0, None),
        (COMPRESSION, COMPRESSION, 9, Agreed("zlib", 4)),
        (COMPRESSION, ZSTD, 9, Agreed("zstd", 4)),
        (ZSTD, COMPRESSION, 2, Agreed("zstd", 2)),
        (ZSTD, COMPRESSION, 0, Agreed("zstd", 4)),
        (ZSTD, COMPRESSION, 255, Agreed("zstd", 4)),
    ],
)
def test_what_a_client_gets(
    asks: Capability, offered: Capability, wish: int, found: Agreed | None
) -> None:
    assert agree(asks | OTHER, offered | OTHER, 4, wish) == found


@pytest.mark.parametrize(
    ("greeting", "wanted", "found"),
    [
        (COMPRESSION, (), None),
        (NOTHING, ("zstd", "zlib"), None),
        (COMPRESSION, ("zstd", "zlib"), Agreed("zstd", 3)),
        (COMPRESSION, ("zlib", "zstd"), Agreed("zlib", 3)),
        (ZLIB, ("zstd", "zlib"), Agreed("zlib", 3)),
        (ZLIB, ("zstd",), None),
    ],
)
def test_what_is_asked_of_a_backend(
    greeting: Capability, wanted: tuple[str, ...], found: Agreed | None
) -> None:
    assert choose(greeting | OTHER, wanted, 3) == found
