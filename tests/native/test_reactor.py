# SPDX-License-Identifier: Apache-2.0
"""The reactor: batches in which things die, deadlines, counters, a loop around it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import time

import pytest
import uvloop

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy._native.reactor import Reactor
from tests.native.responses import framed, ok
from tests.native.rig import Rig, packet
from tests.support.socket_pair import Peer, open_descriptors, pair, settle

SELECT = b"\x03SELECT 1"
MANY = 700  # more than two batches


def test_it_knows_what_it_watches() -> None:
    reactor = Reactor()
    assert reactor.size == 0
    pairs = [pair(reactor) for _ in range(3)]
    assert reactor.size == 3
    descriptors = {end.fd for _, end in pairs}
    assert len(descriptors) == 3
    pairs[0][1].close()
    assert (reactor.size, pairs[0][1].fd, pairs[0][1].closed) == (2, -1, True)
    pairs[0][1].close()
    assert reactor.size == 2


def test_counters_count_wakeups_and_events() -> None:
    reactor = Reactor()
    assert (reactor.wakeups, reactor.events) == (0, 0)
    assert reactor.poll() == 0
    (one, end), (two, other) = pair(reactor), pair(reactor)
    Channel(end, "client")
    Channel(other, "client")
    one.send(b"x")
    two.send(b"y")
    assert reactor.poll() == 2
    assert (reactor.wakeups, reactor.events) == (2, 2)


def test_more_than_a_batch_is_served_in_one_wakeup() -> None:
    reactor = Reactor()
    pairs = [pair(reactor) for _ in range(MANY)]
    channels = [Channel(end, "client") for _, end in pairs]
    for peer, _ in pairs:
        peer.send(packet(b"hello"))
    assert reactor.poll() == MANY
    for channel in channels:
        with pytest.raises(StopIteration) as found:
            channel.read_packet().send(None)
        assert found.value.value == b"hello"


def test_the_event_loop_gets_its_turn() -> None:
    """Peers that never fall silent cannot hold poll() for ever."""
    reactor = Reactor()
    pairs = [pair(reactor) for _ in range(10)]
    for peer, end in pairs:
        # Nobody reads: level-triggered, these would be ready for ever.
        peer.send(b"x" * 1000)
        peer.shut()
        Channel(end, "client")
    assert reactor.poll() < 200


def test_an_endpoint_closed_by_an_earlier_event_of_the_batch_is_left_alone() -> None:
    """Client and backend of a session die together: the first event closes both."""
    reactor = Reactor()
    rigs = [Rig(reactor=reactor).start() for _ in range(200)]
    for rig in rigs:
        rig.client.close()
        rig.backend.close()
    assert reactor.poll() >= 200
    settle(reactor)
    for rig in rigs:
        assert rig.state == "closed"
        assert rig.driver.count("closed") == 1
        assert rig.driver.count("client lost") + rig.driver.count("backend lost") == 1
    assert reactor.size == 0


def test_a_stale_event_does_not_hit_the_next_holder_of_the_descriptor() -> None:
    """A descriptor closed in a batch is given out again at once, still within the batch."""
    reactor = Reactor()
    rigs = [Rig(reactor=reactor).start() for _ in range(50)]
    successors: list[tuple[Peer, Endpoint]] = []
    for rig in rigs:

        def replace(session: object, _: object, rig: Rig = rig) -> None:
            rig.session.close("replaced")
            rig.session.backend.close()
            rig.session.client.close()
            successors.append(pair(reactor))

        rig.driver.client_lost = rig.driver.backend_lost = replace  # type: ignore[assignment,method-assign]
        rig.client.close()
        rig.backend.close()
    settle(reactor)
    assert len(successors) == 50
    assert all(not end.closed for _, end in successors)
    assert reactor.size == 50


def test_a_failure_closes_one_and_the_batch_goes_on() -> None:
    reactor = Reactor()
    rigs = [Rig(reactor=reactor).start() for _ in range(20)]

    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    for rig in rigs[::2]:
        rig.driver.on_slow = fail
    for rig in rigs:
        rig.client.send(packet(b"\x03KILL 5"))
    assert reactor.poll() == 20
    settle(reactor)
    assert [rig.state for rig in rigs] == ["closed", "response"] * 10


def test_sweep_tells_only_those_whose_time_is_over() -> None:
    reactor = Reactor()
    rigs = [Rig(reactor=reactor, idle_timeout=30.0).start() for _ in range(4)]
    assert reactor.sweep() == 0
    assert reactor.now == pytest.approx(time.monotonic(), abs=5.0)
    rigs[0].session.client.deadline = reactor.now - 1
    rigs[1].session.client.deadline = 1e-9
    rigs[2].session.client.deadline = reactor.now + 100
    rigs[3].session.client.deadline = 0
    assert reactor.sweep() == 2
    assert [rig.driver.count("timed out") for rig in rigs] == [1, 1, 0, 0]
    assert reactor.sweep() == 0


def test_sweep_survives_what_its_owners_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """One deadline closes endpoints whose own deadline is due as well; another owner raises."""
    reactor = Reactor()
    rigs = [Rig(reactor=reactor, idle_timeout=30.0).start() for _ in range(3)]

    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    def close_all(*_: object) -> None:
        for rig in rigs:
            rig.session.close("all of them")
            rig.session.client.close()

    monkeypatch.setattr(rigs[0].driver, "timed_out", fail)
    monkeypatch.setattr(rigs[1].driver, "timed_out", close_all)
    for rig in rigs:
        rig.session.client.deadline = 1e-9
    assert reactor.sweep() == 2
    assert [rig.state for rig in rigs] == ["closed"] * 3


def test_thousands_come_and_go() -> None:
    reactor = Reactor()
    gc.collect()
    before = open_descriptors()
    for number in range(5000):
        peer, end = pair(reactor)
        if number % 3:
            peer.send(b"x")
            reactor.poll()
        end.close()
        peer.close()
    assert reactor.size == 0
    assert open_descriptors() == before


def test_a_descriptor_that_cannot_be_watched_is_closed() -> None:
    reactor = Reactor()
    before = open_descriptors()
    with pytest.raises(OSError, match="epoll_ctl"):
        Endpoint(reactor, os.open(os.devnull, os.O_RDONLY))  # not a socket: cannot be polled
    assert open_descriptors() == before
    assert reactor.size == 0


def test_a_closed_reactor_forgets_and_closes_nothing_else() -> None:
    reactor = Reactor()
    peer, end = pair(reactor)
    reactor.close()
    reactor.close()
    assert (reactor.size, reactor.fileno(), reactor.poll()) == (0, -1, 0)
    peer.send(b"still open")
    end.close()
    assert peer.receive() == b""
    assert peer.ended
    with pytest.raises(OSError, match="epoll_ctl"):
        pair(reactor)


def test_without_descriptors_there_is_no_reactor() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="epoll_create1 failed"):
            Reactor()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_reader_in_a_loop_is_the_whole_integration(factory: object) -> None:
    async def converse() -> None:
        loop = asyncio.get_running_loop()
        rig = Rig()
        loop.add_reader(rig.reactor.fileno(), rig.reactor.poll)
        rig.session.start()
        for _ in range(50):
            await loop.sock_sendall(rig.client.socket, packet(SELECT))
            assert await loop.sock_recv(rig.backend.socket, 100) == packet(SELECT)
            await loop.sock_sendall(rig.backend.socket, framed([ok()]))
            assert await loop.sock_recv(rig.client.socket, 100) == framed([ok()])
        loop.remove_reader(rig.reactor.fileno())
        assert rig.session.commands == 50

    with asyncio.Runner(loop_factory=factory) as runner:  # type: ignore[arg-type]
        runner.run(converse())
