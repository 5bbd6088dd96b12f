# SPDX-License-Identifier: Apache-2.0
"""The HTTP API as a part of a process: its address, its token, its certificate.

An address that is only the default is waited for while another process has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from hproxy.config.schema import Config
from hproxy.control.model import Door, Port
from hproxy.control.profiling import Profiler
from hproxy.control.serving import Serving
from hproxy.control.tokens import Tokens, kept_token, token_path
from hproxy.errors import ConfigError
from hproxy.net.tls import client_context

if TYPE_CHECKING:
    from hproxy.control.connection import Connections

__all__ = ["Http"]

PROFILES = "profiles"
AGAIN_SEC = 2.0


class Http(Serving):
    """One API. It serves what `port` and `door` are of."""

    def __init__(self, config: Config, port: Port, door: Door, log: Any) -> None:
        """Raises ConfigError: a token or certificate that cannot be used."""
        super().__init__(
            self._application, log, name="http", option="http.address",
            most=config.http.max_connections,
        )  # fmt: skip
        self._config = config
        self._port = port
        self._door = door
        self._profiler = Profiler(config.server.state_dir / PROFILES, port, log)
        self._again: asyncio.TimerHandle | None = None
        self._read = self._signature()
        self._tls = self._context()
        token = kept_token(config)
        if token is None:
            log.warning("the http api takes no token: none is given, and none can be kept",
                        file=str(token_path(config)), hint="set http.token")  # fmt: skip
        self._tokens = Tokens(token, config.http.read_token)

    def start(self) -> None:
        """Listen, and serve as soon as the framework is there. Raises ConfigError: an address that
        was asked for cannot be had."""
        asked = {"address"} & self._config.http.model_fields_set
        try:
            self._listen()
        except ConfigError as error:
            if asked or self._config.admin.http_address is not None:
                raise
            self._log.warning("the http api waits for its address", reason=str(error))
            self._try_later()
        self.load()

    def _listen(self) -> None:
        self.listeners.become(self._config.http_listens)
        self._log.info("http api open", address=";".join(self.addresses))

    def _try_later(self) -> None:
        self._again = asyncio.get_running_loop().call_later(AGAIN_SEC, self._try)

    def _try(self) -> None:
        try:
            self._listen()
        except ConfigError:
            self._try_later()

    def _application(self) -> Connections:
        # Not before somebody wants it: it takes longer than all the rest of a start.
        from hproxy.control.app import make_app  # noqa: PLC0415
        from hproxy.control.connection import Connections  # noqa: PLC0415

        options = self._config.http
        app = make_app(
            self._port,
            self._door,
            options,
            self._tokens,
            self._log,
            failures=self._config.admin.login_failures_per_host,
            profiler=self._profiler,
        )
        return Connections(app, most=options.max_connections, timeout_sec=options.timeout_sec)

    def _context(self) -> ssl.SSLContext | None:
        options = self._config.http
        if options.cert is None:
            return None
        try:
            return client_context(options.cert, options.key, None, self._config.tls.min_version)
        except ConfigError as error:
            raise ConfigError(error.reason, key="http.cert", value=str(options.cert)) from error

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        """Another one when a file of the certificate is another one."""
        found = []
        for path in (self._config.http.cert, self._config.http.key):
            if path is not None:
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def tls(self) -> ssl.SSLContext | None:
        """The context of now: a certificate that was replaced is read anew. One that cannot be
        used is told of once, and the old one goes on."""
        if self._tls is not None and (found := self._signature()) != self._read:
            self._read = found
            try:
                self._tls = self._context()
            except ConfigError as error:
                self._log.warning("certificate not reloaded", reason=str(error))
            else:
                self._log.info("certificate reloaded", file=str(self._config.http.cert))
        return self._tls

    def rest(self) -> dict[str, int]:
        """Serve nobody new for now: `Listeners.rest`."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        return self.listeners.rest()

    def wake(self) -> None:
        """As before `rest`."""
        self.listeners.wake()
        if not self.addresses:
            self._try()

    def close(self) -> None:
        """Listen no more, and do not wait for the address either."""
        if self._again is not None:
            self._again.cancel()
        super().close()

    async def stop(self) -> None:
        """End it; answers that are under way are finished."""
        await super().stop()
        await self._profiler.close()
