# SPDX-License-Identifier: Apache-2.0
"""mirror_hostgroup and mirror_flagOUT: a copy of a statement is run elsewhere, and nobody waits.

    send ── room among mysql-mirror_max_concurrency ──> runs on a connection of the pool
       ├── else room in mysql-mirror_max_queue_length, and MOST_BYTES ──> waits
       └── else dropped, and counted

Results are read and thrown away, errors counted. A copy runs by itself: what begins, ends or sets
something for the statements behind it is not copied, nor are executions of prepared statements.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from hproxy.errors import HProxyError
from hproxy.routing.rules import Verdict
from hproxy.session.opening import StepRefused
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["MirrorCounts", "Mirroring"]

UNKNOWN_ID = (1 << 64) - 1
MOST_BYTES = 64 << 20
"""Of statements that wait: a queue of 32,000 could hold more than a machine has."""


@dataclass(slots=True)
class MirrorCounts:
    """Since the start, but for the first two."""

    concurrency: int = 0
    queue_length: int = 0
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    """For want of room."""
    skipped: int = 0
    """What is not copied, whatever a rule says."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A statement that is to be run elsewhere as well."""

    account: Any
    kind: int
    settings: Any
    hostgroup: int
    text: bytes
    clean: bool
    """Its connection is as it was, behind it."""
    limit_s: float


class Mirroring:
    """Runs copies of statements."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self._driver = driver
        self._waiting: deque[Copy] = deque()
        self._waiting_bytes = 0
        self.counts = MirrorCounts()

    def send(self, session: Any, connection: Connection, text: bytes, decision: Any) -> None:
        """Have a copy run, if its verdict says so. Returns at once, whatever comes of it."""
        verdict: Verdict = decision.verdict
        if verdict.mirror_hostgroup is None and verdict.mirror_flagOUT is None:
            return
        copy = self._copy(session, connection, text, decision)
        counts, services = self.counts, self._services
        if copy is None:
            counts.skipped += 1
        elif counts.concurrency < services.variables.number("mysql-mirror_max_concurrency"):
            counts.concurrency += 1
            services.tasks.spawn(self._work(copy), "mirror")
        elif (
            counts.queue_length < services.variables.number("mysql-mirror_max_queue_length")
            and self._waiting_bytes + len(copy.text) <= MOST_BYTES
        ):
            counts.queue_length += 1
            self._waiting_bytes += len(copy.text)
            self._waiting.append(copy)
        else:
            counts.dropped += 1

    def _copy(
        self, session: Any, connection: Connection, text: bytes, decision: Any
    ) -> Copy | None:
        verdict: Verdict = decision.verdict
        account, traits = connection.account, decision.traits
        assert account is not None
        hostgroup = verdict.mirror_hostgroup
        if hostgroup is None:
            hostgroup = account.hostgroup
        if verdict.mirror_flagOUT is not None:
            digest = decision.text
            other = self._driver.decider.ruling.mirrored(
                session, connection, text, digest, verdict.mirror_flagOUT
            )
            if other.answered:
                return None
            if other.destination_hostgroup is not None:
                hostgroup = other.destination_hostgroup
            if other.text is not None:
                text = other.text
                traits = self._mysql.classify(text, session.modes)
        if not self._mysql.stands_alone(traits):
            return None
        if not self._services.topology.members(hostgroup):
            return None
        clean = not traits.effects & self._mysql.SLOW_EFFECTS
        return Copy(
            account, connection.kind, session.settings, hostgroup, text, clean, decision.time_limit
        )

    async def _work(self, copy: Copy) -> None:
        """One copy after the other, until none waits."""
        counts = self.counts
        try:
            while True:
                try:
                    counts.sent += 1
                    await self._run(copy)
                except (HProxyError, StepRefused, TimeoutError) as error:
                    counts.failed += 1
                    self._services.log.debug("mirrored statement failed", reason=str(error))
                if not self._waiting:
                    return
                copy = self._waiting.popleft()
                counts.queue_length -= 1
                self._waiting_bytes -= len(copy.text)
        finally:
            counts.concurrency -= 1

    async def _run(self, copy: Copy) -> None:
        services, pools = self._services, self._services.sharing.pools
        group = pools.group(copy.hostgroup, copy.account, copy.kind, copy.settings)
        future = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(services.settings.connect_timeout_max):
            pooled = await pools.borrow(group, copy.settings, future, limited=True)
        known = False
        try:
            async with asyncio.timeout(copy.limit_s or None):
                if pooled.settings is not copy.settings:
                    await self._driver.leases.replay(pooled, copy.settings)
                async with services.sharing.opening.talk(pooled) as talk:
                    refused = await talk.discard(copy.text)
            known = True
        finally:
            if not known:
                pools.retire(pooled, polite=False)
        pooled.insert_owner, pooled.insert_id = 0, UNKNOWN_ID
        if copy.clean:
            pooled.bucket.group.give(pooled)
        else:
            pools.recycle(pooled)
        if refused:
            self.counts.failed += 1
