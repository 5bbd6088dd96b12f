# SPDX-License-Identifier: Apache-2.0
"""The REST port of a process: there while admin-restapi_enabled says so, on this machine only.

start, a variable has changed ──> open, elsewhere, or closed
                                    └ the port cannot be had ──> told; tried with the next change
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hproxy.config.address import parse_listen
from hproxy.config.http import HttpOptions
from hproxy.config.proxysql.values import Values
from hproxy.control.model import Port
from hproxy.control.serving import Serving
from hproxy.errors import ConfigError

if TYPE_CHECKING:
    from hproxy.control.connection import Connections

__all__ = ["Rest"]

ENABLED, PORT = "admin-restapi_enabled", "admin-restapi_port"
HOST = "127.0.0.1"
"""Whoever reaches it runs programs without a password."""


class Rest:
    """Use within a running event loop."""

    def __init__(
        self,
        options: HttpOptions,
        port: Port,
        routes: Callable[[], Iterable[Any]],
        values: Values,
        log: Any,
    ) -> None:
        """`routes` gives the rows of restapi_routes that hold now; `options` bounds requests."""
        self._options = options
        self._port = port
        self._routes = routes
        self._values = values
        self._log = log
        self._serving: Serving | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with the port the kernel chose."""
        return () if self._serving is None else self._serving.addresses

    def start(self) -> None:
        """Be as the variables say, from now on."""
        self._values.on_change.append(self._changed)
        self._become()

    def _changed(self, names: set[str]) -> None:
        if names & {ENABLED, PORT}:
            self._become()

    def _become(self) -> None:
        if not self._values.flag(ENABLED):
            self._end()
            return
        if self._serving is None:
            self._serving = Serving(
                self._application, self._log, name="rest", option=PORT,
                most=self._options.max_connections,
            )  # fmt: skip
            self._serving.load()
        try:
            number = self._values.number(PORT)
            self._serving.listeners.become((parse_listen(f"{HOST}:{number}"),))
        except ConfigError as error:
            self._log.error("the rest port cannot be opened", reason=str(error))
            self._end()
        else:
            self._log.info("rest port open", address=";".join(self.addresses))

    def _application(self) -> Connections:
        from hproxy.control.connection import Connections  # noqa: PLC0415
        from hproxy.control.rest.app import make_app  # noqa: PLC0415

        options = self._options
        app = make_app(self._routes, self._port, options, self._log)
        return Connections(app, most=options.max_connections, timeout_sec=options.timeout_sec)

    def _end(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.close()  # at once: it may be opened again in the same moment
            task = asyncio.get_running_loop().create_task(serving.stop(), name="end of rest")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """Closed for good, programs that run included; `start` opens it again."""
        if self._changed in self._values.on_change:
            self._values.on_change.remove(self._changed)
        self._end()
        if self._ending:
            await asyncio.wait(set(self._ending))
