# SPDX-License-Identifier: Apache-2.0
"""The process that serves no clients: admin port, monitors, store, history, and the fleet.

    become ─> store read ─> open (angel: sockets) ─> snapshot (angel: what workers start on) ─> Head
    peer ───> a channel to a worker: it is brought up to date
    reload ─> the file anew                draining ─> not ready any more
    upgrade: `become` has what the service before ran on; `release` is answered with it

    LOAD  prepared ─ admin port ─ open (angel) ─ load (workers) ─ the model ─ snapshot, keep (angel)
          who refuses ends it there: what was done is undone, and all run on what they ran on

It knows what workers run on through a model: a Runtime that serves nobody.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from time import monotonic
from typing import Any

from hproxy.config import snapshot
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, HandoverError, HProxyError
from hproxy.process.boot import inherited, open_store, restored
from hproxy.process.channel import Channel, Facts, Message
from hproxy.process.fleet import Fleet
from hproxy.process.head import Head
from hproxy.process.origin import Origin
from hproxy.process.refusal import original
from hproxy.process.service_port import ServicePort
from hproxy.process.sockets import given
from hproxy.process.verdicts import Spread, learn, statuses
from hproxy.runtime import Runtime
from hproxy.runtime.apply import Prepared
from hproxy.runtime.listeners import GivenSockets
from hproxy.telemetry import log as logs
from hproxy.telemetry.numbered_file import Share
from hproxy.topology import Backend

__all__ = ["Leader", "Led"]

ATTACH_SEC = 10.0


class Led:
    """The model, the workers that run on the same, and what passes between them."""

    def __init__(
        self, config: Config, angel: Channel, log: Any, *, version: int, share: Share
    ) -> None:
        """Raises ConfigError."""
        self.model = Runtime(config, log, share=share, serves=False)
        self.model.started = True
        self.fleet = Fleet(log)
        self.port = ServicePort(self.model, self.fleet, angel)
        self.model.port = self.port
        self.watched = Spread(self.model, self.fleet, self._moved)
        self._angel = angel
        self._log = log
        self._control = self.port.control
        self._control.version = version
        self._control.commit = self._commit
        self.fleet.attached = self._attached
        self.fleet.heard = self._heard

    @property
    def version(self) -> int:
        """Of the configuration all run on."""
        return self._control.version

    def keep_snapshot(self) -> None:
        """What processes start on from now on."""
        self._angel.tell("snapshot", text=snapshot.dump(self.model.config), version=self.version)

    def _moved(self) -> int:
        """Monitors have moved servers."""
        self._control.version += 1
        self.keep_snapshot()
        return self.version

    def _now(self) -> Mapping[str, Any]:
        return {"text": snapshot.dump(self.model.config), "version": self.version}

    # -- a configuration -----------------------------------------------------------------

    async def _commit(self, ready: Prepared) -> tuple[str, ...]:
        """Workers, then the model. Raises ConfigError; then all are as they were."""
        async with self.fleet.turn:
            self.watched.held = True
            try:
                text = await asyncio.to_thread(snapshot.dump, ready.config)
                with self._control.ahead(ready):
                    await self._open(ready)
                    await self.fleet.load(text, self.version + 1, self._now)
                    found = self._control.swap(ready)
            except BaseException as error:
                self._keep(ready.before)
                if isinstance(error, HProxyError) and not isinstance(error, ConfigError):
                    raise ConfigError(str(error)) from error
                raise
            finally:
                self.watched.release()
        self._angel.tell("snapshot", text=text, version=self.version)
        self._keep(ready.config)
        return found

    async def _open(self, ready: Prepared) -> None:
        before, wanted = ready.before.server.listens, ready.config.server.listens
        if before != wanted:
            try:
                await self._angel.ask("open", addresses=list(map(str, wanted)))
            except HProxyError as error:
                raise original(error) from error

    def _keep(self, config: Config) -> None:
        self._angel.tell("keep", addresses=list(map(str, config.server.listens)))

    # -- workers -----------------------------------------------------------------------

    async def _attached(self, slot: int, channel: Channel) -> None:
        """A worker is there: it becomes what the others are, or a new head learns from it."""
        async with self.fleet.turn:
            state = await channel.ask("state", timeout_sec=ATTACH_SEC)
            if state["version"] != self.version:
                await channel.ask("load", timeout_sec=ATTACH_SEC, **self._now())
            if state["age_sec"] > monotonic() - self.model.started_at:
                self.watched.inherit([row for row in state["statuses"] if row[3] != "ONLINE"])
            else:
                told = statuses(self.model)
                channel.tell("health", act="statuses", arguments=told)

    def _heard(self, slot: int, message: Message) -> Any:
        match message.verb:
            case "event":
                self._event(slot, message["event"], message["arguments"])
                return None
            case "kill":
                return self._kill(slot, message)
        raise HandoverError("a head does not do that", verb=message.verb)

    def _event(self, slot: int, event: str, arguments: list[Any]) -> None:
        roles = self.model.services.roles
        match event:
            case "status":
                learn(self.model, arguments)
                self.fleet.say("statuses", *arguments, but=slot)
            case "refuses_writes" if roles is not None:
                hostgroup, host, port = arguments
                path = host if port == 0 else None
                backend = self.model.services.topology.find(hostgroup, host, port, path)
                if isinstance(backend, Backend):
                    roles.refuses_writes(backend)
            case "wanted" if roles is not None:
                roles.wanted(*arguments)

    async def _kill(self, slot: int, message: Message) -> Facts:
        facts = message.facts
        found = await self.port.kill_for(slot, facts["id"], facts["query_only"], facts["user"])
        return {"found": found}

    async def stop(self) -> None:
        """Workers go on without it."""
        await self.fleet.close()
        await self.model.stop()


class Leader:
    """What a child becomes that is to lead."""

    def __init__(self, angel: Channel, config: Config, log: Any) -> None:
        self._angel = angel
        self._config = config
        self._log = log
        self._led: Led | None = None
        self._head: Head | None = None

    async def start(self, message: Message) -> Facts:
        """Lead. Raises ConfigError; then nothing is left."""
        log, first = self._log, message["first"]
        store = open_store(self._config, log, initial=message["initial"])
        config, heritage = self._config, None
        if first:
            if message["upgrade"] and not message["initial"]:
                heritage = await asyncio.to_thread(
                    inherited, config, store, message["estate"], log, reload=message["reload"]
                )
                config = heritage.config
            else:
                config = restored(config, store, log)
            for doubt in dict.fromkeys(config.warnings()):
                log.warning("configuration is doubtful", about=doubt.key, reason=str(doubt))
        led = Led(
            config,
            self._angel,
            log,
            version=1 if first else message["version"],
            share=Share.FIRST if first else Share.LEADER,
        )
        led.port.paused = message["paused"]
        origin = Origin.of(message["origin"])
        head = Head(led.model, store, origin, log, watched=led.watched)
        if head.server is not None:
            head.server.listeners.given = _opened(message, "admin")
        if head.http is not None:
            head.http.listeners.given = _opened(message, "http")
        try:
            if first:
                await self._open(config)
                led.keep_snapshot()
            notes = await head.start(heritage)
        except ConfigError:
            await head.stop()
            await led.stop()
            raise
        self._led, self._head = led, head
        logs.on_reopen.append(led.model.recorder.journal.reopen)
        if heritage is not None:
            led.watched.inherit(heritage.servers)
        for note in notes:
            log.warning("not as it was before the upgrade", reason=note)
        return {"notes": list(notes)}

    async def _open(self, config: Config) -> None:
        try:
            await self._angel.ask("open", addresses=list(map(str, config.server.listens)))
        except HProxyError as error:
            raise original(error) from error

    async def handle(self, message: Message) -> Facts | None:
        """Do what the angel says."""
        if self._led is None or self._head is None:
            raise HandoverError("it does not lead yet", verb=message.verb)
        match message.verb:
            case "peer":
                self._led.fleet.attach(message["slot"], socket.socket(fileno=message.fds[0]))
            case "reload":
                report = await self._head.reload()
                return {"text": report.text, "warnings": list(report.warnings)}
            case "release":
                estate, sockets = await self._head.release(keep=message["keep"])
                # Copies: those in an answer are closed once it is sent.
                fds = [os.dup(fd) for fd in sockets.values()]
                return {"estate": estate.facts, "fds": fds, "fds_are": list(sockets)}
            case "resume":
                await self._head.resume()
            case "draining":
                self._led.port.draining = True
            case "dump":
                self._dump()
            case _:
                raise HandoverError("a head does not do that", verb=message.verb)
        return None

    def _dump(self) -> None:
        assert self._led is not None
        backends = {
            f"{row.hostgroup} {row.host}:{row.port}": row.status
            for row in self._led.port.backends()
        }
        self._log.info(
            "state",
            version=self._led.version,
            workers=sorted(self._led.fleet.channels),
            backends=backends,
            tasks=len(asyncio.all_tasks()),
        )

    async def stop(self) -> None:
        """Orderly."""
        if self._head is not None:
            await self._head.stop()
        if self._led is not None:
            await self._led.stop()


def _opened(message: Message, use: str) -> GivenSockets:
    """Sockets for operators that systemd opened, and those of the service before."""
    names, fds = message["fds_are"], message.fds
    once = given(names, fds, f"once:{use}:")
    return GivenSockets(given(names, fds, f"{use}:"), alone=False, once=once)
