# SPDX-License-Identifier: Apache-2.0
"""PROXY headers: whole, byte by byte, in random cuts, broken, and written and read again."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.net.proxy_protocol import (
    LOCAL_V1,
    LOCAL_V2,
    SIGNATURE,
    Header,
    Malformed,
    Networks,
    Reader,
    build,
    crc32c,
)

FOUR, SIX = ("192.0.2.7", 51234), ("2001:db8::7", 1)
US_FOUR, US_SIX = ("192.0.2.1", 3306), ("2001:db8::1", 65535)
GREETING = b"what follows"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def with_sum(body: bytes, family: int = 0x11) -> bytes:
    blank = v2(0x21, family, body + b"\x03\x00\x04" + bytes(4))
    return blank[:-4] + crc32c(blank).to_bytes(4, "big")


ADDRESSES = bytes((192, 0, 2, 7, 192, 0, 2, 1)) + struct.pack("!HH", 51234, 3306)
GOOD = {
    "v1 four": (build(1, FOUR, US_FOUR), Header(1, FOUR, US_FOUR)),
    "v1 six": (build(1, SIX, US_SIX), Header(1, SIX, US_SIX)),
    "v1 unknown": (LOCAL_V1, Header(1)),
    "v1 unknown, with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Header(1)),
    "v1 longest": (
        b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2)
        + b" 65535 65535\r\n",
        Header(1, (("ffff:" * 8)[:-1], 65535), (("ffff:" * 8)[:-1], 65535)),
    ),
    "v2 four": (build(2, FOUR, US_FOUR), Header(2, FOUR, US_FOUR)),
    "v2 six": (build(2, SIX, US_SIX), Header(2, SIX, US_SIX)),
    "v2 local": (LOCAL_V2, Header(2)),
    "v2 local with a body": (v2(0x20, 0x11, ADDRESSES), Header(2)),
    "v2 unspecified": (v2(0x21, 0x00, b"whatever"), Header(2)),
    "v2 unix": (v2(0x21, 0x31, bytes(216)), Header(2)),
    "v2 datagram": (v2(0x21, 0x12, ADDRESSES), Header(2)),
    "v2 with TLVs": (
        build(2, FOUR, US_FOUR, [(0x02, b"db.example"), (0xE0, b"")]),
        Header(2, FOUR, US_FOUR, ((0x02, b"db.example"), (0xE0, b""))),
    ),
    "v2 mapped": (
        build(2, ("::ffff:192.0.2.7", 5), US_SIX), Header(2, ("192.0.2.7", 5), US_SIX)
    ),
}  # fmt: skip
BAD = {
    "a MySQL packet": b"\x20\x00\x00\x01\x85\xa6",
    "a prefix of v1": b"PROXX TCP4",
    "no CR": b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
    "lower case": b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
    "too long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "no ports": b"PROXY TCP4 192.0.2.7 192.0.2.1\r\n",
    "port too high": b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 1\r\n",
    "port with a zero": b"PROXY TCP4 192.0.2.7 192.0.2.1 01 1\r\n",
    "port with a sign": b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 1\r\n",
    "wrong family": b"PROXY TCP4 2001:db8::7 192.0.2.1 1 1\r\n",
    "a name": b"PROXY TCP4 localhost 192.0.2.1 1 1\r\n",
    "a scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.7 192.0.2.1 1 1\r\n",
    "unknown protocol": b"PROXY UDP4 192.0.2.7 192.0.2.1 1 1\r\n",
    "not ASCII": b"PROXY TCP4 192.0.2.\xff 192.0.2.1 1 1\r\n",
    "version 1 in binary": v2(0x11, 0x11, ADDRESSES),
    "a command of tomorrow": v2(0x22, 0x11, ADDRESSES),
    "a family of tomorrow": v2(0x21, 0x41, ADDRESSES),
    "short addresses": v2(0x21, 0x11, ADDRESSES[:-1]),
    "short addresses of IPv6": v2(0x21, 0x21, bytes(35)),
    "a TLV cut in its head": v2(0x21, 0x11, ADDRESSES + b"\x01\x00"),
    "a TLV cut in its value": v2(0x21, 0x11, ADDRESSES + b"\x01\x00\x02x"),
    "a wrong sum": v2(0x21, 0x11, ADDRESSES + b"\x03\x00\x04abcd"),
    "a sum of three bytes": v2(0x21, 0x11, ADDRESSES + b"\x03\x00\x03abc"),
}


def read(pieces: list[bytes]) -> tuple[Header | None, int]:
    """The header in a stream that comes in pieces, and how many bytes were taken."""
    reader, taken = Reader(), 0
    for piece in pieces:
        used = reader.feed(piece)
        taken += used
        if used < len(piece):
            break
    return reader.header, taken


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    at = sorted(rng.sample(range(len(data) + 1), rng.randrange(min(6, len(data)))))
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@pytest.mark.parametrize("name", GOOD)
def test_header(name: str) -> None:
    data, expected = GOOD[name]
    assert read([data + GREETING]) == (expected, len(data))
    assert read([bytes((byte,)) for byte in data + GREETING]) == (expected, len(data))
    rng = random.Random(name)
    for _ in range(200):
        assert read(cuts(data + GREETING, rng)) == (expected, len(data))
    for end in range(len(data)):
        assert read([data[:end]])[0] is None


@pytest.mark.parametrize("name", BAD)
def test_broken(name: str) -> None:
    for pieces in ([BAD[name]], [bytes((byte,)) for byte in BAD[name]]):
        with pytest.raises(Malformed):
            read(pieces)


def test_sum() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    header, _ = read([with_sum(ADDRESSES + b"\x04\x00\x01.")])
    assert header is not None
    assert [kind for kind, _ in header.tlvs] == [4, 3]


def test_peer() -> None:
    assert Header(2, FOUR).peer == "192.0.2.7:51234"
    assert Header(2, SIX).peer == "[2001:db8::7]:1"
    assert Header(2).peer is None


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21"]))
def test_garbage(data: bytes, start: bytes) -> None:
    """Whatever comes: a header, more is wanted, or Malformed; all ways to cut it agree."""

    def outcome(pieces: list[bytes]) -> object:
        try:
            return read(pieces)
        except Malformed:
            return Malformed

    whole = start + data
    assert outcome([whole]) == outcome([bytes((byte,)) for byte in whole])


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    st.integers(0, 65535),
    st.sampled_from([1, 2]),
)
def test_round_trip(source: object, destination: object, port: int, version: int) -> None:
    data = build(version, (str(source), port), (str(destination), 3306))
    header, taken = read([data])
    assert header is not None
    assert taken == len(data)
    mapped = getattr(source, "ipv4_mapped", None)
    assert header.source == (str(mapped or source), port)


def test_refused_to_build() -> None:
    with pytest.raises(ValueError, match="no version 3"):
        build(3, FOUR, US_FOUR)
    with pytest.raises(ValueError, match="do not fit"):
        build(2, FOUR, US_FOUR, [(1, bytes(65535))])
    with pytest.raises(ValueError, match="localhost"):
        build(2, ("localhost", 1), US_FOUR)


def test_networks() -> None:
    assert not Networks("")
    assert Networks("*").expects("unix")
    some = Networks("10.0.0.0/8, 192.0.2.7,fd00::/8,")
    assert some
    told = {
        peer: some.expects(peer)
        for peer in (
            "10.1.2.3:5", "11.1.2.3:5", "192.0.2.7:1", "192.0.2.8:1", "[fd00::1]:9",
            "[fe80::1]:9", "[::ffff:10.0.0.1]:4", "unix", "nonsense:1",
        )
    }  # fmt: skip
    assert [peer for peer, expected in told.items() if expected] == [
        "10.1.2.3:5", "192.0.2.7:1", "[fd00::1]:9", "[::ffff:10.0.0.1]:4",
    ]  # fmt: skip
    assert Networks("localhost").expects("unix")
    assert Networks("localhost").expects("[::1]:3")
    assert all(some.expects("10.1.2.3:5") for _ in range(3))
    with pytest.raises(ValueError, match=r"'10\.0\.0/8'"):
        Networks("10.0.0/8")
