# SPDX-License-Identifier: Apache-2.0
"""A worker's side of its channel to the head: answers what the head asks of this one worker.

    head ── read, measure, status, order, set_status, kill ──> answered at once
         ── load, health ─────────────────────────────────> one after the other, as they came
    worker ── event: a server was shunned by traffic, or serves again; a writer is wanted ──> head
           ── kill: of a session that another worker has ──> head ──> that worker

The head may be away, or be another one than before: what it has to know it asks for.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic
from typing import Any

import orjson

from hproxy.config import snapshot
from hproxy.errors import ClientError, HandoverError, HProxyError
from hproxy.net.memory import spare
from hproxy.process.channel import Channel, Facts, Message
from hproxy.process.refusal import original
from hproxy.process.verdicts import act, seen_by_traffic, statuses, told
from hproxy.runtime import Runtime
from hproxy.runtime.told import told_reading
from hproxy.topology import Backend, Status

__all__ = ["Responder"]

KILL_SEC = 10.0


class Responder:
    """Of one worker; the head it speaks to may be replaced."""

    def __init__(self, runtime: Runtime, *, slot: int, version: int) -> None:
        self._runtime = runtime
        self.slot = slot
        runtime.port.control.version = version
        self._head: Channel | None = None
        self._turn = asyncio.Lock()
        self._hears = 0
        runtime.services.roles = self
        runtime.services.elsewhere = self.kill_elsewhere
        runtime.services.topology.on_change.append(self._changed)

    @property
    def version(self) -> int:
        """Of the configuration it runs on."""
        return self._runtime.port.control.version

    def attach(self, sock: socket.socket) -> None:
        """Answer this one from now on."""
        self.close()
        self._head = Channel(sock, self._handle, name="head")

    def close(self) -> None:
        """Answer nobody."""
        if self._head is not None:
            self._head.close()

    # -- what the head asks ------------------------------------------------------------

    async def _handle(self, _: Channel, message: Message) -> Facts | None:
        runtime, port = self._runtime, self._runtime.port
        match message.verb:
            case "read":
                rows = await port.reading(message["table"])
                return {"rows": await asyncio.to_thread(_encoded, rows)}
            case "measure":
                return {"reading": told_reading(await port.measured())}
            case "status":
                return await port.status()
            case "state":
                age = monotonic() - runtime.started_at
                return {"version": self.version, "age_sec": age, "statuses": statuses(runtime)}
            case "order":
                return {"told": await port.order(message["name"], *message["arguments"])}
            case "set_status":
                facts = message.facts
                count = await port.setting_status(
                    facts["hostgroup"], facts["address"], facts["status"]
                )
                return {"changed": count}
            case "kill":
                return await self._kill(message)
            case "load":
                async with self._turn:
                    await self._load(message["text"], message["version"])
            case "health":
                async with self._turn:
                    self._act(message)
            case _:
                raise HandoverError("a worker does not do that", verb=message.verb)
        return None

    async def _load(self, text: str, version: int) -> None:
        config = await asyncio.to_thread(snapshot.load, text)
        await self._runtime.port.control.take(config, version)

    def _act(self, message: Message) -> None:
        self._hears += 1
        try:
            act(self._runtime, message["act"], message["arguments"])
        finally:
            self._hears -= 1
        if "version" in message.facts:
            self._runtime.port.control.version = message["version"]

    async def _kill(self, message: Message) -> Facts:
        """A client of another worker's ends a session of ours."""
        services = self._runtime.services
        target = services.registry.find(message["id"])
        if target is None:
            return {"found": False}
        if target.login is None or target.login.user.hex() != message["user"]:
            raise ClientError("", code="kill_owner", id=target.id)
        if message["query_only"]:
            await self._runtime.killer.running(target)
        else:
            self._runtime.killer.connection(target)
        return {"found": True}

    # -- what the worker says ----------------------------------------------------------

    def _tell(self, event: str, *arguments: Any) -> bool:
        head = self._head
        if head is None or head.closed.done():
            return False
        head.tell("event", event=event, arguments=list(arguments))
        return True

    def _changed(self, backend: Backend, old: Status, new: Status) -> None:
        health = self._runtime.services.topology.health[backend]
        if not self._hears and seen_by_traffic(health, old, new):
            self._tell("status", told(backend, health))

    def refuses_writes(self, backend: Backend, /) -> bool:
        """A writer says it is read only; whether anybody can see to it that it is no writer."""
        pairs = self._runtime.config.mysql_replication_hostgroups
        if not any(pair.writer_hostgroup == backend.hostgroup for pair in pairs):
            return False
        if not self._runtime.services.variables.flag("mysql-monitor_enabled"):
            return False
        port = 0 if backend.path else backend.port
        return self._tell("refuses_writes", backend.hostgroup, backend.path or backend.host, port)

    def wanted(self, hostgroup: int, /) -> None:
        """Statements wait for a writer that is not there."""
        self._tell("wanted", hostgroup)

    async def kill_elsewhere(self, number: int, query_only: bool, user: bytes) -> bool:
        """End a session of another worker, or what it runs; False: nobody has it.

        Raises HProxyError, TimeoutError."""
        if self._head is None:
            return False
        try:
            answer = await self._head.ask(
                "kill", timeout_sec=KILL_SEC, id=number, query_only=query_only, user=user.hex()
            )
        except HProxyError as error:
            raise original(error) from error
        return bool(answer["found"])


def _encoded(rows: Any) -> orjson.Fragment:
    """In a thread: ten thousand rows take a while. Raises MemoryError."""
    if not spare():
        raise MemoryError("no memory for rows of a table")
    return orjson.Fragment(orjson.dumps(rows, default=_plain))


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
