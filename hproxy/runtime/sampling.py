# SPDX-License-Identifier: Apache-2.0
"""What is kept over time: the port is read every admin-stats_* seconds, the first time at once.

variable                                  tables
admin-stats_mysql_connections             mysql_connections, myhgm_connections,
                                          history_mysql_status_variables
admin-stats_mysql_connection_pool         history_stats_mysql_connection_pool
admin-stats_mysql_query_cache             mysql_query_cache
admin-stats_system_cpu                    system_cpu
admin-stats_system_memory                 system_memory
admin-stats_mysql_query_digest_to_disk    history_mysql_query_digest: copied, and reset
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from hproxy.config.proxysql.catalogue import HISTORY_TABLES
from hproxy.runtime.port import Port
from hproxy.runtime.tables.process import HEAP
from hproxy.telemetry.clock import unix_time
from hproxy.telemetry.history import Batch, History

__all__ = ["FILE", "Sampling"]

FILE = "hproxy_stats.db"
"""In the data directory."""
LOOK_SEC = 1.0
BEGIN_SEC = 5.0

Rows = Mapping[str, Sequence[Sequence[Any]]]


class Sampling:
    """Samples what a port shows into a file. Use it on the port's loop."""

    def __init__(self, port: Port, path: Path, log: Any) -> None:
        self._port = port
        self._log = log
        self.history = History(path, log)
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._due: dict[str, float] = {}
        """When each variable's tables were written last, in monotonic seconds."""

    def start(self) -> None:
        """Take the first samples now, and go on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def begun(self) -> None:
        """Wait until the first samples are in the file, or it is clear that they cannot be."""
        await self._first.wait()
        await asyncio.to_thread(self.history.flush, BEGIN_SEC)

    async def stop(self) -> None:
        """Take no more; what was taken is written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await asyncio.to_thread(self.history.close)

    async def _run(self) -> None:
        while True:
            try:
                await self.look(monotonic())
            except Exception as error:  # samples are never worth more than who is sampled
                self._log.error("internal error", code="internal", exc_info=error)
            finally:
                self._first.set()
            await asyncio.sleep(LOOK_SEC)

    async def look(self, now: float) -> list[str]:
        """Write what is due at `now`; the variables it was due by."""
        variables = self._port.variables
        taken = []
        for name, sample in SAMPLERS.items():
            every = variables.number(f"admin-stats_{name}")
            last = self._due.get(name)
            # A digest that is copied is reset: not before its time.
            first = last is None and name != "mysql_query_digest_to_disk"
            if every and last is None:
                self._due[name] = now
            if every and (first or (last is not None and now - last >= every)):
                self._due[name] = now
                await sample(self)
                taken.append(name)
        return taken

    # -- one variable each -------------------------------------------------------

    async def save_digests(self) -> int:
        """SAVE MYSQL DIGEST TO DISK: copy the digests, and count from zero. How many they were."""
        at = int(unix_time())
        rows = await self._port.reading("stats_mysql_query_digest_reset")
        self._put(at, {"history_mysql_query_digest": [(at, *row) for row in rows]})
        return len(rows)

    async def _connections(self) -> None:
        at, found = int(unix_time()), await self._totals()
        rows = {name: [_pick(name, at, found)] for name in ("mysql_connections",
                                                            "myhgm_connections")}  # fmt: skip
        self._put(at, rows, {name: str(value) for name, value in found.items()})

    async def _pool(self) -> None:
        at = int(unix_time())
        rows = await self._port.reading("pool_totals")
        self._put(at, {"history_stats_mysql_connection_pool": [(at, *row) for row in rows]})

    async def _query_cache(self) -> None:
        at, found = int(unix_time()), await self._totals()
        named = {
            name.removeprefix("Query_Cache_"): value
            for name, value in found.items()
            if name.startswith("Query_Cache_")
        }
        named |= {
            "Entries_Purged": found["Query_Cache_Purged"],
            "Entries_In_Cache": found["Query_Cache_Entries"],
            "Memory_Bytes": found["Query_Cache_Memory_bytes"],
        }
        self._put(at, {"mysql_query_cache": [_pick("mysql_query_cache", at, named)]})

    async def _cpu(self) -> None:
        at = int(unix_time())
        rows = await self._port.reading("process_cpu")
        self._put(at, {"system_cpu": [(at, *row) for row in rows]})

    async def _memory(self) -> None:
        at = int(unix_time())
        for row in await self._port.reading("process_heap"):
            values = dict(zip(HEAP, row, strict=True))
            self._put(at, {"system_memory": [_pick("system_memory", at, values)]})

    async def _totals(self) -> dict[str, int]:
        rows = await self._port.reading("stats_mysql_global")
        return {name: int(value) for name, value in rows}

    def _put(self, at: int, rows: Rows, status: Mapping[str, str] | None = None) -> None:
        self.history.put(Batch(at, rows, status))


def _pick(table: str, at: int, values: Mapping[str, int]) -> tuple[int, ...]:
    """A row of `table`: the moment, and the values its columns are named after."""
    return (at, *(values[column] for column in HISTORY_TABLES[table].names[1:]))


SAMPLERS: dict[str, Callable[[Sampling], Awaitable[object]]] = {
    "mysql_connections": Sampling._connections,
    "mysql_connection_pool": Sampling._pool,
    "mysql_query_cache": Sampling._query_cache,
    "system_cpu": Sampling._cpu,
    "system_memory": Sampling._memory,
    "mysql_query_digest_to_disk": Sampling.save_digests,
}
"""By what follows `admin-stats_` in the variable."""
