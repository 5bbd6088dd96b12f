# SPDX-License-Identifier: Apache-2.0
"""One of the workers: serves clients on listening sockets that the angel keeps.

become ─> serving ── drain ─> no new clients, idle ones closed ── stop ─> gone
          sockets, keep: what LOAD MYSQL VARIABLES did to mysql-interfaces
          peer: a channel to a new head, whose questions the responder answers
          move, take: its sessions go to, or come from, the worker of another service
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from hproxy.config.address import parse_listen
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, HandoverError
from hproxy.process.channel import Channel, Facts, Message
from hproxy.process.commons import joined
from hproxy.process.moving import move_all, receive
from hproxy.process.responder import Responder
from hproxy.process.sockets import given
from hproxy.runtime import Runtime
from hproxy.runtime.listeners import GivenSockets
from hproxy.telemetry import log as logs
from hproxy.telemetry.numbered_file import Share

__all__ = ["Worker"]


class Worker:
    """What a child becomes that is to serve."""

    def __init__(self, angel: Channel, config: Config, log: Any) -> None:
        self._angel = angel
        self._config = config
        self._log = log
        self._runtime: Runtime | None = None
        self._responder: Responder | None = None
        self._sockets = GivenSockets({})

    @property
    def runtime(self) -> Runtime:
        """At work. Raises HandoverError before it is."""
        if self._runtime is None:
            raise HandoverError("it does not serve yet")
        return self._runtime

    async def start(self, message: Message) -> Facts:
        """Serve. Raises ConfigError; then nothing is left."""
        slot = message["slot"]
        self._sockets.add(given(message["fds_are"], message.fds))
        common = joined(message)
        runtime = Runtime(
            self._config,
            self._log.bind(worker=slot),
            common.shares,
            slot=slot,
            generation=message["generation"],
            share=Share.FOLLOWER,
            guesses=common.guesses,
        )
        if common.balance is not None:
            runtime.join(common.balance, common.mailbox)
        runtime.listeners.given = self._sockets
        runtime.listeners.paused = message["paused"]
        try:
            runtime.start("worker serves")
        except ConfigError:
            await runtime.stop()
            raise
        logs.on_reopen.append(runtime.recorder.journal.reopen)
        self._responder = Responder(runtime, slot=slot, version=message["version"])
        self._runtime = runtime
        return {}

    async def handle(self, message: Message) -> Facts | None:
        """Do what the angel says."""
        match message.verb:
            case "peer":
                assert self._responder is not None
                self._responder.attach(socket.socket(fileno=message.fds[0]))
            case "sockets":
                self._sockets.add(given(message["fds_are"], message.fds))
            case "keep":
                self._sockets.keep(list(map(parse_listen, message["addresses"])))
            case "close":
                if self._runtime is not None:
                    self._runtime.listeners.close()
            case "drain":
                return await self._drain(
                    message["deadline_sec"], gentle=message.facts.get("gentle", False)
                )
            case "move":
                sock = socket.socket(fileno=message.fds[0])
                return await move_all(self.runtime, sock, message["deadline_sec"])
            case "take":
                return await receive(self.runtime, socket.socket(fileno=message.fds[0]))
            case "dump":
                self._dump()
            case _:
                raise HandoverError("a worker does not do that", verb=message.verb)
        return None

    async def _drain(self, deadline_sec: float, *, gentle: bool) -> Facts:
        registry = self.runtime.services.registry
        self.runtime.log.info("draining", deadline_sec=deadline_sec, connections=len(registry))
        await self.runtime.drain(deadline_sec, gentle=gentle)
        return {"left": len(registry)}

    def _dump(self) -> None:
        runtime = self.runtime
        runtime.log.info(
            "state",
            connections=len(runtime.services.registry),
            tasks=len(asyncio.all_tasks()),
            addresses=runtime.listeners.addresses,
            draining=runtime.draining,
            counters=vars_of(runtime.counters),
            backends={f"{row.hostgroup} {row.host}:{row.port}": row.status
                      for row in runtime.port.backends()},
        )  # fmt: skip

    async def stop(self) -> None:
        """End now; clients in a command are told why."""
        if self._responder is not None:
            self._responder.close()
        if self._runtime is not None:
            left = len(self._runtime.services.registry)
            await self._runtime.stop()
            self._runtime.log.info("worker stopped", cut_off=left)


def vars_of(counters: Any) -> Facts:
    """The whole numbers an object has."""
    names = getattr(type(counters), "__slots__", None) or vars(counters)
    found = {name: getattr(counters, name, None) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, int)}
