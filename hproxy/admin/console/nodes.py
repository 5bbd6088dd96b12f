# SPDX-License-Identifier: Apache-2.0
"""Peers that read from here: who said PROXYSQL CLUSTER_NODE_UUID, and when last."""

from __future__ import annotations

from collections.abc import Callable

from hproxy.admin.model import Client

__all__ = ["Nodes"]

MOST = 1000
"""A node that starts anew has another name each time; the longest unheard of is forgotten."""


class Nodes:
    """The rows of stats_proxysql_servers_clients_status."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._clock = clock
        self._seen: dict[tuple[str, str, int], tuple[str, int]] = {}

    def seen(self, client: Client, uuid: str, interfaces: str) -> None:
        """A client said that it is that node, with its admin port there."""
        key = (uuid, client.host, client.port)
        self._seen.pop(key, None)
        self._seen[key] = (interfaces, int(self._clock()))
        if len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]

    def rows(self) -> list[tuple[str, str, int, str, int]]:
        """The longest unheard of first."""
        return [(*key, *said) for key, said in self._seen.items()]
