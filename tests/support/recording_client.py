# SPDX-License-Identifier: Apache-2.0
"""A MySQL client of blocking sockets that sends any bytes and keeps every frame it gets.

For what drivers cannot do, and to compare a conversation through the proxy with the same one
held directly. It finds the end of a response by an own, obvious reading of the protocol, so
that it does not share mistakes with the scanner under test.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.constants import Capability, Command, MariadbCapability, ServerStatus
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
)
from hproxy.protocols.mysql.replies import EofPacket, ErrPacket, OkPacket
from hproxy.protocols.mysql.wire import frames

__all__ = ["BASE", "COMMON", "DEADLINE_S", "Frame", "Login", "RecordingClient", "Refused"]

DEADLINE_S = 20.0
FULL_FRAME = 0xFFFFFF
OK, INFILE, EOF, ERR = 0x00, 0xFB, 0xFE, 0xFF
PROGRESS = b"\xff\xff\xff"

BASE = (
    Capability.LONG_PASSWORD
    | Capability.LONG_FLAG
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
)
COMMON = (
    BASE
    | Capability.LOCAL_FILES
    | Capability.MULTI_STATEMENTS
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.CONNECT_ATTRS
)
NO_MARIADB = MariadbCapability(0)


class Refused(Exception):
    """The login ended with an ERR packet."""

    def __init__(self, packet: ErrPacket) -> None:
        super().__init__(f"{packet.number}: {packet.message!r}")
        self.packet = packet


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to be and what to agree on."""

    user: str = "hproxy"
    password: str = "hproxy"
    database: str = "test"
    capabilities: Capability = COMMON
    mariadb: MariadbCapability = NO_MARIADB
    plugin: bytes | None = None
    """Answer with this plugin at first, whatever the greeting names."""
    tls: bool = False
    charset: int = 45
    attributes: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    sequence: int
    payload: bytes


class RecordingClient:
    """Connected, and logged in unless told otherwise; close it."""

    def __init__(self, host: str, port: int, login: Login | None) -> None:
        self.socket: socket.socket = socket.create_connection((host, port), DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        self.received: list[Frame] = []
        self.sequence = 0
        self.capabilities = Capability(0)
        self.mariadb = NO_MARIADB
        self.plugins: list[bytes] = []
        self.full = False
        """Whether caching_sha2_password had to authenticate in full."""
        if login is None:
            return
        try:
            self.greeting = Greeting.parse(self.packet())
            self.reply = self._log_in(login)
        except BaseException:
            self.close()
            raise

    # -- login -------------------------------------------------------------------

    def _log_in(self, login: Login) -> OkPacket:
        offered = self.greeting.capabilities
        wanted = login.capabilities
        if login.database:
            wanted |= Capability.CONNECT_WITH_DB
        self.capabilities = wanted & (offered | Capability.LONG_PASSWORD)
        if login.mariadb:
            self.capabilities &= ~Capability.LONG_PASSWORD
            self.mariadb = login.mariadb & self.greeting.mariadb
        if login.tls:
            self.capabilities |= Capability.SSL
        plugin = login.plugin or self.greeting.plugin
        response = HandshakeResponse(
            capabilities=self.capabilities,
            user=login.user.encode(),
            auth_response=self._answer(plugin, self.greeting.scramble, login),
            database=login.database.encode(),
            plugin=plugin,
            attributes=login.attributes,
            charset=login.charset,
            max_packet=1 << 30,
            mariadb=self.mariadb,
        )
        if login.tls:
            self.send(response.ssl_request.build(), self.sequence)
            self._secure()
            self.sequence += 1
            response = replace(
                response, auth_response=self._answer(plugin, self.greeting.scramble, login)
            )
        self.send(response.build(), self.sequence)
        return self._verdict(plugin, self.greeting.scramble, login)

    def _secure(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def _answer(self, plugin: bytes, scramble: bytes, login: Login) -> bytes:
        known = auth.PLUGINS.get(plugin)
        if known is None:
            return b""
        secure = isinstance(self.socket, ssl.SSLSocket)
        answer = known.respond(auth.Credential(login.password.encode()), scramble, secure)
        return b"" if answer is None else answer

    def _verdict(self, plugin: bytes, scramble: bytes, login: Login) -> OkPacket:
        """Follow the server through its plugins to OK. Raises Refused."""
        self.plugins = [plugin]
        while True:
            packet = self.packet()
            if packet[0] == OK:
                return OkPacket.parse(packet, self.capabilities)
            if packet[0] == ERR:
                raise Refused(ErrPacket.parse(packet))
            if packet[0] == EOF:
                switch = AuthSwitchRequest.parse(packet)
                plugin, scramble = switch.plugin, switch.scramble
                self.plugins.append(plugin)
                self.send(self._answer(plugin, scramble, login), self.sequence)
                continue
            if AuthMoreData.parse(packet).data == auth.FULL_AUTH_NEEDED:
                self.full = True
                self._reveal(scramble, login)

    def _reveal(self, scramble: bytes, login: Login) -> None:
        """The password itself, under TLS or the server's RSA key."""
        password = login.password.encode()
        if isinstance(self.socket, ssl.SSLSocket):
            self.send(password + b"\0", self.sequence)
            return
        self.send(auth.REQUEST_PUBLIC_KEY, self.sequence)
        pem = AuthMoreData.parse(self.packet()).data
        self.send(auth.encrypt_password(password, scramble, pem), self.sequence)

    def change_user(self, login: Login, payload: bytes) -> OkPacket:
        """Send a COM_CHANGE_USER and follow the exchange. Raises Refused."""
        self.send(payload)
        return self._verdict(b"", b"", login)

    # -- bytes -------------------------------------------------------------------

    def send(self, payload: bytes, sequence: int = 0) -> None:
        """One packet, in as many frames as it takes."""
        for frame in frames(payload, sequence):
            self.socket.sendall(frame)

    def read_exactly(self, length: int) -> bytes:
        """Raises ConnectionError at the end of the stream."""
        parts = [self.unread[:length]]
        self.unread = self.unread[length:]
        missing = length - len(parts[0])
        while missing:
            data = self.socket.recv(max(missing, 65536))
            if not data:
                raise ConnectionError("closed by the server")
            parts.append(data[:missing])
            self.unread = data[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def frame(self) -> Frame:
        """The next frame, kept in `received`."""
        head = self.read_exactly(4)
        found = Frame(head[3], self.read_exactly(int.from_bytes(head[:3], "little")))
        self.received.append(found)
        self.sequence = (found.sequence + 1) & 0xFF
        return found

    def packet(self) -> bytes:
        """The next packet, joined from its frames."""
        part = self.frame().payload
        parts = [part]
        while len(part) == FULL_FRAME:
            part = self.frame().payload
            parts.append(part)
        return b"".join(parts)

    def rest(self) -> bytes:
        """Everything until the server closes."""
        parts = [self.unread]
        self.unread = b""
        try:
            while data := self.socket.recv(1 << 20):
                parts.append(data)
        except ConnectionResetError:
            parts.append(b"<reset>")
        return b"".join(parts)

    def take(self) -> list[Frame]:
        """The frames received since the last call."""
        taken, self.received = self.received, []
        return taken

    # -- commands ------------------------------------------------------------------

    def command(self, payload: bytes, *files: bytes) -> list[bytes]:
        """Send a command and read its whole answer; `files` are uploaded when asked for."""
        self.send(payload)
        return self.answer(payload[0], *files)

    def query(self, sql: str | bytes, *files: bytes) -> list[bytes]:
        """COM_QUERY, with an empty set of attributes where they were agreed."""
        return self.command(self.query_packet(sql), *files)

    def query_packet(self, sql: str | bytes) -> bytes:
        head = b"\x03"
        if Capability.QUERY_ATTRIBUTES in self.capabilities:
            head += b"\x00\x01"
        return head + (sql.encode() if isinstance(sql, str) else sql)

    def answer(self, command: int, *files: bytes) -> list[bytes]:
        """The packets that answer `command`."""
        if command in (Command.STMT_SEND_LONG_DATA, Command.STMT_CLOSE):
            return []
        if command == Command.STMT_PREPARE:
            return self._prepared()
        if command in (Command.STMT_FETCH, Command.FIELD_LIST):
            return self._rows([])
        if command in (Command.QUERY, Command.STMT_EXECUTE, Command.STMT_BULK_EXECUTE,
                       Command.PROCESS_INFO):  # fmt: skip
            return self._results(list(files))
        return [self.packet()]

    @property
    def deprecates_eof(self) -> bool:
        return Capability.DEPRECATE_EOF in self.capabilities

    def _results(self, files: list[bytes]) -> list[bytes]:
        out: list[bytes] = []
        while True:
            first = self.packet()
            out.append(first)
            if first.startswith(PROGRESS):
                continue
            if first[0] == ERR:
                return out
            if first[0] == INFILE:
                self._upload(files.pop(0))
                continue
            status: ServerStatus | None
            if first[0] == OK:
                status = OkPacket.parse(first, self.capabilities).status
            else:
                status = self._one_result(first, out)
            if status is None or ServerStatus.MORE_RESULTS_EXISTS not in status:
                return out

    def _one_result(self, first: bytes, out: list[bytes]) -> ServerStatus | None:
        """A result set behind its count; None when it ended with an error or has a cursor."""
        defined = True
        if (
            Capability.OPTIONAL_RESULTSET_METADATA in self.capabilities
            or MariadbCapability.CACHE_METADATA in self.mariadb
        ):
            # MySQL's manual shows the flag in front of the count; servers put it behind.
            defined, first = bool(first[-1]), first[:-1]
        columns = first[0] if len(first) == 1 else int.from_bytes(first[1:3], "little")
        if defined:
            out.extend(self.packet() for _ in range(columns))
        if not self.deprecates_eof:
            out.append(self.packet())
            status = EofPacket.parse(out[-1]).status
            if ServerStatus.CURSOR_EXISTS in status:
                return None
            if ServerStatus.PS_OUT_PARAMS in status:
                # MySQL says "more results" only here, and not behind the row.
                self._rows(out)
                return status
        self._rows(out)
        return self._end_status(out[-1])

    def _rows(self, out: list[bytes]) -> list[bytes]:
        while True:
            packet = self.packet()
            out.append(packet)
            if packet.startswith(PROGRESS):
                continue
            if packet[0] == ERR or self._ends_rows(packet):
                return out

    def _ends_rows(self, packet: bytes) -> bool:
        if packet[0] != EOF:
            return False
        return len(packet) < FULL_FRAME if self.deprecates_eof else len(packet) < 9

    def _end_status(self, packet: bytes) -> ServerStatus | None:
        if packet[0] == ERR:
            return None
        if self.deprecates_eof:
            return OkPacket.parse(packet, self.capabilities).status
        return EofPacket.parse(packet).status

    def _prepared(self) -> list[bytes]:
        out = [self.packet()]
        head = out[0]
        if head[0] == ERR:
            return out
        columns, parameters = (int.from_bytes(head[at : at + 2], "little") for at in (5, 7))
        if Capability.OPTIONAL_RESULTSET_METADATA in self.capabilities and head[12:13] == b"\0":
            return out
        for count in (parameters, columns):
            if count:
                wanted = count + (not self.deprecates_eof)
                out.extend(self.packet() for _ in range(wanted))
        return out

    def _upload(self, data: bytes) -> None:
        sequence = self.sequence
        for at in range(0, len(data), 100_000):
            self.send(data[at : at + 100_000], sequence)
            sequence = (sequence + 1) & 0xFF
        self.send(b"", sequence)

    # -- end -----------------------------------------------------------------------

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
