# SPDX-License-Identifier: Apache-2.0
"""Peers that read from here: one row each, the longest unheard of forgotten."""

from __future__ import annotations

from hproxy.admin.console.nodes import MOST, Nodes
from hproxy.admin.model import Client


def test_a_node_is_a_row_that_moves_to_the_end() -> None:
    now = [100.0]
    nodes = Nodes(lambda: now[0])
    one, other = Client(1, "peer", "10.0.0.1", 5001), Client(2, "peer", "10.0.0.2", 5002)
    nodes.seen(one, "a", "0.0.0.0:6032")
    nodes.seen(other, "b", "")
    now[0] = 101.0
    nodes.seen(one, "a", "0.0.0.0:6032")
    assert nodes.rows() == [
        ("b", "10.0.0.2", 5002, "", 100),
        ("a", "10.0.0.1", 5001, "0.0.0.0:6032", 101),
    ]


def test_there_is_an_end_to_names() -> None:
    nodes = Nodes(lambda: 1.0)
    for number in range(MOST + 5):
        nodes.seen(Client(1, "peer", "10.0.0.1", 1), str(number), "")
    rows = nodes.rows()
    assert len(rows) == MOST
    assert rows[0][0] == "5"
