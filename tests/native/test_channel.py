# SPDX-License-Identifier: Apache-2.0
"""Packets for code that awaits: framing, limits, ends, and who gets what is left over."""

from __future__ import annotations

import asyncio
import gc

import pytest

from hproxy._native.buffer import pool_stats
from hproxy._native.channel import Channel
from hproxy._native.reactor import Reactor
from hproxy.errors import BackendLost, BackendProtocolError, ClientError
from hproxy.protocols.mysql.wire import join
from tests.native.loop import in_loop, until
from tests.support.chopper import Chop
from tests.support.socket_pair import Peer, open_descriptors, pair, settle, tcp_pair

FRAME_MAX = 0xFFFFFF
BORDERS = [
    0, 1, 250, 65535, FRAME_MAX - 1, FRAME_MAX, FRAME_MAX + 1, 2 * FRAME_MAX, 4 * FRAME_MAX + 1,
]  # fmt: skip


def packet(payload: bytes, sequence: int = 0) -> bytes:
    return join([payload], sequence)[0]


async def pour(peer: Peer, data: bytes) -> None:
    """Send all of it while the other side reads."""
    view = memoryview(data)
    while view:
        sent = peer.send_some(view)
        view = view[sent:]
        await asyncio.sleep(0)


async def drink(peer: Peer, size: int) -> bytes:
    parts: list[bytes] = []
    missing = size
    while missing > 0 and not peer.ended:
        parts.append(peer.receive())
        missing -= len(parts[-1])
        await asyncio.sleep(0)
    return b"".join(parts)


def test_packets_come_out_whole(chop: Chop) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "client")
        payloads = [b"one", b"", b"two" * 1000, b"\x00"]

        async def send() -> None:
            for piece in chop(join(payloads)[0]):
                peer.send(piece)
                await asyncio.sleep(0)

        sending = asyncio.ensure_future(send())
        assert [await channel.read_packet() for _ in payloads] == payloads
        await sending
        assert channel.seq == 4

    in_loop(work)


@pytest.mark.parametrize("size", BORDERS)
def test_packets_over_several_frames(size: int) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    payload = payload[:size]

    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "backend")
        sending = asyncio.ensure_future(
            pour(peer, packet(payload) + packet(b"x", 1 + size // FRAME_MAX))
        )
        assert await channel.read_packet() == payload
        assert await channel.read_packet() == b"x"
        await sending
        channel.seq = 0
        channel.write_packet(payload)
        assert channel.seq == 1 + size // FRAME_MAX
        expected = packet(payload)
        assert await drink(peer, len(expected)) == expected
        await channel.drain()

    in_loop(work)


def test_several_packets_leave_in_one_go_and_numbers_wrap() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    channel = Channel(end, "client")
    channel.seq = 254
    channel.write_packets([b"a", b"b", b"c"])
    assert peer.receive() == join([b"a", b"b", b"c"], 254)[0]
    assert channel.seq == 1


@pytest.mark.parametrize(
    ("side", "kind", "code"),
    [("client", ClientError, "client."), ("backend", BackendProtocolError, "backend.protocol.")],
)
def test_broken_frames_are_the_mistake_of_their_side(
    side: str, kind: type[Exception], code: str
) -> None:
    async def work(reactor: Reactor) -> None:
        for data, what in ((packet(b"x", 3), "sequence"), (packet(b"x" * 101), "oversized")):
            peer, end = pair(reactor)
            channel = Channel(end, side, 100)
            peer.send(data)
            for _ in range(2):  # and it stays so
                with pytest.raises(kind) as caught:
                    await channel.read_packet()
                assert caught.value.full_code == code + what  # type: ignore[attr-defined]

    in_loop(work)


def test_a_packet_is_refused_by_its_head_alone() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "client", 1000)
        peer.send(b"\xe9\x03\x00\x00")
        with pytest.raises(ClientError, match="1001 bytes or more, limit is 1000"):
            await channel.read_packet()
        peer, end = pair(reactor)
        channel = Channel(end, "client", FRAME_MAX + 1)
        sending = asyncio.ensure_future(
            pour(peer, packet(bytes(FRAME_MAX))[:-4] + b"\x02\x00\x00\x01")
        )
        with pytest.raises(ClientError, match="limit is"):
            await channel.read_packet()
        await sending

    in_loop(work)


@pytest.mark.parametrize(("side", "kind"), [("client", ClientError), ("backend", BackendLost)])
def test_an_end_is_told_after_what_came_before_it(side: str, kind: type[Exception]) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, side)
        peer.send(packet(b"last words") + b"\x05\x00")
        peer.close()
        assert await channel.read_packet() == b"last words"
        with pytest.raises(kind, match="connection closed"):
            await channel.read_packet()
        with pytest.raises(kind):
            await channel.drain()
        channel.write_packet(b"to nobody")

    in_loop(work)


def test_a_reset_wakes_the_reader() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = tcp_pair(reactor)
        channel = Channel(end, "client")
        reading = asyncio.ensure_future(channel.read_packet())
        await asyncio.sleep(0)
        peer.reset()
        with pytest.raises(ClientError, match="reset"):
            await reading

    in_loop(work)


def test_a_lost_peer_nobody_reads_from_does_not_spin() -> None:
    for connect in (pair, tcp_pair):
        reactor = Reactor()
        peer, end = connect(reactor)
        channel = Channel(end, "client")
        (peer.reset if connect is tcp_pair else peer.close)()
        settle(reactor)
        events = reactor.events
        for _ in range(50):
            reactor.poll()
        assert reactor.events - events <= 1
        channel.close()
        assert reactor.size == 0


def test_one_reader_at_a_time() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "client")
        first = asyncio.ensure_future(channel.read_packet())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one reader at a time"):
            await channel.read_packet()
        peer.send(packet(b"x"))
        assert await first == b"x"

    in_loop(work)


def test_a_cancelled_read_loses_nothing() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "client")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await channel.read_packet()
        peer.send(packet(b"x"))
        assert await channel.read_packet() == b"x"

    in_loop(work)


def test_what_nobody_reads_waits_in_the_socket() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    channel = Channel(end, "client")
    sent, quiet = 0, 0
    while quiet < 3:
        now = peer.send_some(packet(b"x" * 1000) * 100)
        quiet = 0 if now else quiet + 1
        sent += now
        reactor.poll()
    assert end.bytes_in < 262144 + 2 * 131072
    assert sent < 1 << 21
    channel.close()


def test_drain_waits_for_a_slow_peer() -> None:
    used, _ = pool_stats()

    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor, send_buffer=8192)
        channel = Channel(end, "client")
        channel.write_packet(b"x" * 1_000_000)
        assert end.send_queue() > 900_000
        draining = asyncio.ensure_future(channel.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        assert len(await drink(peer, 1_000_004)) == 1_000_004
        await draining
        assert end.send_queue() == 0

    in_loop(work)
    gc.collect()
    assert pool_stats()[0] == used


def test_drain_ends_when_the_peer_leaves() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor, send_buffer=8192)
        channel = Channel(end, "backend")
        channel.write_packet(b"x" * 1_000_000)
        draining = asyncio.ensure_future(channel.drain())
        await asyncio.sleep(0)
        peer.close()
        with pytest.raises(BackendLost):
            await draining

    in_loop(work)


def test_the_next_owner_gets_what_is_left_over(chop: Chop) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        first = Channel(end, "client")
        data = packet(b"mine") + packet(b"yours") + packet(b"split", 1)
        for piece in chop(data[:-3]):
            peer.send(piece)
            reactor.poll()
        assert await first.read_packet() == b"mine"
        assert first.detach() is end
        with pytest.raises(ClientError, match="detached"):
            await first.read_packet()
        second = Channel(end, "client")
        assert await second.read_packet() == b"yours"
        peer.send(data[-3:])
        assert await second.read_packet() == b"split"
        peer.close()
        with pytest.raises(ClientError, match="closed"):
            await second.read_packet()

    in_loop(work)


def test_a_large_leftover_survives_several_owners() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        payloads = [bytes([n]) * 1000 for n in range(200)]
        channel = Channel(end, "client")
        sending = asyncio.ensure_future(pour(peer, join(payloads)[0]))
        for payload in payloads:
            seq = channel.seq
            channel.detach()
            channel = Channel(end, "client")
            channel.seq = seq
            assert await channel.read_packet() == payload
        await sending

    in_loop(work)


def test_an_end_is_told_to_the_next_owner_too() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        first = Channel(end, "client")
        peer.close()
        settle(reactor)
        first.detach()
        second = Channel(end, "client")
        with pytest.raises(ClientError, match="closed"):
            await second.read_packet()

    in_loop(work)


@pytest.mark.parametrize("talkative", [False, True])
def test_finish_delivers_last_words_before_the_end(talkative: bool) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = tcp_pair(reactor, send_buffer=65536)
        channel = Channel(end, "client")
        words = b"x" * 3_000_000
        channel.write_packet(words)
        if talkative:
            peer.send_some(b"still talking" * 1000)
        channel.finish()
        heard = b""
        while not peer.ended:
            if talkative:
                peer.send_some(b"on and on" * 100)
            heard += peer.receive(50_000)
            await asyncio.sleep(0)
        assert heard == packet(words)
        peer.close()
        await until(lambda: end.closed)
        assert reactor.size == 0

    in_loop(work)


def test_a_half_closed_peer_still_hears_the_answer() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor, send_buffer=8192)
        channel = Channel(end, "client")
        peer.send(packet(b"question"))
        peer.shut()
        assert await channel.read_packet() == b"question"
        channel.write_packet(b"answer" * 10_000)
        channel.finish()
        assert await drink(peer, 60_004) == packet(b"answer" * 10_000, 1)
        await until(lambda: end.closed)

    in_loop(work)


def test_after_finish_a_peer_has_so_long_to_leave() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    Channel(end, "client").finish()
    settle(reactor)
    assert peer.receive() == b""
    assert peer.ended
    assert not end.closed
    assert 0 < end.deadline <= reactor.now + 6
    peer.send(b"not leaving")
    settle(reactor)
    assert reactor.sweep() == 0
    end.deadline = 1e-9
    assert reactor.sweep() == 1
    assert end.closed


def test_close_is_final_and_harmless_twice() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    channel = Channel(end, "client")
    channel.write_packet(b"x")
    channel.close()
    channel.close()
    channel.finish()
    channel.write_packet(b"y")
    assert channel.detach() is end
    assert peer.receive() == packet(b"x")
    assert peer.ended
    assert (end.fd, end.send_queue(), end.bytes_out) == (-1, 0, 5)


def test_a_side_is_client_or_backend() -> None:
    reactor = Reactor()
    _, end = pair(reactor)
    with pytest.raises(ValueError, match="side is 'client' or 'backend', not 'server'"):
        Channel(end, "server")


def test_nothing_is_left_of_many_channels() -> None:
    async def work(reactor: Reactor) -> None:
        async def one() -> None:
            peer, end = pair(reactor)
            channel = Channel(end, "client")
            reading = asyncio.ensure_future(channel.read_packet())
            await asyncio.sleep(0)
            peer.send(packet(b"x"))
            assert await reading == b"x"
            peer.close()
            await until(lambda: end.bytes_in)
            channel.finish()
            await until(lambda: end.closed)

        await one()
        gc.collect()
        before = open_descriptors()
        for _ in range(1000):
            await one()
        gc.collect()
        assert open_descriptors() == before
        assert reactor.size == 0

    in_loop(work)
