# SPDX-License-Identifier: Apache-2.0
"""Writes that a server refuses because it is read only by now: an operator moves the writer.

    ERR 1290 ── a single write, sent outside of a transaction ──> held
                   └ monitors are asked to look at once ──> the server is a writer no more
                                                       ──> sent again: waits for the new writer
    in a transaction, or anything that may have done more: the client's

The server has done nothing of a statement it refuses so. Without it clients see errors from the
moment read_only is set to the next check of the monitors.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend, Replacement

__all__ = ["REFUSED", "Demotion"]

# Statements that do one thing: a CALL may have done others before it was refused.
SINGLE = re.compile(rb"\s*(?:/\*.*?\*/\s*)*(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.I | re.S)
# 1290 has other reasons, too.
READ_ONLY = re.compile(rb"read[_-]only", re.I)
REFUSED = (1290, 1836)
"""Numbers of the two families of servers."""
MOST = 3
"""Times a statement is sent."""
PATIENCE_SEC = 1.0
"""For monitors to see it."""


class Demotion:
    """Holds what was refused until its server is a writer no more."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._driver = driver

    def holds(self, session: Any, packet: bytes) -> bool:
        """Whether the statement under way will be sent again; `packet` is the ERR."""
        services, backend = self._services, session.held.bucket.server.backend
        if services.roles is None or session.attempts >= MOST:
            return False
        if not READ_ONLY.search(packet) or not SINGLE.match(session.running):
            return False
        if not services.roles.refuses_writes(backend):
            return False
        connection: Connection = session.tag
        services.counters.retries += 1
        connection.log.info("write held until there is a writer", backend=str(backend))
        self._driver.spawn(session, connection, "demotion", partial(self._wait, backend=backend))
        return True

    def noticed(self, backend: Backend, text: str) -> None:
        """A statement was refused, and its client told so: the next one need not be."""
        if self._services.roles is not None and READ_ONLY.search(text.encode()):
            self._services.roles.refuses_writes(backend)

    async def _wait(self, session: Any, connection: Connection, backend: Backend) -> None:
        topology, gone = self._services.topology, asyncio.Event()

        def replaced(change: Replacement) -> None:
            if backend in change.removed:
                gone.set()

        topology.on_replace.append(replaced)
        try:
            if backend in topology.backends:
                async with asyncio.timeout(PATIENCE_SEC):
                    await gone.wait()
        except TimeoutError:
            connection.log.info("it still is the writer", backend=str(backend))
        finally:
            topology.on_replace.remove(replaced)
        session.aligned()
