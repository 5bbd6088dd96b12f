# SPDX-License-Identifier: Apache-2.0
"""Endpoints whose bytes go in compressed frames: sessions over them, slow owners, broken ends."""

from __future__ import annotations

import os

import pytest

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy._native.reactor import Reactor
from hproxy.errors import BackendProtocolError, ClientError
from hproxy.protocols.mysql.compression import codec
from hproxy.protocols.mysql.wire import join, lenenc_string
from tests.native.loop import in_loop, until
from tests.native.responses import columns, eof, framed, ok
from tests.native.rig import BAD_CLIENT, LOST, MALFORMED, Rig, packet
from tests.native.test_endpoint_tls import secured
from tests.support.chopper import Chop
from tests.support.packed import pack, packed, split, unpacked
from tests.support.socket_pair import Peer, pair

FULL = 0xFFFFFF
ALGORITHMS = ["zlib", "zstd"]
SELECT = packet(b"\x03SELECT " + b"column, " * 30)
ROWS = framed([*columns(2, True), *([b"\x03abc\x04defg" * 20] * 50), *eof(True)])
SCRATCH = 131072
HIGH_WATER = 131072

algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
sides = pytest.mark.parametrize("side", ["client", "backend", "both"])


def rig(side: str, algorithm: str = "zlib", *, client_buffer: int | None = None) -> Rig:
    """A session whose `side` is compressed."""
    order = iter(["client", "backend"])

    def connect(reactor: Reactor, *, send_buffer: int | None = None) -> tuple[Peer, Endpoint]:
        peer, end = pair(reactor, send_buffer=send_buffer)
        this = next(order)
        if side in (this, "both"):
            channel = Channel(end, this)
            channel.start_compression(codec(algorithm, 1))
            end = channel.detach()
        return peer, end

    return Rig(connect=connect, client_buffer=client_buffer).start()


class Sides:
    """What goes over each side, in frames where that side has them."""

    def __init__(self, side: str, algorithm: str) -> None:
        self.algorithm = algorithm
        self.client, self.backend = side in ("client", "both"), side in ("backend", "both")

    def from_client(self, data: bytes, number: int = 0, each: int = FULL) -> bytes:
        return packed(data, self.algorithm, number=number, each=each) if self.client else data

    def from_backend(self, data: bytes, number: int = 1, each: int = FULL) -> bytes:
        return packed(data, self.algorithm, number=number, each=each) if self.backend else data

    def to_client(self, data: bytes) -> bytes:
        return unpacked(data, self.algorithm) if self.client else data

    def to_backend(self, data: bytes) -> bytes:
        return unpacked(data, self.algorithm) if self.backend else data


@algorithms
@sides
def test_a_query_and_its_rows(side: str, algorithm: str, chop: Chop) -> None:
    run, sides = rig(side, algorithm), Sides(side, algorithm)
    for each in (FULL, 40, 7):
        heard = b"".join(map(run.client_says, chop(sides.from_client(SELECT, each=each))))
        assert sides.to_backend(heard) == SELECT
        count = len(split(heard)) if sides.backend else 1
        each = max(each, len(ROWS) // 200)
        answer = sides.from_backend(ROWS, count, each)
        heard = b"".join(map(run.say, chop(answer)))
        assert sides.to_client(heard) == ROWS
        assert run.state == "idle"


@sides
def test_numbers_of_an_answer_follow_its_question(side: str) -> None:
    run, sides = rig(side), Sides(side, "zlib")
    heard = run.client_says(sides.from_client(SELECT, each=60))
    if sides.backend:
        assert split(heard)[0].number == 0
    answer = run.say(sides.from_backend(packet(ok(), 1), 1))
    if sides.client:
        assert [frame.number for frame in split(answer)] == [len(range(0, len(SELECT), 60))]


def test_a_pipelining_client_hears_each_answer_under_its_own_numbers() -> None:
    """Frames of commands that wait must not change how the answer before them is counted."""
    run = rig("client")
    one, two, three = SELECT, packet(b"\x03two"), packet(b"\x03" + b"3" * 100)
    sent = packed(one, "zlib", each=60) + pack(two, 0, None) + packed(three, "zlib", each=50)
    assert run.client_says(sent) == one
    first = split(run.say(packet(ok(), 1)))
    assert [frame.number for frame in first] == [5]
    assert run.to_backend() == two
    assert [frame.number for frame in split(run.say(packet(ok(), 1)))] == [1]
    assert run.to_backend() == three
    assert [frame.number for frame in split(run.say(ROWS))] == [3]
    assert run.state == "idle"


def test_a_backends_own_idea_of_numbers_does_not_reach_the_client() -> None:
    """After the first of two results it goes on with the number of the frame."""
    run = rig("backend")
    run.client_says(SELECT)
    one = framed([*columns(1, True), *([b"\x01a"] * 5), *eof(True, 8 | 2)])
    two = framed([*columns(1, True), *([b"\x01b"] * 5), *eof(True)], 2)
    heard = run.say(pack(one, 1, "zlib"))
    heard += run.say(pack(two, 2, "zlib"))
    count = 2 * 8
    assert [heard[at] for at in heads(heard)] == list(range(1, count + 1))
    assert run.state == "idle"
    assert run.driver.told == []


def heads(data: bytes) -> list[int]:
    """Where the numbers of the packets stand."""
    found, at = [], 0
    while at < len(data):
        found.append(at + 3)
        at += 4 + int.from_bytes(data[at : at + 3], "little")
    return found


@algorithms
@sides
def test_a_file(side: str, algorithm: str) -> None:
    run, sides = rig(side, algorithm), Sides(side, algorithm)
    load = packet(b"\x03LOAD DATA LOCAL INFILE")
    sent = run.client_says(sides.from_client(load, each=13))
    asking = sides.from_backend(packet(b"\xfbfile", 1), len(split(sent)) if sides.backend else 1)
    request = run.say(asking)
    assert sides.to_client(request) == packet(b"\xfbfile", 1)
    number = split(request)[-1].number + 1 if sides.client else 0
    content = [b"line %d" % n * 100 for n in range(300)]
    file = join([*content, b""], 2)[0]
    mine = join([*content, b""], number if sides.client else 2)[0]
    heard = b""
    for at in range(0, len(mine), 50_000):
        heard += run.client_says(sides.from_client(mine[at : at + 50_000], number))
        number += 1
    assert sides.to_backend(heard) == file
    after = split(heard)[-1].number + 1 if sides.backend else 0
    last = (2 + 301) & 0xFF
    said = run.say(sides.from_backend(packet(ok(), last), after & 0xFF))
    assert sides.to_client(said) == packet(ok(), last)
    assert run.state == "idle"


@algorithms
@sides
def test_a_command_and_a_row_beyond_16_mib(side: str, algorithm: str) -> None:
    run, sides = rig(side, algorithm), Sides(side, algorithm)
    text = os.urandom(100_000) * 180
    command = join([b"\x03" + text])[0]
    heard = b""
    for number, at in enumerate(range(0, len(command), 50_000)):
        heard += run.client_says(sides.from_client(command[at : at + 50_000], number & 0xFF))
    assert sides.to_backend(heard) == command
    row = framed([*columns(1, True), lenenc_string(text), *eof(True)], 2)
    after = split(heard)[-1].number + 1 if sides.backend else 0
    heard = b""
    for number, at in enumerate(range(0, len(row), 50_000), after):
        heard += run.say(sides.from_backend(row[at : at + 50_000], number & 0xFF))
    assert sides.to_client(heard) == row
    assert run.state == "idle"


# -- slow owners --------------------------------------------------------------


@algorithms
def test_a_frame_of_16_mib_waits_for_a_slow_client(algorithm: str) -> None:
    run = rig("backend", algorithm, client_buffer=4096)
    run.client_says(SELECT)
    row = lenenc_string(b"r" * 0xF00000)
    rows = framed([*columns(1, True), row, *eof(True)])
    for piece in split_pieces(pack(rows, 1, algorithm)):
        run.backend.send(piece)
        run.settle()
    run.settle()
    waiting = run.session.client.send_queue()
    assert 0 < waiting <= HIGH_WATER + SCRATCH
    heard = b""
    while len(heard) < len(rows):
        heard += run.client.receive()
        run.settle()
        assert run.session.client.send_queue() <= HIGH_WATER + SCRATCH
    same = heard == rows  # too long to be shown
    assert same
    assert run.state == "idle"


def split_pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 100_000] for at in range(0, len(data), 100_000)]


@algorithms
def test_a_small_frame_with_a_large_command_waits_for_a_slow_backend(algorithm: str) -> None:
    run = rig("client", algorithm)
    command = packet(b"\x03" + b" " * 0xF00000)
    frame = pack(command, 0, algorithm)
    assert len(frame) < 40_000
    run.client.send(frame)
    run.settle()
    assert run.session.backend.send_queue() <= HIGH_WATER + SCRATCH
    same = run.to_backend() == command
    assert same
    assert split(run.say(packet(ok(), 1)))[0].number == 1


@sides
def test_a_backend_that_leaves_after_its_answer_was_heard_to_the_end(side: str) -> None:
    run, sides = rig(side, client_buffer=4096), Sides(side, "zlib")
    run.client_says(sides.from_client(SELECT))
    row = lenenc_string(os.urandom(16) * 4096)
    rows = framed([*columns(1, True), *([row] * 30), *eof(True)])
    for n, piece in enumerate(rows[at : at + 20_000] for at in range(0, len(rows), 20_000)):
        data = sides.from_backend(piece, n + 1 & 0xFF)
        while data:
            data = data[run.backend.send_some(data) :]
            run.settle()
            run.client.heard += run.client.receive()
    run.backend.shut()
    run.settle()
    run.client.heard += run.to_client()
    same = sides.to_client(run.client.heard) == rows + packet(LOST, 1)
    assert same
    assert run.over()


def test_many_commands_in_one_frame_are_served_one_at_a_time() -> None:
    run = rig("client")
    run.client.send(pack(packet(b"\x03x") * 5000, 0, "zlib"))
    for n in range(5000):
        assert run.to_backend() == packet(b"\x03x")
        assert run.say(packet(ok(), 1)) == pack(packet(ok(), 1), n + 1, None)
    assert run.state == "idle"


def test_many_frames_ahead_are_served_one_at_a_time() -> None:
    run = rig("client")
    command = packet(b"\x03" + b"x" * 60)
    run.client.send(pack(command, 0, "zlib") * 5000)
    answer = pack(packet(ok(), 1), 1, None)
    for _ in range(5000):
        assert run.to_backend() == command
        assert run.say(packet(ok(), 1)) == answer
    assert run.state == "idle"


# -- broken ends --------------------------------------------------------------

GARBAGE = {
    "empty": bytes(7),
    "order": pack(packet(b"\x03x"), 9, None),
    "not packed": b"\x40\x00\x00\x00\x80\x00\x00" + b"garbage." * 8,
    "longer": pack(SELECT, 0, "zlib", size=20),
    "shorter": pack(SELECT, 0, "zlib", size=4000),
    "http": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_client_that_sends_no_frames_is_told_and_left(name: str, chop: Chop) -> None:
    run = rig("client")
    heard = b""
    for piece in chop(GARBAGE[name]):
        if run.state == "closed":
            break
        run.client.send(piece)
        run.settle()
        heard += run.client.receive()
    kind, reason = run.driver.told[0]
    assert kind == "client fault"
    assert "compressed frame" in str(reason)
    assert unpacked(heard + run.to_client(), "zlib") == packet(BAD_CLIENT, 1)
    assert run.over()


@pytest.mark.parametrize("name", [name for name in GARBAGE if name != "order"])
def test_a_backend_that_sends_no_frames_is_left(name: str) -> None:
    run = rig("backend")
    run.client_says(SELECT)
    data = bytearray(GARBAGE[name])
    if name != "http":
        data[3] = 1
    run.backend.send(bytes(data))
    assert run.to_client() == packet(MALFORMED, 1)
    assert run.driver.told[0][0] == "backend fault"
    assert run.over()


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_connection_cut_within_a_frame(side: str) -> None:
    run = rig(side)
    if side == "client":
        run.client.send(pack(SELECT, 0, "zlib")[:20])
        run.settle()
        run.client.close()
        run.settle()
        assert run.driver.told[0] == ("client lost", "idle")
    else:
        run.client_says(SELECT)
        run.backend.send(pack(ROWS, 1, "zlib")[:20])
        run.settle()
        run.backend.close()
        run.settle()
        assert run.driver.told[0] == ("backend lost", "response")
    assert run.state == "closed"


def test_a_codec_that_fails_costs_this_session_only() -> None:
    class Broken:
        def compress(self, data: object) -> bytes:
            raise RuntimeError("no memory left, say")

        def decompress(self, data: object, size: int) -> bytes:
            raise RuntimeError("no memory left, say")

    reactor = Reactor()
    peer, end = pair(reactor)
    other, untouched = pair(reactor)
    channel, still = Channel(end, "client"), Channel(untouched, "client")
    channel.start_compression(Broken())
    peer.send(pack(SELECT, 0, "zlib"))
    other.send(packet(b"fine"))
    reactor.poll()
    assert end.closed
    with pytest.raises(ClientError, match="no memory left"):
        channel.read_packet().send(None)
    with pytest.raises(StopIteration) as read:
        still.read_packet().send(None)
    assert read.value.value == b"fine"


# -- channels -----------------------------------------------------------------


def test_a_channel_reads_and_writes_frames() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "backend")
        channel.start_compression(codec("zstd", 3))
        assert end.compressed
        channel.write_packet(b"\x03" + b"q" * 100)
        [frame] = split(peer.receive())
        assert (frame.number, frame.payload("zstd")) == (0, packet(b"\x03" + b"q" * 100))
        peer.send(pack(packet(b"a" * 80, 1) + packet(b"b", 2), 1, "zstd"))
        assert await channel.read_packet() == b"a" * 80
        assert await channel.read_packet() == b"b"
        channel.seq = 0
        channel.write_packets([b"\x01"])
        assert split(peer.receive())[0].number == 0

    in_loop(work)


def test_what_came_behind_the_login_is_a_frame_already() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "client")
        peer.send(packet(b"login") + pack(packet(b"\x03early"), 0, "zlib")[:9])
        assert await channel.read_packet() == b"login"
        channel.write_packet(b"welcome")
        assert peer.receive() == packet(b"welcome", 1)
        channel.start_compression(codec("zlib", 6))
        peer.send(pack(packet(b"\x03early"), 0, "zlib")[9:])
        channel.seq = 0
        assert await channel.read_packet() == b"\x03early"

    in_loop(work)


@pytest.mark.parametrize(
    ("side", "error", "code"),
    [
        ("client", ClientError, "client.compression"),
        ("backend", BackendProtocolError, "backend.protocol.compression"),
    ],
)
def test_a_channel_hears_no_frames(side: str, error: type[Exception], code: str) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, side)
        channel.start_compression(codec("zlib", 6))
        peer.send(b"not compressed at all")
        with pytest.raises(error, match="compressed frame") as caught:
            await channel.read_packet()
        assert caught.value.full_code == code  # type: ignore[attr-defined]
        peer.send(b"x" * 100_000)
        with pytest.raises(error):
            await channel.read_packet()
        channel.write_packet(b"\xffwhy")
        channel.finish()
        peer.close()
        await until(lambda: end.closed)

    in_loop(work)


@algorithms
def test_compression_within_tls(algorithm: str) -> None:
    payload = bytes(range(256)) * 8000

    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor)
        channel.start_compression(codec(algorithm, 1))
        await far.send(packed(packet(payload), algorithm, each=300_000))
        assert await channel.read_packet() == payload
        channel.write_packet(payload[:5000])
        length = int.from_bytes(head := await far.receive(7), "little") & FULL
        [frame] = split(head + await far.receive(length))
        assert (frame.number, frame.payload(algorithm)) == (7, packet(payload[:5000], 1))
        # Its last words come before its farewell, however slowly they are taken.
        channel.seq = 0
        await far.send(packed(packet(payload), algorithm, each=300_000))
        far.peer.shut()
        assert await channel.read_packet() == payload
        with pytest.raises(ClientError):
            await channel.read_packet()

    in_loop(work)


def test_without_compression_there_is_none() -> None:
    reactor = Reactor()
    _, end = pair(reactor)
    assert end.compressed is False
