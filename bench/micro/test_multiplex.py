# SPDX-License-Identifier: Apache-2.0
"""What a statement costs that borrows its connection: digest, decision, lease, counters."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from tests.native.multiplex_rig import Pooled


def test_one_statement_through_a_pool(
    benchmark: BenchmarkFixture, point_select: tuple[bytes, bytes]
) -> None:
    """Both ways, as `test_relay` does for a session with a connection of its own."""
    command, answer = point_select
    rig = Pooled()
    ann, bob = rig.login(), rig.backends[0]
    client, backend, poll = ann.peer.socket, bob.peer.socket, rig.reactor.poll

    def query() -> None:
        client.send(command)
        poll()
        backend.recv(4096)
        backend.send(answer)
        poll()
        client.recv(4096)

    benchmark(query)
    assert ann.state == "idle"
    assert rig.slow.count("decide") == 1
