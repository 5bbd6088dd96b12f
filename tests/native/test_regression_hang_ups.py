# SPDX-License-Identifier: Apache-2.0
"""Peers that hang up while nobody may read from them: told once, and the reactor comes to rest.

An empty epoll mask still reports EPOLLHUP and EPOLLERR. Each of these was a worker at 100 % CPU
until somebody closed the descriptor.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy._native.reactor import Reactor
from tests.native.rig import Rig, packet
from tests.support.socket_pair import Peer, pair, settle, tcp_pair

Connect = Callable[..., tuple[Peer, Endpoint]]

both = pytest.mark.parametrize("connect", [pair, tcp_pair], ids=["unix", "tcp"])


def leave(peer: Peer, connect: Connect) -> None:
    if connect is tcp_pair:
        peer.reset()
    else:
        peer.close()


def hear(reactor: Reactor, peer: Peer, length: int) -> bytes:
    """At least `length` bytes, as fast as the kernel passes them on."""
    parts: list[bytes] = []
    end = monotonic() + 10.0
    while sum(map(len, parts)) < length and monotonic() < end:
        settle(reactor)
        parts.append(peer.receive())
    return b"".join(parts)


@both
def test_a_peer_leaves_while_its_channel_is_not_read(connect: Connect) -> None:
    """A client resets while we look for a backend."""
    reactor = Reactor()
    peer, end = connect(reactor)
    channel = Channel(end, "client")
    leave(peer, connect)
    settle(reactor)
    assert reactor.size == 1
    channel.write_packet(b"nobody reads this")
    settle(reactor)
    channel.finish()
    settle(reactor)
    assert reactor.size == 0


@both
def test_a_peer_leaves_half_way_and_still_reads(connect: Connect) -> None:
    """After its end was told, what it has not taken yet must still be flushed."""
    reactor = Reactor()
    peer, end = connect(reactor)
    channel = Channel(end, "client")
    channel.write_packet(b"x" * 16_000_000)
    assert end.send_queue() > 0
    peer.shut()
    settle(reactor)
    heard = hear(reactor, peer, 16_000_004)
    channel.write_packet(b"more")
    heard += hear(reactor, peer, 8)
    assert heard == packet(b"x" * 16_000_000) + packet(b"more", 1)
    channel.finish()
    settle(reactor)
    assert reactor.size == 0


@both
def test_a_client_leaves_that_has_pipelined_more_than_we_keep(connect: Connect) -> None:
    """Its query runs on: it must be heard of at once, or nobody kills the query."""
    rig = Rig(connect=connect).start()
    rig.client.send(packet(b"\x03SELECT SLEEP(1000)"))
    while rig.state != "response":
        rig.settle()
    ahead = packet(b"\x03" + b"x" * 100) * 3000
    sent = 0
    while sent < len(ahead) and (n := rig.client.send_some(ahead[sent:])):
        sent += n
        rig.settle()
    assert sent > 131072
    leave(rig.client, connect)
    end = monotonic() + 10.0
    while not rig.driver.told and monotonic() < end:
        rig.settle()
    assert rig.driver.told[0] == ("client lost", "response")
    assert rig.state == "closed"
