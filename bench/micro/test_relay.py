# SPDX-License-Identifier: Apache-2.0
"""What a query and a packet cost with the kernel in between: socketpairs, no event loop."""

from __future__ import annotations

import os
import socket

from pytest_benchmark.fixture import BenchmarkFixture

from hproxy._native.channel import Channel
from hproxy._native.reactor import Reactor
from tests.native.rig import Rig, packet
from tests.support.socket_pair import pair

PIECE = 65536


def test_one_query_through_a_session(
    benchmark: BenchmarkFixture, rig: Rig, point_select: tuple[bytes, bytes]
) -> None:
    """Both ways: two wake-ups of ours, four system calls of the peers."""
    command, answer = point_select
    client, backend, poll = rig.client.socket, rig.backend.socket, rig.reactor.poll

    def query() -> None:
        client.send(command)
        poll()
        backend.recv(4096)
        backend.send(answer)
        poll()
        client.recv(4096)

    benchmark(query)
    assert rig.state == "idle"


def test_the_same_bytes_without_a_session(
    benchmark: BenchmarkFixture, point_select: tuple[bytes, bytes]
) -> None:
    """What of the query above is the kernel's and the peers': to be taken off."""
    command, answer = point_select
    client, backend = socket.socketpair()

    def exchange() -> None:
        client.send(command)
        backend.recv(4096)
        backend.send(answer)
        client.recv(4096)

    benchmark(exchange)
    client.close()
    backend.close()


def test_a_wakeup_for_nothing(benchmark: BenchmarkFixture) -> None:
    reactor = Reactor()
    assert benchmark(reactor.poll) == 0


def test_a_large_result_through_a_session(
    benchmark: BenchmarkFixture, rig: Rig, large_result: bytes
) -> None:
    """About 2 MB in pieces of 64 KiB."""
    client, backend, poll = rig.client.socket, rig.backend.socket, rig.reactor.poll
    command = packet(b"\x03SELECT")
    pieces = [large_result[at : at + PIECE] for at in range(0, len(large_result), PIECE)]
    room = bytearray(PIECE)

    def result() -> None:
        client.send(command)
        poll()
        backend.recv(4096)
        for piece in pieces:
            backend.send(piece)
            poll()
            client.recv_into(room)

    benchmark(result)
    assert rig.state == "idle"
    if benchmark.stats is not None:
        rate = len(large_result) / benchmark.stats["mean"] / 1e6
        benchmark.extra_info["MB_per_s"] = round(rate)


def test_a_packet_over_a_channel(benchmark: BenchmarkFixture) -> None:
    """The slow lane: one packet read, one written."""
    reactor = Reactor()
    peer, end = pair(reactor)
    channel = Channel(end, "client")
    sent = packet(b"\x03SELECT 1")

    def converse() -> None:
        channel.seq = 0
        peer.socket.send(sent)
        reactor.poll()
        try:
            channel.read_packet().send(None)
        except StopIteration as read:
            channel.write_packet(read.value)
        peer.socket.recv(4096)

    benchmark(converse)
    assert channel.seq == 2


def test_a_system_call(benchmark: BenchmarkFixture) -> None:
    """The yardstick: how much of the above this machine's kernel alone makes of it."""
    benchmark(os.getppid)
