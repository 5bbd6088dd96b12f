# SPDX-License-Identifier: Apache-2.0
"""cache_ttl of query rules: results are told again, and kept where they come by.

    serve    kept ──> told at once          being asked for ──> waited for (cache_timeout)
    expect   not kept: the session keeps a copy of the frames it passes on
    finished complete, without error and warning, outside of a transaction ──> result_cache.py

Asked for and kept only for sessions that hold no connection: what a transaction, a temporary
table or a lock lets it see is for its own eyes. Only reads whose answer is the same for all
sessions with the same settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, NamedTuple

from hproxy.session.registry import Connection
from hproxy.session.result_cache import CacheCounts, ResultCache
from hproxy.session.services import Services

__all__ = ["Caching", "cache_counts", "flush_results"]

PURGE_SEC = 1.0
FROM_CACHE = -1
"""Hostgroup of what no backend was asked, in statistics."""


class Expected(NamedTuple):
    """A result that is on its way."""

    key: Hashable
    text_size: int
    ttl_ms: int
    keep_empty: bool
    come: asyncio.Event


class Caching:
    """Looks for results, and keeps them."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self._driver = driver
        self._coming: dict[Hashable, asyncio.Event] = {}

    def serve(
        self,
        session: Any,
        connection: Connection,
        text: bytes,
        decision: Any,
        run: Callable[[], None],
    ) -> bool:
        """Answer from what is kept, or see to it that the answer is; False: it is to be run now."""
        verdict = decision.verdict
        if not verdict.cache_ttl or not self._may(session, decision):
            return False
        key = (
            connection.account.username if connection.account else b"",
            connection.kind,
            session.settings,
            text,
        )
        if self._told(session, connection, key, decision):
            return True
        coming = self._coming.get(key)
        if coming is not None and verdict.cache_timeout:
            self._wait(session, connection, key, decision, coming, run)
            return True
        self._expect(session, connection, key, text, verdict)
        return False

    def _may(self, session: Any, decision: Any) -> bool:
        traits, trait = decision.traits, self._mysql.Trait
        own = trait.CONTEXT | trait.LAST_ID | trait.MULTI | trait.CALC_ROWS
        return (
            session.held is None
            and session.autocommit
            and not session.in_transaction
            and bool(traits.traits & trait.READ)
            and not traits.traits & own
            and not traits.effects & self._mysql.OWN_RESULT
        )

    def _told(self, session: Any, connection: Connection, key: Hashable, decision: Any) -> bool:
        soft = self._services.variables.number("mysql-query_cache_soft_ttl_pct")
        found = self._results.get(key, soft)
        if found is None:
            return False
        frames, rows = found
        shared = self._services.sharing
        key_there = decision.counters.key
        if key_there is not None:  # some are not listed
            shared.digests.entry((FROM_CACHE, *key_there[1:])).record(
                0, rows, 0, 0, len(frames), False, monotonic()
            )
        session.recall(frames, rows)
        return True

    def _wait(
        self,
        session: Any,
        connection: Connection,
        key: Hashable,
        decision: Any,
        coming: asyncio.Event,
        run: Callable[[], None],
    ) -> None:
        async def work(session: Any, connection: Connection) -> None:
            try:
                async with asyncio.timeout(decision.verdict.cache_timeout / 1000):
                    await coming.wait()
            except TimeoutError:
                pass
            if session.state == "slow" and not self._told(session, connection, key, decision):
                run()

        self._driver.spawn(session, connection, "result", work)

    def _expect(
        self, session: Any, connection: Connection, key: Hashable, text: bytes, verdict: Any
    ) -> None:
        keep_empty = verdict.cache_empty_result
        if keep_empty is None:
            keep_empty = self._services.variables.flag("mysql-query_cache_stores_empty_result")
        come = asyncio.Event()
        self._coming[key] = come
        connection.caching = Expected(key, len(text), verdict.cache_ttl, bool(keep_empty), come)
        session.captured = bytearray()
        session.capture_limit = self._results.most_bytes

    def finished(self, session: Any, connection: Connection) -> None:
        """The statement was answered."""
        expected: Expected = connection.caching
        captured, session.captured = session.captured, None
        scanner = session.scanner
        complete = captured is not None and scanner.rowset and not scanner.errored
        warned = scanner.warnings or scanner.warned
        pins = session.pins & ~int(self._mysql.Pin.WARNINGS)
        quiet = not (session.in_transaction or pins) and (
            not warned or self._services.variables.number("mysql-query_cache_handle_warnings") == 1
        )
        if complete and quiet and (scanner.rows or expected.keep_empty):
            if not len(self._results):
                self._services.tasks.spawn(self._purge(), "purge of results")
            self._results.put(
                expected.key, bytes(captured), scanner.rows, expected.text_size, expected.ttl_ms
            )
        self.given_up(connection)

    def given_up(self, connection: Connection) -> None:
        """Nobody waits for this result any more."""
        expected, connection.caching = connection.caching, None
        expected.come.set()
        if self._coming.get(expected.key) is expected.come:
            del self._coming[expected.key]

    async def _purge(self) -> None:
        """What has expired takes no memory, though nobody asks for it."""
        await asyncio.sleep(PURGE_SEC)
        while len(self._results):
            self._results.purge()
            await asyncio.sleep(PURGE_SEC)

    @property
    def _results(self) -> ResultCache:
        shared = self._services.sharing
        if shared.results is None:
            services = self._services

            def limit() -> int:  # of the service, so for each worker a part of it
                whole = services.variables.number("mysql-query_cache_size_MB") << 20
                part: int = shared.pools.shares.part(whole)
                return part

            shared.results = ResultCache(limit, monotonic)
        found: ResultCache = shared.results
        return found


def cache_counts(services: Services) -> CacheCounts:
    """What stats_mysql_global shows as Query_Cache_*."""
    results = services.sharing.results
    return CacheCounts() if results is None else results.counts


def flush_results(services: Services) -> int:
    """PROXYSQL FLUSH QUERY CACHE; the number of results that were dropped."""
    results = services.sharing.results
    return 0 if results is None else results.flush()
