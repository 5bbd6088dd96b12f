# SPDX-License-Identifier: Apache-2.0
"""A port that speaks HTTP: its sockets, its start, its end.

    listen ──> sockets listen; who connects waits
    load ────> the web framework is imported in a thread (half a second) ──> served
    stop ────> no new ones, answers are finished within GRACE_SEC, the rest is cut

Descriptors come from `Listeners`, as those of clients do: accepting pauses when there are no more
of them. uvicorn's protocol is used without its server, which would want signals and a clock.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hproxy.net.listener import Listener
from hproxy.net.tasks import TaskSet
from hproxy.runtime.listeners import Listeners

if TYPE_CHECKING:
    from hproxy.control.connection import Connections

__all__ = ["Serving"]

GRACE_SEC = 1.0


class Serving:
    """One port; `make` gives its connections, in a thread, when it is first served."""

    def __init__(
        self, make: Callable[[], Connections], log: Any, *, name: str, option: str, most: int
    ) -> None:
        """`name` is said in the log, `option` names the address to the operator, `most` may wait
        for the framework."""
        self._make = make
        self._log = log
        self._name = name
        self._most = most
        self.tasks = TaskSet(self._failed)
        self._connections: asyncio.Future[Connections] | None = None
        self.listeners = Listeners(self._accepted, paused=self._paused, option=option)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with the ports the kernel chose."""
        return self.listeners.addresses

    def tls(self) -> ssl.SSLContext | None:
        """The context for who comes now; None: in the clear."""
        return None

    def load(self) -> None:
        """Serve as soon as the framework is there."""
        self._connections = asyncio.get_running_loop().create_future()
        self.tasks.spawn(self._load(), self._name)

    async def _load(self) -> None:
        assert self._connections is not None
        try:
            made = await asyncio.to_thread(self._make)
        except Exception as error:
            self.close()  # nobody would be answered
            self._connections.cancel()
            raise error
        self._connections.set_result(made)

    def close(self) -> None:
        """Listen no more; who is connected stays."""
        self.listeners.close()

    async def stop(self) -> None:
        """End it; answers that are under way are finished."""
        self.close()
        loaded = self._connections
        if loaded is not None and loaded.done() and not loaded.cancelled():
            await loaded.result().end(GRACE_SEC)
        await self.tasks.cancel_all()

    # -- connections ---------------------------------------------------------------

    def _accepted(self, _: Listener, fd: int, __: str) -> None:
        if len(self.tasks) > self._most:
            os.close(fd)  # so many wait for the framework, or have not finished a handshake
            return
        self.tasks.spawn(self._serve(socket.socket(fileno=fd)), f"{self._name} connection")

    async def _serve(self, sock: socket.socket) -> None:
        """Make it a connection; who it is for is told by uvicorn's protocol from then on."""
        assert self._connections is not None
        taken = False
        try:
            connections = await asyncio.shield(self._connections)
            if not connections.make_room():
                return
            taken = True
            tls = self.tls()
            more = {} if tls is None else {"ssl_handshake_timeout": connections.timeout_sec}
            await asyncio.get_running_loop().connect_accepted_socket(
                connections.make, sock, ssl=tls, **more
            )
        except (OSError, ssl.SSLError):
            pass  # gone, or it does not speak TLS
        finally:
            if not taken:
                sock.close()

    def _paused(self, error: OSError) -> None:
        reason = os.strerror(error.errno or 0)
        self._log.warning("accepting paused", port=self._name, reason=reason)

    def _failed(self, name: str, error: BaseException) -> None:
        self._log.error("internal error", task=name, exception=repr(error))
