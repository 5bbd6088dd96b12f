# SPDX-License-Identifier: Apache-2.0
"""A connection of our own to one server: log in, ask, ping, close.

    Dialler(protocol, reactor, tls)(host, port, ...) ── resolve ── connect ── log in ──> Probe
                                                                       └ TLS as `tls` says
    Probe.ask(sql) ── rows by column name       Probe.ping()       Probe.close()

A probe that was interrupted in the middle of an answer is of no more use: close it.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple

from hproxy.dial.converse import Refusal, converse
from hproxy.errors import BackendError, BackendLost, BackendProtocolError, ConnectError
from hproxy.net.resolver import connect
from hproxy.protocols.base import LoginOptions, LoginResult, Protocol
from hproxy.protocols.model import Side

__all__ = ["Dialler", "Limits", "Probe", "Row", "TlsFor"]

UNREADABLE = (ValueError, IndexError)
"""What comes of packets that cannot be read."""
KEEPALIVE_SEC = 120

Row = dict[str, str | None]
TlsFor = Callable[[str, int, str], ssl.SSLContext]
"""(host, port, user) -> the context for connections there; may raise ConfigError."""


class Limits(NamedTuple):
    """How much a server may answer before it is taken for one that lies."""

    packet: int = 1 << 20
    """Bytes of one row."""
    rows: int = 10_000
    size: int = 64 << 20
    """Bytes of all rows together."""


LIMITS = Limits()


class Probe:
    """One logged in connection; one question at a time."""

    def __init__(
        self, protocol: Protocol, channel: Any, login: LoginResult, limits: Limits = LIMITS
    ) -> None:
        self._protocol = protocol
        self._channel = channel
        self._login = login
        self._limits = limits

    async def ask(self, sql: str) -> list[Row]:
        """The rows of one statement by column name.

        Raises BackendError (`number` in its facts when the server refused), BackendLost,
        BackendProtocolError."""
        channel = self._channel
        channel.seq = 0
        mysql = self._protocol.multiplexing
        channel.write_packet(mysql.with_attributes(b"\x03" + sql.encode(), self._login))
        result = mysql.text_result(self._login)
        size = 0
        try:
            while not result.take(packet := await channel.read_packet()):
                size += len(packet)
                if len(result.rows) > self._limits.rows or size > self._limits.size:
                    raise BackendProtocolError("more rows than anything we ask for can have")
        except UNREADABLE as error:
            raise BackendProtocolError(str(error)) from error
        if result.error is not None:
            reason = result.error.message.decode("utf-8", "replace")
            raise BackendError(reason, number=result.error.number)
        names = [name.decode("utf-8", "replace") for name in result.names]
        return [
            {
                name: None if value is None else value.decode("utf-8", "replace")
                for name, value in zip(names, row, strict=True)
            }
            for row in result.rows
        ]

    async def ping(self) -> None:
        """Ask whether it lives. Raises BackendError, BackendLost."""
        channel = self._channel
        channel.seq = 0
        channel.write_packet(self._protocol.multiplexing.PING.payload)
        number, reason = self._protocol.read_error(await channel.read_packet())
        if number:
            raise BackendError(reason, number=number)

    @property
    def clean(self) -> bool:
        """Whether nothing came since the last answer: no goodbye, no end."""
        return bool(self._channel.clean)

    def close(self) -> None:
        """Say goodbye and leave; does not wait."""
        try:
            self._channel.seq = 0
            self._channel.write_packet(self._protocol.quit_command)
            self._channel.finish()
        except BackendLost:
            self._channel.close()

    def cut(self) -> None:
        """Leave without a word: the server is silent, or in the middle of an answer."""
        self._channel.close()


class Dialler:
    """Opens probes."""

    def __init__(
        self,
        protocol: Protocol,
        reactor: Any,
        tls: TlsFor,
        resolve: Callable[[str], Awaitable[str]] | None = None,
        *,
        unasked: str = "off",
        limits: Limits = LIMITS,
    ) -> None:
        """`resolve` turns a host name into an address; left out, each connect asks the system.

        `unasked` is what becomes of TLS where use_ssl does not ask for it: off or preferred."""
        self._unasked = unasked
        self._limits = limits
        self._protocol = protocol
        self._reactor = reactor
        self._tls = tls
        self._resolve = resolve

    async def __call__(
        self, host: str, port: int, use_ssl: bool, user: str, password: str
    ) -> Probe:
        """Connect to `host`:`port` and log in; bounding the time is the caller's.

        Port 0 means that `host` is the path of a Unix socket. Raises ConnectError (`number` in its
        facts when the server refused), AuthError, BackendError, ConfigError.
        """
        path = host if port == 0 else None
        channel: Any = None
        try:
            address = host
            if self._resolve is not None and path is None:
                address = await self._resolve(host)
            fd = await connect(address, port, path=path, keepalive_sec=KEEPALIVE_SEC)
            side, limit = Side.BACKEND.value, self._limits.packet
            channel = self._protocol.channel(self._reactor, fd, side, limit)
            login = await self._log_in(channel, host, port, use_ssl, user, password)
        except BaseException as error:
            if channel is not None:
                channel.close()
            told = _told(error)
            if told is error:
                raise
            raise told from error
        return Probe(self._protocol, channel, login, self._limits)

    async def _log_in(
        self, channel: Any, host: str, port: int, use_ssl: bool, user: str, password: str
    ) -> LoginResult:
        unix = port == 0
        wanted = self._protocol.side_login(
            LoginResult(user=b""), (user.encode(), password.encode())
        )
        assert wanted is not None  # a password is given
        wanted = replace(wanted, charset=self._protocol.multiplexing.CHARSET_UTF8MB4)
        options = LoginOptions(
            connection_id=0,
            attributes=False,
            backend_tls="off" if unix else "required" if use_ssl else self._unasked,
            backend_secure=unix,
        )

        async def secure(_: Side, channel: Any) -> None:
            context = self._tls(host, port, user)
            await channel.start_tls(context, server_side=False, server_hostname=host)

        machine = self._protocol.backend_login(options, wanted)
        return await converse(machine, {Side.BACKEND: channel}, secure=secure)


def _told(error: BaseException) -> BaseException:
    """What a failure to open is called."""
    if isinstance(error, Refusal):
        return error.error
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return ConnectError(str(error), code="local")
    if isinstance(error, UNREADABLE):
        return BackendProtocolError(str(error))
    return error
