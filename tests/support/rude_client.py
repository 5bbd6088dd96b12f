# SPDX-License-Identifier: Apache-2.0
"""A MySQL client over a blocking socket that sees every packet, and may break every rule."""

from __future__ import annotations

import socket
import ssl
import struct
from types import TracebackType
from typing import NamedTuple, Self

from hproxy.protocols.mysql.auth import NATIVE, PLUGINS, Credential
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import AuthSwitchRequest, Greeting, HandshakeResponse
from hproxy.protocols.mysql.replies import ErrPacket, is_eof
from hproxy.protocols.mysql.wire import frames, try_packet

__all__ = ["CLOSED", "RESET", "Answer", "RudeClient"]

WAIT_S = 15.0
WANTED = (
    Capability.LONG_PASSWORD
    | Capability.LONG_FLAG
    | Capability.LOCAL_FILES
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_STATEMENTS
    | Capability.MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.CONNECT_ATTRS
)
OK, EOF, ERR = 0x00, 0xFE, 0xFF
SSL_REQUEST_BYTES = 32


class Answer(NamedTuple):
    """What the client saw: an error's number and SQLSTATE, or how the connection ended."""

    number: int
    state: str


CLOSED = Answer(0, "closed")
RESET = Answer(0, "reset")


class RudeClient:
    """Connected from construction on; `log_in` makes it a session."""

    def __init__(
        self, host: str, port: int, user: str = "hproxy", password: str = "hproxy"
    ) -> None:
        self.sock = socket.create_connection((host, port), WAIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.user = user
        self.password = password
        self.sequence = 0
        self.greeting: Greeting | None = None
        self.held = b""

    # -- the way it should be -----------------------------------------------------

    def read_packet(self) -> bytes:
        """The next packet's payload. Raises EOFError, ConnectionResetError, TimeoutError."""
        while (packet := try_packet(self.held)) is None:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError(f"closed after {len(self.held)} bytes of a packet")
            self.held += data
        self.held = self.held[packet.end :]
        self.sequence = packet.sequence + 1
        return packet.payload

    def write_packet(self, payload: bytes) -> None:
        data = b"".join(frames(payload, self.sequence))
        self.sequence += len(payload) // 0xFFFFFF + 1
        self.sock.sendall(data)

    def response(self) -> bytes:
        """The login packet that answers the greeting, as a payload."""
        self.greeting = Greeting.parse(self.read_packet())
        plugin = PLUGINS.get(self.greeting.plugin, PLUGINS[NATIVE])
        answer = self._prove(plugin.name, self.greeting.scramble)
        response = HandshakeResponse(
            WANTED & self.greeting.capabilities, self.user.encode(), answer, plugin=plugin.name
        )
        return response.build()

    def _prove(self, plugin: bytes, scramble: bytes) -> bytes:
        credential = Credential(self.password.encode())
        return PLUGINS[plugin].respond(credential, scramble, False) or b""

    def secure(self, response: bytes) -> bytes:
        """Go on under TLS; what `response` must be then."""
        secured = bytearray(response)
        secured[1] |= Capability.SSL >> 8
        self.write_packet(bytes(secured[:SSL_REQUEST_BYTES]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)
        return bytes(secured)

    def log_in(self, *, tls: bool = False) -> Self:
        """Raises ConnectionRefusedError with the error's number and text."""
        response = self.response()
        self.write_packet(self.secure(response) if tls else response)
        while True:
            packet = self.read_packet()
            if packet[0] == OK:
                return self
            if packet[0] == ERR:
                refusal = ErrPacket.parse(packet)
                raise ConnectionRefusedError(refusal.number, refusal.message.decode())
            if packet[0] == EOF:
                switch = AuthSwitchRequest.parse(packet)
                self.write_packet(self._prove(switch.plugin, switch.scramble))

    def send_query(self, sql: str) -> None:
        self.sequence = 0
        self.write_packet(b"\x03" + sql.encode())

    def query(self, sql: str) -> list[bytes]:
        """The payloads of the rows, one-column text rows as they come. Raises OSError for ERR."""
        self.send_query(sql)
        return self.read_rows()

    def read_rows(self) -> list[bytes]:
        first = self.read_packet()
        if first[0] == ERR:
            error = ErrPacket.parse(first)
            raise OSError(error.number, error.message.decode())
        if first[0] == OK:
            return []
        for _ in range(first[0] + 1):  # definitions, EOF
            self.read_packet()
        rows = []
        while not is_eof(packet := self.read_packet()):
            if packet[0] == ERR:
                error = ErrPacket.parse(packet)
                raise OSError(error.number, error.message.decode())
            rows.append(packet)
        return rows

    # -- what came of it --------------------------------------------------------------

    def ending(self) -> Answer:
        """Read on until an ERR or the end; packets that are neither are passed over."""
        while True:
            try:
                packet = self.read_packet()
            except EOFError:
                return CLOSED
            except ConnectionError:
                return RESET
            if packet[:1] == b"\xff":
                error = ErrPacket.parse(packet)
                state = (error.sqlstate or b"").decode()
                return Answer(error.number, state)

    def endings(self) -> tuple[Answer, Answer]:
        """The error and what follows it, which should be the end of the connection."""
        first = self.ending()
        return first, (first if first in (CLOSED, RESET) else self.ending())

    def ending_of_bytes(self) -> str:
        """How the connection ended, whatever came before that."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            return RESET.state
        return CLOSED.state

    # -- ways to leave ------------------------------------------------------------------

    def quit(self) -> None:
        """COM_QUIT, and wait for the end."""
        self.sequence = 0
        self.write_packet(b"\x01")
        while self.sock.recv(4096):
            pass
        self.sock.close()

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """FIN."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()
