# SPDX-License-Identifier: Apache-2.0
"""One probe: ask within a deadline, judge, write it down.

kept connection ── asked ── answer ──────────────────> judge ──> journal, tally, log
   └ none, or lost while idle ─> dial ─> asked ──┐       ^
               silent, refused, lost ────────────┴─ Failure
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from time import time_ns
from typing import Any

from hproxy.errors import BackendError, BackendLost, BackendProtocolError, HProxyError
from hproxy.health.checks import Check, Scene, Target
from hproxy.health.journal import Journal
from hproxy.health.link import Link
from hproxy.health.model import Address, Dial, ProbeConnection
from hproxy.health.outcome import Failure, Kind, failure_of
from hproxy.telemetry.log import Logger

__all__ = ["Prober", "Tally"]

WAIT_FACTOR = 10
UNREADABLE = (ValueError, LookupError)
"""What comes of an answer of another shape than was asked for."""


@dataclass(slots=True)
class Tally:
    """Checks of one kind since the start."""

    ok: int = 0
    failed: int = 0


class Prober:
    """Runs checks on links."""

    def __init__(
        self,
        scene: Scene,
        dial: Dial,
        journal: Journal,
        log: Logger,
        clock: Callable[[], float],
        pinged: Callable[[str, int, float], object],
    ) -> None:
        """`pinged` is told how many seconds a ping took that was answered."""
        self._pinged = pinged
        self._scene = scene
        self._dial = dial
        self._journal = journal
        self._log = log
        self._clock = clock
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    async def run(self, check: Check, target: Target, link: Link[Any]) -> None:
        """Make one check of one server, to the end."""
        limit_ms = self._scene.values.number(check.limit)
        began_us, began = time_ns() // 1000, self._clock()
        failure: Failure | None = None
        answer: Any = None
        connected = link.usable and not check.alone
        try:
            async with asyncio.timeout(limit_ms / 1000):
                answer = await self._ask(check, target, link)
        except (HProxyError, TimeoutError, OSError) as error:
            if not isinstance(error, BackendError) or not error.facts.get("number"):
                link.drop()
            failure = failure_of(error, limit_ms, connected)
        except UNREADABLE as error:
            link.drop()
            failure = failure_of(BackendProtocolError(repr(error)), limit_ms, True)
        except BaseException:
            link.drop()
            raise
        if link.closed:
            return  # the server is gone, or we asked as somebody else: nothing comes of it
        took_us = max(1, round((self._clock() - began) * 1e6)) if failure is None else 0
        link.doubtful = failure is not None and not failure.kind.answered
        tally = self.tallies[check.kind]
        if failure is None:
            tally.ok += 1
        else:
            tally.failed += 1
        columns = check.judge(target, answer if failure is None else failure)
        text = None if failure is None else failure.text
        if check.kind == "ping" and failure is None:
            self._pinged(*target.address, took_us / 1e6)
        self._journal.add(check.table, *target.address, began_us, took_us, *columns, text)
        self._tell(check, link, failure)

    async def _ask(self, check: Check, target: Target, link: Link[Any]) -> Any:
        use_ssl = self._scene.index.use_ssl(target.address)
        if check.alone:
            connection = await self._open(target.address, use_ssl)
            try:
                answer = await check.ask(connection, target)
            except BaseException:
                connection.cut()
                raise
            connection.close()
            return answer
        if link.connection is not None and link.usable:
            try:
                return await check.ask(link.connection, target)
            except BackendLost:
                pass  # it was idle and may have been closed for that, or the server began anew
        link.drop()
        link.keep(await self._open(target.address, use_ssl), use_ssl)
        if link.connection is None:
            raise BackendLost("not needed any more")
        return await check.ask(link.connection, target)

    async def _open(self, address: Address, use_ssl: bool) -> ProbeConnection:
        values = self._scene.values
        connection = await self._dial(
            *address,
            use_ssl,
            values.text("mysql-monitor_username"),
            values.text("mysql-monitor_password"),
        )
        if values.flag("mysql-monitor_wait_timeout"):
            # What we leave behind when we die is gone before long.
            seconds = WAIT_FACTOR * values.number("mysql-monitor_ping_interval") // 1000
            try:
                await connection.ask(f"SET wait_timeout={max(seconds, 1)}")
            except BackendError as error:
                if not error.facts.get("number"):
                    connection.cut()
                    raise
                # It would rather not: no reason to hold anything against it.
            except BaseException:
                connection.cut()
                raise
        return connection

    def _tell(self, check: Check, link: Link[Any], failure: Failure | None) -> None:
        """The log: a wrong account with each ping, anything else when it begins and ends.

        Without an account every server refuses us: that shows that it lives, and is no news."""
        kind, server = check.kind, str(link.address)
        before = link.complaints.pop(kind, None)
        if failure is None:
            if before is not None:
                self._log.info("monitor check succeeds again", check=kind, server=server)
            return
        link.complaints[kind] = failure.kind
        nobody = not self._scene.values.text("mysql-monitor_username")
        again = before is failure.kind
        if not (kind != "ping" or nobody if failure.kind is Kind.DENIED else again):
            self._log.warning(
                "monitor check failed",
                check=kind,
                server=server,
                failure=failure.kind.value,
                reason=failure.text,
            )
