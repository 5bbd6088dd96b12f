# SPDX-License-Identifier: Apache-2.0
"""The port of a service of several workers: what operators ask is asked of all, and added up.

runtime_*, monitor tables, explaining ──> the head's own model: it runs on what workers run on
stats_*, measured ─────────────────────> each worker ── merge ──> as if there were one
load ──> prepared on the model ── open (angel) ── load (workers) ── the model ── snapshot (angel)
order ──> the model, the workers or the angel, by its name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from hproxy import __version__
from hproxy.config.address import Address
from hproxy.errors import AdminError, ChannelClosed, HProxyError
from hproxy.process.channel import Channel, Message
from hproxy.process.fleet import Fleet
from hproxy.process.refusal import original
from hproxy.runtime import Runtime
from hproxy.runtime.merge import merged
from hproxy.runtime.port import Port
from hproxy.runtime.told import read_reading
from hproxy.telemetry.departed import Departed
from hproxy.telemetry.reading import ProcessReading, Reading
from hproxy.telemetry.summing import summed
from hproxy.topology import Status

__all__ = ["ServicePort"]

OURS = ("runtime_", "stats_proxysql_", "stats_tls_")
"""Tables that are the head's alone."""
BOTH = {"stats_mysql_global": re.compile("MySQL_Monitor_|SQLite3_"), "stats_memory_metrics": None}
"""Of these the head has numbers of its own; None: all of them."""
POOLS = ("stats_mysql_connection_pool", "stats_mysql_connection_pool_reset", "pool_totals")
PROCESS = ("process_cpu", "process_heap")

ANGELS = ("drain", "upgrade", "shutdown", "shutdown_slow", "restart", "kill", "flush_logs")
WORKERS = ("flush_query_cache", "flush_client_hosts")
FIRST_WORKERS = ("pause", "stop")
FIRST_ANGEL = {"resume": "resume", "start": "resume"}
KILLS = ("kill_connection", "kill_query")
EACH = ("heap", "trace_heap", "stacks")
"""What every process says of itself."""
COUNTED = re.compile(r"(\d+) (.*)")


class ServicePort(Port):
    """Over a model that serves nobody, and the workers that run on the same configuration."""

    def __init__(
        self,
        model: Runtime,
        fleet: Fleet,
        angel: Channel,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        control = model.port.control
        super().__init__(model.services.topology, clock=clock, control=control)
        self._model = model
        self._fleet = fleet
        self._angel = angel
        self.draining = False
        """Told by the angel: the service takes no clients any more."""
        self.paused = False
        self._departed, self._departed_rows = Departed(), Departed()

    # -- rows --------------------------------------------------------------------------

    async def reading(self, table: str) -> list[tuple[Any, ...]]:
        """Rows of a table, of all workers. Raises AdminError."""
        if table.startswith(OURS) or table in self.control.readers:
            return await super().reading(table)
        if not self._fleet.channels:
            return await super().reading(table)
        asked = dict(self._fleet.channels)
        answers = await self._fleet.answers("read", table=table)
        parts: dict[int, Sequence[Sequence[Any]]] = {
            slot: answer["rows"] for slot, answer in answers.items()
        }
        if table in BOTH:
            only = BOTH[table]
            own = await super().reading(table)
            parts[-1] = [row for row in own if only is None or only.match(row[0])]
            if only is not None:
                now = {slot: (asked.get(slot), _totals(parts[slot])) for slot in answers}
                gone = self._departed_rows.beside(now)
                parts |= {-2 - n: list(each.totals.items()) for n, each in enumerate(gone)}
        elif table in PROCESS:
            parts[-1] = await super().reading(table)
        rows = merged(table, parts)
        return self._with_statuses(rows) if table in POOLS else rows

    def _with_statuses(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """What one worker sees of a server, all are told: the head knows it first."""
        known = {
            (b.hostgroup, b.path or b.host, 0 if b.path else b.port): health.status.value
            for b, (health, _) in self._topology.snapshot().items()
        }
        return [(*row[:3], known.get(row[:3], row[3]), *row[4:]) for row in rows]

    async def measured(self) -> Reading:
        """Every number of all workers, added up."""
        own = await super().measured()
        only = BOTH["stats_mysql_global"]
        assert only is not None
        asked = dict(self._fleet.channels)
        answers = await self._fleet.answers("measure")
        if not answers:
            return own
        totals = {name: value for name, value in own.totals.items() if only.match(name)}
        rows = await self._processes()
        restarts = {(row["role"], row["slot"]): row["restarts"] for row in rows}
        rest = replace(
            own,
            totals=totals,
            servers=(),
            hostgroups=(),
            errors={},
            pins={},
            commands={},
            processes=_named(own, "head", 0, restarts),
        )
        parts = [read_reading(answer["reading"]) for answer in answers.values()]
        parts = [
            replace(part, processes=_named(part, "worker", slot, restarts))
            for slot, part in zip(answers, parts, strict=True)
        ]
        now = {slot: (asked.get(slot), part) for slot, part in zip(answers, parts, strict=True)}
        found = summed([*parts, rest, *self._departed.beside(now)])
        named = {f"{b.hostgroup} {b}": h.status.value
                 for b, (h, _) in self._topology.snapshot().items()}  # fmt: skip
        servers = tuple(
            replace(row, status=named.get(f"{row.hostgroup} {row.endpoint}", row.status))
            for row in found.servers
        )
        return replace(found, servers=servers)

    # -- what is so, and what is to be ---------------------------------------------------

    async def setting_status(
        self, hostgroup: int | None, address: str | Address, status: str | Status
    ) -> int:
        """In the head and all workers. Raises AdminError before anything is changed."""
        changed = self.set_status(hostgroup, address, status)
        word = status.value if isinstance(status, Status) else str(status)
        facts = {"hostgroup": hostgroup, "address": str(address), "status": word}
        answers = await self._fleet.answers("set_status", **facts)
        return max(changed, *(int(answer["changed"]) for answer in answers.values()), 0)

    async def status(self) -> dict[str, Any]:
        """Of the service; its processes are as the angel sees them."""
        answers = await self._fleet.ask("status")
        workers = [each.facts for each in answers.values() if isinstance(each, Message)]
        started = any(each["started"] for each in workers)
        reasons = {
            "starting": not started,
            "draining": self.draining or any(each["draining"] for each in workers),
            "paused": self.paused or any(each["paused"] for each in workers),
        }
        found = [reason for reason, holds in reasons.items() if holds]
        uptime = monotonic() - self._model.started_at
        processes = await self._processes()
        return {
            "ready": not found,
            "reasons": found,
            "started": started,
            "draining": reasons["draining"],
            "paused": reasons["paused"],
            "version": __version__,
            "config_version": self.control.version,
            "uptime_sec": max([uptime, *(each["uptime_sec"] for each in workers)]),
            "sessions": sum(each["sessions"] for each in workers),
            "processes": processes,
        }

    async def _processes(self) -> list[dict[str, Any]]:
        """What the angel has; nothing while it does not answer."""
        try:
            found: list[dict[str, Any]] = (await self._angel.ask("processes", timeout_sec=5.0))[
                "processes"
            ]
        except (ChannelClosed, TimeoutError):
            return []
        return found

    # -- orders ------------------------------------------------------------------------

    async def order(self, name: str, *arguments: str) -> str:
        """Do what an operator says; what there is to say of it. Raises AdminError."""
        if name in ANGELS:
            return await self._ask_angel(name, *arguments)
        if name in KILLS:
            return await self._kill(name, *arguments)
        if name in WORKERS:
            return _summed(await self._ask_workers(name, *arguments))
        if name in EACH:
            return await self._ask_each(name, *arguments)
        if name in FIRST_WORKERS:
            told = await self._ask_workers(name)
            await self._ask_angel("pause")
            self.paused = True
            return _summed(told)
        if name in FIRST_ANGEL:
            if not self.paused:
                return await self._still_open(name)
            await self._ask_angel(FIRST_ANGEL[name])
            self.paused = False
            return _summed(await self._ask_workers(name))
        told_here = await super().order(name, *arguments)
        if name == "reload_tls":
            await self._ask_workers(name)
        return told_here

    async def _still_open(self, name: str) -> str:
        """What the workers say: it was not paused."""
        return _summed(await self._ask_workers(name))

    async def _ask_angel(self, name: str, *arguments: str) -> str:
        try:
            answer = await self._angel.ask("order", name=name, arguments=list(arguments))
        except HProxyError as error:
            raise original(error) from error
        return str(answer["told"])

    async def _ask_workers(self, name: str, *arguments: str) -> list[str]:
        answers = await self._fleet.answers("order", name=name, arguments=list(arguments))
        return [str(answer["told"]) for answer in answers.values()]

    async def _ask_each(self, name: str, *arguments: str) -> str:
        """The words of the head and of each worker; of one that has none, why."""
        told = {"head": await super().order(name, *arguments)}
        answers = await self._fleet.ask("order", name=name, arguments=list(arguments))
        for slot, answer in sorted(answers.items()):
            told[f"worker {slot}"] = str(answer["told"] if isinstance(answer, Message) else answer)
        return "\n\n".join(f"-- {who}\n{text}" for who, text in told.items())

    async def _kill(self, name: str, number: str = "") -> str:
        """Ids of sessions are different in all workers: one has it, or none."""
        answers = await self._fleet.ask("order", name=name, arguments=[number])
        refused: HProxyError | None = None
        for answer in answers.values():
            if isinstance(answer, Message):
                return str(answer["told"])
            if answer.full_code != "admin.session":
                raise answer
            refused = answer
        raise refused or AdminError(f"Unknown thread id: {number}", number=1094, code="session")

    async def kill_for(self, slot: int, number: int, query_only: bool, user: str) -> bool:
        """A client of worker `slot` ends another one's session. Raises HProxyError."""
        facts = {"id": number, "query_only": query_only, "user": user}
        for other, answer in (await self._fleet.ask("kill", **facts)).items():
            if other == slot:
                continue
            if isinstance(answer, HProxyError):
                raise answer
            if answer["found"]:
                return True
        return False


def _totals(rows: Sequence[Sequence[Any]]) -> Reading:
    return Reading({name: int(value) for name, value in rows}, {}, "")


def _named(
    reading: Reading, role: str, slot: int, restarts: Mapping[tuple[str, int], int]
) -> tuple[ProcessReading, ...]:
    count = restarts.get((role, slot), 0)
    return tuple(
        replace(process, role=role, slot=slot, restarts=count) for process in reading.processes
    )


def _summed(told: Sequence[str]) -> str:
    """What several said of the same order, as one would."""
    counted = [COUNTED.fullmatch(text) for text in told]
    if told and all(counted):
        words = {match[2] for match in counted if match is not None}
        if len(words) == 1:
            return f"{sum(int(match[1]) for match in counted if match)} {words.pop()}"
    return "; ".join(dict.fromkeys(text for text in told if text))
