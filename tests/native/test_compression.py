# SPDX-License-Identifier: Apache-2.0
"""Compressed frames by themselves: packing, unpacking, both kinds of numbers, broken input."""

from __future__ import annotations

import os
import random
import tracemalloc
import zlib

import pytest
import zstandard

from hproxy._native.compression import CompressedStream
from hproxy.protocols.mysql.compression import codec
from hproxy.protocols.mysql.wire import join
from tests.native.rig import packet
from tests.support.chopper import Chop
from tests.support.packed import pack, packed, split, unpacked

ALGORITHMS = ["zlib", "zstd"]
FULL = 0xFFFFFF
LINE = b"all work and no play makes jack a dull boy. " * 5

algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
roles = pytest.mark.parametrize("server", [True, False], ids=["server", "client"])


def stream(algorithm: str = "zlib", *, server: bool = False) -> CompressedStream:
    return CompressedStream(codec(algorithm, 1), server)


def asked(algorithm: str = "zlib", command: bytes = b"\x03x") -> CompressedStream:
    """Towards a backend, which was asked something and answers with frame 1, packet 1."""
    end = stream(algorithm)
    end.send(packet(command))
    return end


# -- packing ------------------------------------------------------------------


@algorithms
@roles
def test_short_is_stored_and_long_is_packed(algorithm: str, server: bool) -> None:
    end = stream(algorithm, server=server)
    for size, stored in [(1, True), (45, True), (46, False), (5000, False)]:
        data = packet(b"a" * size)
        [frame] = split(end.send(data))
        assert (frame.size == 0) is stored
        assert frame.size in (0, len(data))
        assert frame.payload(algorithm) == data


@algorithms
def test_what_does_not_get_shorter_is_stored(algorithm: str) -> None:
    data = packet(os.urandom(2000))
    [frame] = split(stream(algorithm).send(data))
    assert (frame.size, frame.body) == (0, data)


@algorithms
def test_nothing_is_longer_than_a_frame(algorithm: str) -> None:
    data = join([b"\x03" + b"s" * (FULL + 100)])[0]
    found = split(stream(algorithm).send(data))
    assert [(frame.number, frame.size) for frame in found] == [(0, FULL), (1, 109)]
    assert b"".join(frame.payload(algorithm) for frame in found) == data


def test_commands_count_from_zero() -> None:
    end = stream()
    one, two = packet(b"\x19\x01\x00\x00\x00"), packet(b"\x03SELECT 1")
    assert [f.number for f in split(end.send(one + two))] == [0, 0]
    end.receive(packed(packet(b"ok", 1), None, number=1))
    assert [f.number for f in split(end.send(two))] == [0]


def test_a_command_in_pieces_counts_on_and_the_next_begins_in_the_midst() -> None:
    end = stream()
    long = packet(b"\x18" + b"d" * 1000)
    sent = [end.send(long[:400]), end.send(long[400:900])]
    sent.append(end.send(long[900:] + packet(b"\x17execute")))
    numbers = [[frame.number for frame in split(each)] for each in sent]
    assert numbers == [[0], [1], [2, 0]]
    assert b"".join(unpacked(each, "zlib") for each in sent) == long + packet(b"\x17execute")


def test_an_answer_counts_on_from_its_question() -> None:
    end = stream(server=True)
    question = packet(b"\x03" + b"q" * 100)
    assert end.receive(packed(question, "zlib", each=40)) == question
    answer = [packet(b"x", 1), packet(b"y", 2)]
    assert [split(end.send(each))[0].number for each in answer] == [3, 4]
    assert end.receive(packed(question, "zlib")) == question
    assert split(end.send(answer[0]))[0].number == 1


def test_a_file_of_many_packets_is_no_command_when_its_numbers_wrap() -> None:
    end = asked()
    assert end.receive(packed(packet(b"\xfbfile", 1), None, number=1)) == packet(b"\xfbfile", 1)
    numbers = [split(end.send(packet(b"line", n & 0xFF)))[0].number for n in range(2, 600)]
    assert numbers == [n & 0xFF for n in range(2, 600)]


# -- unpacking ----------------------------------------------------------------


@algorithms
@roles
def test_stored_and_packed_frames_cut_anywhere(algorithm: str, server: bool, chop: Chop) -> None:
    data = packet(LINE, 0 if server else 1) + join([b"", b"x" * 300], 1 if server else 2)[0]
    sent = pack(data[:100], 0 if server else 1, algorithm)
    sent += pack(data[100:103], 1 if server else 2, None)
    sent += pack(data[103:], 2 if server else 3, algorithm)
    end = stream(algorithm, server=True) if server else asked(algorithm)
    assert b"".join(end.receive(piece) for piece in chop(sent)) == data
    assert end.fault is None


@algorithms
def test_the_longest_frame(algorithm: str) -> None:
    data = join([b"r" * (FULL + 5)], 1)[0]
    end = asked(algorithm)
    assert end.receive(packed(data, algorithm, number=1)) == data


@algorithms
def test_what_one_end_sends_the_other_receives(algorithm: str, chop: Chop) -> None:
    ours, theirs = stream(algorithm), stream(algorithm, server=True)
    rng = random.Random(5)
    for _ in range(20):
        command = packet(b"\x03" + LINE * rng.randint(0, 8))
        answer = join([LINE[: rng.randint(0, 200)] for _ in range(rng.randint(1, 300))], 1)[0]
        heard = b"".join(theirs.receive(piece) for piece in chop(ours.send(command)))
        assert heard == command
        parts = [theirs.send(answer[at : at + 3000]) for at in range(0, len(answer), 3000)]
        assert b"".join(ours.receive(piece) for piece in chop(b"".join(parts))) == answer


# -- numbers of packets -------------------------------------------------------


def test_an_answers_packets_are_numbered_as_if_uncompressed() -> None:
    """Servers set a packet's number to the frame's at every flush: after each result."""
    end = asked()
    wrong = join([b"one", b"two", b"three"], 1)[0] + join([b"four", b"five"], 2)[0]
    assert (
        end.receive(packed(wrong, None, number=1, each=8))
        == join([b"one", b"two", b"three", b"four", b"five"], 1)[0]
    )
    end.send(join([b"\x03" + b"l" * FULL])[0])
    assert end.receive(packed(packet(b"ok", 3), None, number=2)) == packet(b"ok", 2)


def test_heads_cut_by_frames_are_numbered_too() -> None:
    payloads = [b"", b"a", b"bc", b"d" * 70_000]
    data = join(payloads, 1)[0]
    wrong = b"".join(packet(payload, 77) for payload in payloads)
    for each in (1, 2, 3, 4, 5, 1000):
        end = asked()
        count, got = 1, b""
        for start in range(0, len(data), each):
            got += end.receive(pack(wrong[start : start + each], count, None))
            count += 1
            if start > 3000 and each < 1000:
                break
        assert got == data[: len(got)]
        assert len(got) == len(data) or each < 1000


def test_a_files_packets_are_numbered_after_the_request_for_it() -> None:
    """The client counts on from our frame: 3, where the backend expects packet 2."""
    end = stream(server=True)
    question = packet(b"\x03" + b"q" * 100)
    end.receive(packed(question, None, each=60))
    assert split(end.send(packet(b"\xfbname", 1)))[0].number == 2
    sent, number = b"", 3
    expected = b""
    for n in range(600):
        sent += pack(packet(b"line of the file", number & 0xFF), number, None)
        expected += packet(b"line of the file", (2 + n) & 0xFF)
        number += 1
    assert end.receive(sent) == expected
    assert end.receive(pack(packet(b"", number & 0xFF), number, None)) == packet(b"", 602 & 0xFF)
    assert split(end.send(packet(b"ok", 603 & 0xFF)))[0].number == (number + 1) & 0xFF
    assert end.receive(pack(packet(b"\x03next"), 0, None)) == packet(b"\x03next")


def test_commands_in_one_frame_each_begin_with_zero() -> None:
    end = stream(server=True)
    both = packet(b"\x19\x01\x00\x00\x00") + packet(b"\x03SELECT")
    assert end.receive(pack(both, 0, None)) == both
    assert split(end.send(packet(b"ok", 1)))[0].number == 1


def test_an_answer_of_many_frames_wraps() -> None:
    end = asked()
    rows = [packet(b"row", n & 0xFF) for n in range(1, 700)]
    sent = b"".join(pack(row, n, None) for n, row in enumerate(rows, 1))
    assert end.receive(sent) == b"".join(rows)
    assert end.fault is None


def test_what_a_backend_says_unasked_keeps_its_number() -> None:
    end = asked()
    assert end.receive(pack(packet(b"ok", 1), 1, None)) == packet(b"ok", 1)
    assert end.receive(pack(packet(b"\xffbye", 0), 0, None)) == packet(b"\xffbye", 0)
    assert end.fault is None


def test_answers_to_commands_sent_ahead_each_begin_anew() -> None:
    end = asked()
    end.send(packet(b"\x0e"))
    assert end.receive(pack(packet(b"one", 1), 1, None)) == packet(b"one", 1)
    assert end.receive(pack(packet(b"two", 1), 1, None)) == packet(b"two", 1)
    assert end.fault is None


# -- broken frames ------------------------------------------------------------


def broken(data: bytes, reason: str, algorithm: str = "zlib", *, server: bool = True) -> None:
    end = stream(algorithm, server=True) if server else asked(algorithm)
    assert end.receive(data) == b""
    assert end.fault is not None
    assert reason in end.fault
    assert end.receive(pack(packet(b"\x03fine"), 0, None)) == b""  # it stays broken


@pytest.mark.parametrize("number", [1, 7, 254])
def test_frames_out_of_order(number: int) -> None:
    broken(pack(LINE, number, "zlib"), f"sequence id {number}, expected 0")
    broken(pack(LINE, number + 1, "zlib"), "expected 1", server=False)


def test_a_command_that_begins_within_another() -> None:
    end = stream(server=True)
    assert end.receive(pack(packet(b"\x03" + LINE)[:50], 0, None)) != b""
    assert end.receive(pack(packet(b"\x03x"), 0, None)) == b""
    assert end.fault == "compressed frame has sequence id 0, expected 1"


def test_an_empty_frame() -> None:
    broken(b"\x00\x00\x00\x00\x00\x00\x00", "empty")


@algorithms
@pytest.mark.parametrize("body", [b"\x00" * 60, b"garbage" * 20, b"\x78\x9c", b"\x28\xb5\x2f\xfd"])
def test_what_does_not_unpack(algorithm: str, body: bytes) -> None:
    head = len(body).to_bytes(3, "little") + b"\x00"
    broken(head + b"\x64\x00\x00" + body, "broken", algorithm)


@algorithms
@pytest.mark.parametrize("size", [1, 49, 219, 221, 5000, FULL])
def test_what_unpacks_to_another_length(algorithm: str, size: int) -> None:
    assert len(LINE) == 220
    broken(pack(LINE, 0, algorithm, size=size), f"{size} bytes it announces", algorithm)


@algorithms
def test_what_is_cut_off_or_goes_on(algorithm: str) -> None:
    whole = split(pack(LINE, 0, algorithm))[0].body
    for body in (whole[:-1], whole[:-5], whole + b"\0", whole + whole):
        head = len(body).to_bytes(3, "little") + b"\x00" + len(LINE).to_bytes(3, "little")
        broken(head + body, "broken", algorithm)


def test_zstd_that_does_not_say_how_long_it_is() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False)
    body = packer.compress(LINE)
    head = len(body).to_bytes(3, "little") + b"\x00"
    end = stream("zstd", server=True)
    assert end.receive(head + len(LINE).to_bytes(3, "little") + body) == LINE
    broken(head + b"\x64\x00\x00" + body, "broken", "zstd")


BOMBS = {
    "zlib": zlib.compress(bytes(200 << 20), 9),
    "zstd": zstandard.ZstdCompressor().compress(bytes(200 << 20)),
    "zstd without a length": zstandard.ZstdCompressor(write_content_size=False).compress(
        bytes(200 << 20)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_never_unpacks(name: str) -> None:
    body = BOMBS[name]
    for size in (100, 1 << 20):
        frame = len(body).to_bytes(3, "little") + b"\x00" + size.to_bytes(3, "little") + body
        end = stream(name[:4], server=True)
        tracemalloc.start()
        try:
            assert end.receive(frame) == b""
            assert tracemalloc.get_traced_memory()[1] < 8 * size + (2 << 20)
        finally:
            tracemalloc.stop()
        assert end.fault is not None


def test_what_is_announced_costs_nothing_until_it_comes() -> None:
    tracemalloc.start()
    try:
        end = stream(server=True)
        assert end.receive(b"\xff\xff\xff\x00\xff\xff\xff" + b"x" * 100) == b""
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert end.fault is None


@algorithms
@roles
def test_random_damage_never_crashes(algorithm: str, server: bool) -> None:
    rng = random.Random(11)
    data = packet(LINE * 3, 0 if server else 1)
    good = packed(data, algorithm, number=0 if server else 1, each=200)
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        end = stream(algorithm, server=True) if server else asked(algorithm)
        at = rng.randrange(len(bad))
        got = end.receive(bytes(bad[:at])) + end.receive(bytes(bad[at:]))
        assert len(got) <= 3 * FULL
        assert len(end.send(packet(b"\x03still", 0))) == 7 + 10


@pytest.mark.parametrize("codec_", [None, object()])
def test_a_codec_is_needed(codec_: object) -> None:
    if codec_ is None:
        with pytest.raises(TypeError):
            CompressedStream(codec_, True)  # type: ignore[arg-type]
        return
    end = CompressedStream(codec_, True)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        end.send(packet(LINE))
