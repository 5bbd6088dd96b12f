# SPDX-License-Identifier: Apache-2.0
"""gtid_from_hostgroup, min_gtid: a read waits until its server has what the session has written.

    a write in a hostgroup that rules name ── committed ──> which GTID? asked on its connection
    a read under such a rule ── takes a connection ── WAIT_FOR_EXECUTED_GTID_SET, MASTER_GTID_WAIT
        ├── there ──> runs on it
        └── not in time, or the server cannot tell ──> runs in the hostgroup of the write

MySQL is asked for all that its server has executed, which is at least the write. Only statements
under rules with gtid_from_hostgroup cost anything, and writes in the hostgroups these name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hproxy.errors import HProxyError
from hproxy.session.opening import StepRefused
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Gtids"]

ASK = {True: b"SELECT @@GLOBAL.gtid_executed", False: b"SELECT @@last_gtid"}
WAIT = {
    True: b"SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', %.3f)",
    False: b"SELECT MASTER_GTID_WAIT('%s', %.3f)",
}
"""Both answer 0 when it is there."""
SAFE = re.compile(rb"[0-9A-Za-z:,_ -]+")


class Gtids:
    """What sessions have written, and waiting for it."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._driver = driver
        self.waited = 0
        """Reads that had to wait for a GTID, or at least to ask."""
        self.missed = 0
        """Of these, sent to where the write was."""

    # -- behind a write ----------------------------------------------------------------

    def note(self, session: Any, connection: Connection, decision: Any) -> bool:
        """A statement was answered; True: its GTID is to be learned before the session goes on."""
        sources = self._services.sharing.rules.gtid_sources
        if not sources or session.held is None:
            return False
        hostgroup = session.held.bucket.group.key.hostgroup
        trait = self._services.protocol.multiplexing.Trait
        if decision.traits.traits & trait.WRITE and hostgroup in sources:
            connection.wrote_in = hostgroup
        return connection.wrote_in == hostgroup and not session.in_transaction

    async def learn(self, session: Any, connection: Connection) -> None:
        """Which GTID the session's last write has."""
        connection.wrote_in = None
        pooled = session.held
        try:
            async with (
                asyncio.timeout(self._services.settings.connect_timeout_max),
                self._services.sharing.opening.talk(pooled) as talk,
            ):
                rows = await talk.ask(ASK[self._is_mysql(pooled)])
                found = (rows[0][0] or b"").replace(b"\n", b"")
        except (HProxyError, TimeoutError) as error:
            connection.log.info("gtid not read", reason=str(error))
            session.give_up()
            return
        if found:
            gtids = dict(connection.gtids or {})
            gtids[pooled.bucket.group.key.hostgroup] = found
            connection.gtids = gtids

    # -- before a read -----------------------------------------------------------------

    def wait(
        self,
        session: Any,
        connection: Connection,
        decision: Any,
        run: Callable[[Any], None],
    ) -> bool:
        """Go on with `run(decision)` where the session's writes are; False: no need to wait."""
        verdict = decision.verdict
        source, gtid = verdict.gtid_from_hostgroup, None
        if verdict.min_gtid is not None:
            gtid = verdict.min_gtid.encode()
        elif source is not None:
            gtid = (connection.gtids or {}).get(source)
        if not gtid or session.held is not None or not SAFE.fullmatch(gtid):
            return False
        home = connection.account.hostgroup if connection.account is not None else 0
        other = home if source is None else source

        async def work(session: Any, connection: Connection) -> None:
            self.waited += 1
            if await self._is_there(session, connection, decision, gtid):
                run(decision)
                return
            if session.state != "slow":
                return
            self.missed += 1
            left = session.part()
            if left is not None:
                self._services.sharing.pools.recycle(left)
            run(
                self._driver.decider.decision(
                    session,
                    connection,
                    decision.traits,
                    decision.text,
                    verdict=replace(verdict, destination_hostgroup=other),
                )
            )

        self._driver.spawn(session, connection, "gtid", work)
        return True

    async def _is_there(
        self, session: Any, connection: Connection, decision: Any, gtid: bytes
    ) -> bool:
        services = self._services
        limit = services.settings.connect_timeout_max
        try:
            await self._driver.leases.take(session, connection, decision)
            pooled = session.held
            async with asyncio.timeout(limit + 1), services.sharing.opening.talk(pooled) as talk:
                rows = await talk.ask(WAIT[self._is_mysql(pooled)] % (gtid, limit))
        except (StepRefused, HProxyError, TimeoutError) as error:
            connection.log.info("gtid not waited for", reason=str(error))
            return False
        return bool(rows[0][0] == b"0")

    def _is_mysql(self, pooled: Any) -> bool:
        facts = self._services.sharing.opening.facts[pooled.bucket.server.backend]
        return bool(facts.mysql)
