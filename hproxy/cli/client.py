# SPDX-License-Identifier: Apache-2.0
"""A small MySQL client: log in, ask, read rows; for commands that talk to a server."""

from __future__ import annotations

from typing import Any, Self

from hproxy.config.address import Address
from hproxy.dial.converse import converse
from hproxy.errors import BackendError, BackendProtocolError
from hproxy.net.resolver import connect
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Side
from hproxy.protocols.mysql import PROTOCOL
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.constants import Capability, Charset, Command
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.rows import TextResult
from hproxy.protocols.mysql.wire import MalformedPacket, u8

__all__ = ["Client"]

MAX_PACKET = 64 << 20
Row = tuple[bytes | None, ...]


class Client:
    """One connection."""

    def __init__(self, channel: Any, login: LoginResult) -> None:
        self._channel = channel
        self._capabilities, _ = split(login.capabilities)

    @classmethod
    async def open(
        cls, reactor: Any, address: Address, user: str, password: str, database: str = ""
    ) -> Self:
        """Connect and log in. Raises ConnectError, BackendError, Refusal."""
        fd = await connect(address.host, address.port, path=address.path)
        channel = PROTOCOL.channel(reactor, fd, Side.BACKEND.value, MAX_PACKET)
        wanted = LoginResult(
            user=user.encode(),
            database=database.encode(),
            capabilities=int(Capability.DEPRECATE_EOF | Capability.LONG_PASSWORD),
            charset=Charset.UTF8MB4,
            attributes=((b"program_name", b"hproxy"),),
            credential=Credential(password.encode()),
        )
        options = LoginOptions(connection_id=0, attributes=False, backend_secure=address.is_unix)
        try:
            machine = PROTOCOL.backend_login(options, wanted)
            login = await converse(machine, {Side.BACKEND: channel})
        except BaseException:
            channel.close()
            raise
        return cls(channel, login)

    async def query(self, sql: str) -> list[Row]:
        """The rows of one statement. Raises BackendError; `number` in its facts if refused."""
        channel = self._channel
        channel.seq = 0
        channel.write_packet(u8(Command.QUERY) + sql.encode())
        result = TextResult(self._capabilities)
        try:
            while not result.take(await channel.read_packet()):
                pass
        except MalformedPacket as error:
            raise BackendProtocolError(str(error), offset=error.offset) from error
        if result.error is not None:
            reason = result.error.message.decode("utf-8", "replace")
            raise BackendError(reason, number=result.error.number)
        return result.rows

    @property
    def bytes_in(self) -> int:
        """Received so far."""
        return int(self._channel.endpoint.bytes_in)

    @property
    def bytes_out(self) -> int:
        """Sent so far."""
        return int(self._channel.endpoint.bytes_out)

    def close(self) -> None:
        """Say goodbye and leave."""
        self._channel.seq = 0
        self._channel.write_packet(u8(Command.QUIT))
        self._channel.finish()
