# SPDX-License-Identifier: Apache-2.0
"""Opens backends: which one, what if it fails, and the login there.

    open ── order ──> connect ──> use(backend, channel) ── ok ──> Opened
              ^                        │ refused, silent, garbage
              └──── the next one <─────┘      none left: PoolTimeout, ConnectError

`use` says what opening means: read the greeting (relay), log in (table), kill a query. Every
wait has a deadline, and the client notices nothing of what was passed over.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import BackendError, ConnectError, HProxyError, PoolTimeout
from hproxy.net.resolver import connect
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import Side
from hproxy.session.failing import note_unreachable
from hproxy.session.introduction import announce
from hproxy.session.login import login_options, run_login
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend

__all__ = ["Backends", "Opened"]


@dataclass(slots=True)
class Opened:
    """A backend connection whose first packet, or whole login, has succeeded."""

    backend: Backend
    channel: Any
    outcome: Any


class Backends:
    """Opens connections to the backends of a worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked: asyncio.Future[None] | None = None
        """Who waits for the first greeting of any backend."""

    async def open(
        self,
        connection: Connection,
        use: Callable[[Backend, Any], Awaitable[Any]],
        hostgroup: int | None = None,
        only: Backend | None = None,
        aside: bool = False,
    ) -> Opened:
        """Try backends in turn until `use(backend, channel)` succeeds.

        The reserved place is recorded in `connection.backend`; with `only`, and `aside`, nothing
        is reserved (side connections), and none need be left. Raises PoolTimeout, ConnectError,
        Refusal.
        """
        services = self._services
        settings, topology = services.settings, services.topology
        group = settings.hostgroup if hostgroup is None else hostgroup
        begun = monotonic()
        counted = only is None and not aside
        candidates = (only,) if only else topology.order(group, begun, random.random, full=aside)
        failure: HProxyError | None = None
        for backend in candidates:
            left = settings.connect_timeout_max - (monotonic() - begun)
            if left <= 0:
                break
            if counted and not topology.enter(backend):
                continue  # another worker was quicker
            channel: Any = None
            try:
                async with asyncio.timeout(min(left, settings.connect_timeout)):
                    fd = await connect(
                        backend.host,
                        backend.port,
                        path=backend.path,
                        keepalive_sec=settings.keepalive_sec,
                    )
                    try:
                        announce(services, fd, backend.hostgroup, connection)
                    except BaseException:
                        os.close(fd)
                        raise
                    # Logins are short on both sides; commands never pass through a channel.
                    channel = services.protocol.channel(
                        services.reactor, fd, Side.BACKEND.value, settings.max_login_packet
                    )
                    outcome = await use(backend, channel)
            except (ConnectError, BackendError, TimeoutError, OSError) as error:
                failure = self._failed(connection, backend, error)
            except BaseException:
                if channel is not None:
                    channel.close()
                if counted:
                    topology.leave(backend)
                raise
            else:
                if only is None:
                    topology.opened(backend)
                if counted:
                    connection.backend = backend
                return Opened(backend, channel, outcome)
            if channel is not None:
                channel.close()
            if counted:
                topology.leave(backend)
        raise self._unreachable(group, failure, monotonic() - begun, len(candidates))

    def _failed(
        self, connection: Connection, backend: Backend, error: BaseException
    ) -> HProxyError:
        services = self._services
        ours = False
        if isinstance(error, HProxyError):
            failure = error
        elif isinstance(error, TimeoutError):
            seconds = services.settings.connect_timeout
            failure = ConnectError(f"no answer within {seconds:g} s", code="timeout")
        else:
            # No descriptor or memory for a socket: no reason to shun anybody.
            failure, ours = ConnectError(str(error), code="local"), True
        services.registry.totals.backend_connect_errors += 1
        services.counters.at(backend).failed += 1
        note_unreachable(services, backend, connection, failure)
        if not ours:
            services.topology.failed(backend, str(failure), monotonic())
        connection.log.warning(
            "backend not reachable",
            backend=str(backend),
            code=failure.full_code,
            reason=str(failure),
        )
        return failure

    def _unreachable(
        self, group: int, failure: HProxyError | None, waited: float, tried: int
    ) -> Exception:
        packet = failure.facts.get("packet") if failure is not None else None
        if isinstance(packet, bytes) and tried == 1:
            return Refusal(failure or ConnectError(), packet)  # its own words say it best
        if waited >= self._services.settings.connect_timeout_max:
            self._services.counters.connect_timeouts += 1
            return PoolTimeout(hostgroup=group, waited_ms=round(waited * 1000))
        reason = (
            failure.reason
            if failure is not None
            else "no backend is online with connections left below its max_connections"
        )
        return ConnectError(reason, hostgroup=group, tried=tried)

    async def log_in(
        self, connection: Connection, backend: Backend, channel: Any, wanted: LoginResult
    ) -> LoginResult:
        """Log in to `backend` as `wanted`. Raises ConnectError when another may do better."""
        services = self._services
        machine = services.protocol.backend_login(
            login_options(services, connection, backend), wanted
        )
        try:
            return await run_login(
                services, machine, {Side.BACKEND: channel}, backend=backend, user=wanted.user
            )
        except Refusal as refusal:
            if refusal.error.full_code == "pool.connect.capabilities":
                services.tasks.spawn(self.learn(backend), f"profile of {backend}")
            number = refusal.error.facts.get("number")
            if refusal.packet is None and isinstance(refusal.error, ConnectError):
                raise refusal.error from None
            if isinstance(number, int) and services.protocol.retryable(number):
                raise ConnectError(
                    refusal.error.reason, code="refused", number=number, packet=refusal.packet
                ) from None
            raise

    async def profile(self) -> Any:
        """What all backends heard of can do; asks one when none was heard of."""
        services = self._services
        known = services.profiles
        if not known:
            if self._asked is None:
                self._asked = asyncio.get_running_loop().create_future()
                # Not every waiter may be there to hear of a failure.
                self._asked.add_done_callback(lambda done: done.cancelled() or done.exception())
                services.tasks.spawn(self._ask_any(self._asked), "profile")
            await asyncio.shield(self._asked)
        return services.protocol.meet(list(known.values()))

    async def _ask_any(self, asked: asyncio.Future[None]) -> None:
        """One question for all who want to log in: together they would be more than may."""
        services = self._services
        asking = Connection(0, "", services.log)
        try:
            # Other workers may have all the places; nobody can log in here until it is known.
            opened = await self.open(asking, self._greeting, aside=True)
            services.hear(opened.backend, opened.outcome)
            opened.channel.close()
        except Exception as error:  # theirs to tell their clients
            asked.set_exception(error)
        else:
            asked.set_result(None)
        finally:
            self._asked = None
            asked.cancel()  # unless it is done

    async def learn(self, backend: Backend) -> None:
        """Ask `backend` for its greeting, so that clients are greeted with what it can do."""
        services = self._services
        asking = Connection(0, "", services.log)
        try:
            opened = await self.open(asking, self._greeting, only=backend)
        except (HProxyError, Refusal):
            return  # logged; it will be asked by the first client that comes
        services.hear(backend, opened.outcome)
        opened.channel.close()

    async def _greeting(self, _: Backend, channel: Any) -> Any:
        return self.judge(await channel.read_packet())

    def judge(self, packet: bytes) -> Any:
        """The profile in a greeting. Raises ConnectError for an ERR, which is never about a user,
        and BackendProtocolError for anything else: both mean "try the next one"."""
        number, text = self._services.protocol.read_error(packet)
        if number:
            raise ConnectError(text, code="refused", number=number, packet=packet)
        return self._services.protocol.profile(packet)
