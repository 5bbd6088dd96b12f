# SPDX-License-Identifier: Apache-2.0
"""The same work through the fast lane and through the slow points, heard by a tap.

Both times the work finds the same database: empty, of the same name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.conftest import Fleet, direct
from tests.integration.route import Route
from tests.support.heard import difference
from tests.support.server import Server
from tests.support.tap import Tap

__all__ = ["TappedRoute", "Work", "first_difference"]

PLAIN = {"client": "off"}  # a tap hears nothing of TLS


@dataclass(frozen=True)
class TappedRoute(Route):
    """A route whose clients talk to a tap before the proxy."""

    tap: Tap

    @property
    def host(self) -> str:
        return self.tap.host

    @property
    def port(self) -> int:
        return self.tap.port


Work = Callable[[TappedRoute, str], object]
"""Of a route and the name of an empty database."""


def first_difference(
    fleet: Fleet, server: Server, work: Work, fewest: int = 1, *, plans: bool = False
) -> str:
    """Between what the clients of `work` hear; "" without any. `fewest`: connections at least.
    `plans`: the server may plan otherwise (tests/support/heard.py)."""
    database = f"it_{secrets.token_hex(6)}"
    heard = []
    for way in ("slow", "multiplex"):
        proxy = fleet.get(server, way, tls=PLAIN)
        direct(server, f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
        try:
            with Tap(proxy.host, proxy.port) as tap:
                work(TappedRoute(server, way, proxy, tap), database)
        finally:
            direct(server, f"DROP DATABASE {database}")
        assert len(tap.heard) >= fewest
        heard.append(tap.heard)
    return difference(heard[0], heard[1], plans=plans)
