# SPDX-License-Identifier: Apache-2.0
"""One socket: partial writes, when it asks to be told of room, counters, resets."""

from __future__ import annotations

import random

import pytest

from hproxy._native.buffer import CHUNK_BYTES, pool_stats
from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint, Owner
from hproxy._native.reactor import Reactor
from hproxy.protocols.mysql.wire import join
from tests.support.socket_pair import open_descriptors, pair, settle, tcp_pair


def test_a_write_that_fits_asks_for_nothing() -> None:
    """EPOLLOUT is armed only when the kernel would not take everything."""
    reactor = Reactor()
    peer, end = pair(reactor)
    channel = Channel(end, "client")
    for _ in range(10):
        channel.write_packet(b"x" * 1000)
        assert (end.send_queue(), reactor.poll()) == (0, 0)
    assert end.bytes_out == 10 * 1004
    assert len(peer.receive()) == 10 * 1004


def test_what_does_not_fit_is_queued_and_sent_when_there_is_room() -> None:
    reactor = Reactor()
    peer, end = pair(reactor, send_buffer=8192)
    channel = Channel(end, "client")
    channel.write_packet(b"x" * 200_000)
    queued = end.send_queue()
    assert 0 < queued < 200_004
    assert end.bytes_out + queued == 200_004
    assert reactor.poll() == 0  # no room yet: nothing is tried
    peer.receive()
    assert reactor.poll() == 1
    assert end.send_queue() < queued
    heard = 0
    while end.send_queue():
        heard += len(peer.receive())
        reactor.poll()
    assert settle(reactor) == 0  # and is not asked for any more
    assert end.bytes_out == 200_004


@pytest.mark.parametrize("connect", [pair, tcp_pair])
def test_bytes_keep_their_order_however_the_peer_reads(connect: object) -> None:
    rng = random.Random(7)
    reactor = Reactor()
    peer, end = connect(reactor, send_buffer=32768)  # type: ignore[operator]
    channel = Channel(end, "client")
    written, heard = [], b""
    for _ in range(300):
        payload = rng.randbytes(rng.choice((1, 100, CHUNK_BYTES - 4, CHUNK_BYTES, 30_000)))
        written.append(payload)
        channel.write_packet(payload)
        if rng.random() < 0.5:
            heard += peer.receive(rng.randrange(1, 60_000))
            reactor.poll()
    expected = join(written)[0]
    while len(heard) < len(expected):
        heard += peer.receive()
        reactor.poll()
    assert heard == expected
    assert pool_stats()[0] == 0 or end.send_queue() == 0


def test_a_peer_that_reads_nothing_any_more_is_written_off() -> None:
    reactor = Reactor()
    peer, end = tcp_pair(reactor, send_buffer=32768)
    channel = Channel(end, "backend")
    used, _ = pool_stats()
    channel.write_packet(b"x" * 1_000_000)
    assert pool_stats()[0] > used
    peer.reset()
    settle(reactor)
    for _ in range(3):
        channel.write_packet(b"into the void")
    assert end.send_queue() == 0
    assert pool_stats()[0] == used
    channel.close()


def test_input_is_counted_as_it_was_on_the_wire() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    Channel(end, "client")
    for size in (1, 1000, 131072):
        peer.send_some(b"x" * size)
    settle(reactor)
    assert 1001 < end.bytes_in <= 132_073


def test_without_an_owner_what_comes_is_kept_and_an_end_closes() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    peer.send(join([b"early"])[0])
    settle(reactor)
    with pytest.raises(StopIteration, match="early"):
        Channel(end, "client").read_packet().send(None)
    other, nobodys = pair(reactor)
    other.close()
    settle(reactor)
    assert nobodys.closed
    assert peer.receive() == b""


def test_an_endpoint_that_goes_away_closes_its_descriptor() -> None:
    before = open_descriptors()
    reactor = Reactor()
    peer, end = pair(reactor)
    reactor.close()  # it held the endpoint
    del end
    assert peer.receive() == b""
    assert peer.ended
    peer.close()
    assert open_descriptors() <= before + 1


def test_only_native_owners_exist() -> None:
    """Python cannot take part in the fast lane by accident."""
    assert not hasattr(Owner(), "on_data")
    with pytest.raises(TypeError):
        type("Mine", (Endpoint,), {})
