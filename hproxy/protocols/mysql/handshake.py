# SPDX-License-Identifier: Apache-2.0
"""Messages of the connect phase, each a frozen record with `parse` and `build`.

    server: Greeting                    client: SslRequest, then TLS (may be left out)
                                        client: HandshakeResponse
    server: AuthSwitchRequest           client: the named plugin's answer
    server: AuthMoreData                client: the plugin's next answer
    server: OkPacket or ErrPacket (replies.py)

ChangeUser starts the same exchange again on a connection in use. `build` is driven by the
capabilities in the record: a field whose flag is off is not written. Parsing tolerates what
servers tolerate (fields missing at the end), so that whoever can log in there can here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from hproxy._native.cursor import Cursor
from hproxy.protocols.mysql.constants import (
    Capability,
    Charset,
    Command,
    MariadbCapability,
    ServerStatus,
)
from hproxy.protocols.mysql.replies import ErrPacket, OkPacket
from hproxy.protocols.mysql.wire import (
    MalformedPacket,
    lenenc_string,
    nul_string,
    reading,
    u8,
    u16,
    u32,
)

# OK and ERR are here as well because a login ends with one of them.
__all__ = [
    "AUTH_MORE_DATA",
    "AUTH_NEXT_FACTOR",
    "AUTH_SWITCH",
    "Attributes",
    "AuthMoreData",
    "AuthSwitchRequest",
    "ChangeUser",
    "ErrPacket",
    "Greeting",
    "HandshakeResponse",
    "OkPacket",
    "SslRequest",
]

AUTH_MORE_DATA = 0x01
AUTH_NEXT_FACTOR = 0x02
"""MySQL 8.0.27+ asks for a second and third password; a relay only needs to know the byte."""
AUTH_SWITCH = 0xFE

PROTOCOL_VERSION = 10
SSL_REQUEST_BYTES = 32
# What stands between the character set and the user: 19 bytes of nothing, then 4 that are
# MariaDB's capabilities if the client has cleared LONG_PASSWORD, and nothing otherwise.
FILLER = bytes(19)
SCRAMBLE_HEAD = 8
SCRAMBLE_TAIL_LEAST = 13

Attributes = tuple[tuple[bytes, bytes], ...]
NO_EXTRAS = MariadbCapability(0)


def read_attributes(cursor: Cursor) -> Attributes:
    """Connection attributes in the order they were sent; a name may come twice."""
    attributes = []
    inner = Cursor(cursor.lenenc_bytes())
    while inner.remaining:
        name = inner.lenenc_bytes()
        attributes.append((name, inner.lenenc_bytes()))
    return tuple(attributes)


def write_attributes(attributes: Attributes) -> bytes:
    return lenenc_string(
        b"".join(lenenc_string(name) + lenenc_string(value) for name, value in attributes)
    )


def nul_bytes_or_rest(cursor: Cursor) -> bytes:
    """A NUL-terminated string whose NUL may be missing at the very end, as some send it."""
    return cursor.rest().partition(b"\0")[0]


@dataclass(frozen=True, slots=True)
class Greeting:
    """The server's first packet (HandshakeV10). `scramble` is without its closing NUL."""

    server_version: bytes
    thread_id: int
    scramble: bytes
    capabilities: Capability
    charset: int = Charset.UTF8MB4
    status: ServerStatus = ServerStatus.AUTOCOMMIT
    plugin: bytes = b""
    mariadb: MariadbCapability = NO_EXTRAS

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a greeting. Raises MalformedPacket, also for protocol 9 and an ERR packet.

        Spec: MySQL "Protocol::HandshakeV10", MariaDB "Initial handshake packet".
        """
        with reading("greeting"):
            cursor = Cursor(payload)
            version = cursor.u8()
            if version != PROTOCOL_VERSION:
                raise MalformedPacket("greeting", f"protocol version {version}, not 10", 0)
            server_version = cursor.nul_bytes()
            thread_id = cursor.u32()
            scramble = cursor.take(SCRAMBLE_HEAD)
            cursor.skip(1)
            bits = cursor.u16()
            charset = cursor.u8()
            status = ServerStatus(cursor.u16())
            capabilities = Capability(bits | cursor.u16() << 16)
            scramble_length = cursor.u8()
            cursor.skip(6)
            extra = MariadbCapability(cursor.u32())
            if Capability.LONG_PASSWORD in capabilities:
                extra = NO_EXTRAS
            if Capability.SECURE_CONNECTION in capabilities:
                tail = max(SCRAMBLE_TAIL_LEAST, scramble_length - SCRAMBLE_HEAD)
                scramble += cursor.take(tail).removesuffix(b"\0")
            plugin = b""
            if Capability.PLUGIN_AUTH in capabilities:
                plugin = nul_bytes_or_rest(cursor)
        return cls(
            server_version, thread_id, scramble, capabilities, charset, status, plugin, extra
        )

    def build(self) -> bytes:
        """The payload. Raises ValueError for a scramble that is too short or too long."""
        if not SCRAMBLE_HEAD <= len(self.scramble) < 255:
            raise ValueError(f"a scramble of {len(self.scramble)} bytes")
        plugins = Capability.PLUGIN_AUTH in self.capabilities
        out = [
            u8(PROTOCOL_VERSION),
            nul_string(self.server_version),
            u32(self.thread_id),
            self.scramble[:SCRAMBLE_HEAD],
            b"\0",
            u16(self.capabilities & 0xFFFF),
            u8(self.charset & 0xFF),  # one byte; higher numbers show their low one, as servers do
            u16(self.status),
            u16(self.capabilities >> 16),
            u8(len(self.scramble) + 1 if plugins else 0),
            bytes(6),
            u32(0 if Capability.LONG_PASSWORD in self.capabilities else self.mariadb),
        ]
        if Capability.SECURE_CONNECTION in self.capabilities:
            tail = self.scramble[SCRAMBLE_HEAD:] + b"\0"
            out.append(tail.ljust(SCRAMBLE_TAIL_LEAST, b"\0"))
        if plugins:
            out.append(nul_string(self.plugin))
        return b"".join(out)


@dataclass(frozen=True, slots=True)
class SslRequest:
    """The head of a HandshakeResponse, alone: the client wants TLS before it says more."""

    capabilities: Capability
    max_packet: int
    charset: int
    mariadb: MariadbCapability = NO_EXTRAS

    @staticmethod
    def matches(payload: bytes) -> bool:
        """Whether a client's first packet is this. A whole response is longer in any case."""
        wanted = Capability.SSL | Capability.PROTOCOL_41
        return (
            len(payload) == SSL_REQUEST_BYTES
            and int.from_bytes(payload[:4], "little") & wanted == wanted
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read one. Raises MalformedPacket."""
        with reading("SSL request"):
            return cls(*read_head(Cursor(payload)))

    def build(self) -> bytes:
        """The payload."""
        return write_head(self.capabilities, self.max_packet, self.charset, self.mariadb)


def read_head(cursor: Cursor) -> tuple[Capability, int, int, MariadbCapability]:
    """Capabilities, longest packet, character set and MariaDB's capabilities."""
    capabilities = Capability(cursor.u32())
    max_packet = cursor.u32()
    charset = cursor.u8()
    cursor.skip(len(FILLER))
    extra = MariadbCapability(cursor.u32())
    if Capability.LONG_PASSWORD in capabilities:
        extra = NO_EXTRAS
    return capabilities, max_packet, charset, extra


def write_head(
    capabilities: Capability, max_packet: int, charset: int, extra: MariadbCapability
) -> bytes:
    if Capability.LONG_PASSWORD in capabilities:
        extra = NO_EXTRAS
    return u32(capabilities) + u32(max_packet) + u8(charset & 0xFF) + FILLER + u32(extra)


@dataclass(frozen=True, slots=True)
class HandshakeResponse:
    """The client's answer to the greeting (HandshakeResponse41)."""

    capabilities: Capability
    user: bytes
    auth_response: bytes = field(default=b"", repr=False)  # may be a password
    database: bytes = b""
    plugin: bytes = b""
    attributes: Attributes = ()
    max_packet: int = 1 << 24
    charset: int = Charset.UTF8MB4
    zstd_level: int = 0
    mariadb: MariadbCapability = NO_EXTRAS

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a response. Raises MalformedPacket, also for clients older than 4.1.

        Spec: MySQL "Protocol::HandshakeResponse41", MariaDB "Handshake response packet".
        """
        with reading("handshake response"):
            if not Cursor(payload).u16() & Capability.PROTOCOL_41:
                raise MalformedPacket("handshake response", "a client older than 4.1", 0)
            cursor = Cursor(payload)
            capabilities, max_packet, charset, extra = read_head(cursor)
            user = cursor.nul_bytes()
            if Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA in capabilities:
                auth_response = cursor.lenenc_bytes()
            elif Capability.SECURE_CONNECTION in capabilities:
                auth_response = cursor.take(cursor.u8())
            else:
                auth_response = cursor.nul_bytes()
            database = plugin = b""
            attributes: Attributes = ()
            zstd_level = 0
            if Capability.CONNECT_WITH_DB in capabilities and cursor.remaining:
                database = cursor.nul_bytes()
            if Capability.PLUGIN_AUTH in capabilities and cursor.remaining:
                plugin = cursor.nul_bytes()
            if Capability.CONNECT_ATTRS in capabilities and cursor.remaining:
                attributes = read_attributes(cursor)
            if Capability.ZSTD_COMPRESSION in capabilities and cursor.remaining:
                zstd_level = cursor.u8()
        return cls(
            capabilities, user, auth_response, database, plugin, attributes,
            max_packet, charset, zstd_level, extra,
        )  # fmt: skip

    def build(self) -> bytes:
        """The payload. Raises ValueError for an answer too long for its length byte."""
        out = [
            write_head(self.capabilities, self.max_packet, self.charset, self.mariadb),
            nul_string(self.user),
        ]
        if Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA in self.capabilities:
            out.append(lenenc_string(self.auth_response))
        elif Capability.SECURE_CONNECTION in self.capabilities:
            out.append(byte_string(self.auth_response))
        else:
            out.append(nul_string(self.auth_response))
        if Capability.CONNECT_WITH_DB in self.capabilities:
            out.append(nul_string(self.database))
        if Capability.PLUGIN_AUTH in self.capabilities:
            out.append(nul_string(self.plugin))
        if Capability.CONNECT_ATTRS in self.capabilities:
            out.append(write_attributes(self.attributes))
        if Capability.ZSTD_COMPRESSION in self.capabilities:
            out.append(u8(self.zstd_level))
        return b"".join(out)

    @property
    def ssl_request(self) -> SslRequest:
        """What announces this response before TLS."""
        return SslRequest(
            self.capabilities | Capability.SSL, self.max_packet, self.charset, self.mariadb
        )


def byte_string(data: bytes) -> bytes:
    """`data` after one byte of length. Raises ValueError from 256 bytes on."""
    if len(data) > 255:
        raise ValueError(f"{len(data)} bytes do not fit a length byte")
    return u8(len(data)) + data


@dataclass(frozen=True, slots=True)
class AuthSwitchRequest:
    """Use this plugin instead. `data` is raw; the old 4.0 form is the byte 0xFE alone."""

    plugin: bytes
    data: bytes = b""

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read one. Raises MalformedPacket."""
        with reading("auth switch"):
            cursor = Cursor(payload)
            if (header := cursor.u8()) != AUTH_SWITCH:
                raise MalformedPacket("auth switch", f"begins with {header:#04x}", 0)
            if not cursor.remaining:
                return cls(b"mysql_old_password")
            plugin = cursor.nul_bytes()
            return cls(plugin, cursor.rest())

    def build(self) -> bytes:
        """The payload."""
        if self.plugin == b"mysql_old_password" and not self.data:
            return u8(AUTH_SWITCH)
        return u8(AUTH_SWITCH) + nul_string(self.plugin) + self.data

    @property
    def scramble(self) -> bytes:
        """`data` without the NUL that closes 20-byte scrambles; ed25519's 32 have none."""
        return self.data[:-1] if len(self.data) == 21 and self.data[20] == 0 else self.data


@dataclass(frozen=True, slots=True)
class AuthMoreData:
    """What a plugin of the server says between the first answer and the verdict."""

    data: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read one. Raises MalformedPacket."""
        if not payload or payload[0] != AUTH_MORE_DATA:
            raise MalformedPacket("auth data", "begins with another byte", 0)
        return cls(payload[1:])

    def build(self) -> bytes:
        """The payload."""
        return u8(AUTH_MORE_DATA) + self.data


@dataclass(frozen=True, slots=True)
class ChangeUser:
    """COM_CHANGE_USER. None stands for a field the client left out at the end."""

    user: bytes
    auth_response: bytes = field(default=b"", repr=False)  # may be a password
    database: bytes = b""
    charset: int | None = None
    plugin: bytes | None = None
    attributes: Attributes | None = None

    @classmethod
    def parse(cls, payload: bytes, capabilities: Capability) -> Self:
        """Read one sent on a connection with `capabilities`. Raises MalformedPacket."""
        charset = plugin = attributes = None
        with reading("change user"):
            cursor = Cursor(payload)
            if (command := cursor.u8()) != Command.CHANGE_USER:
                raise MalformedPacket("change user", f"begins with {command:#04x}", 0)
            user = cursor.nul_bytes()
            if Capability.SECURE_CONNECTION in capabilities:
                auth_response = cursor.take(cursor.u8())
            else:
                auth_response = cursor.nul_bytes()
            database = cursor.nul_bytes()
            if cursor.remaining:
                charset = cursor.u16()
            if Capability.PLUGIN_AUTH in capabilities and cursor.remaining:
                plugin = cursor.nul_bytes()
            if Capability.CONNECT_ATTRS in capabilities and cursor.remaining:
                attributes = read_attributes(cursor)
        return cls(user, auth_response, database, charset, plugin, attributes)

    def build(self, capabilities: Capability) -> bytes:
        """The payload. Raises ValueError for an answer too long for its length byte."""
        secure = Capability.SECURE_CONNECTION in capabilities
        out = [
            u8(Command.CHANGE_USER),
            nul_string(self.user),
            byte_string(self.auth_response) if secure else nul_string(self.auth_response),
            nul_string(self.database),
        ]
        if self.charset is not None:
            out.append(u16(self.charset))
            plugins = Capability.PLUGIN_AUTH in capabilities
            if plugins and self.plugin is not None:
                out.append(nul_string(self.plugin))
            if (
                Capability.CONNECT_ATTRS in capabilities
                and self.attributes is not None
                and (self.plugin is not None or not plugins)
            ):
                out.append(write_attributes(self.attributes))
        return b"".join(out)
