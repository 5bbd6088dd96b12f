# SPDX-License-Identifier: Apache-2.0
"""A MySQL client of one blocking socket: logs in, sends a query, holds still.

Thousands of it must fit into one process and none may hide what a proxy does, hence no library.
Written apart from hproxy's own protocol code, so that a mistake there cannot cancel out here.
"""

import contextlib
import hashlib
import socket
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from bench.load.errors import BenchError

TIMEOUT_S = 30.0
# LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH
CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000
UTF8MB4 = 45
COM_QUIT, COM_QUERY, COM_PING = b"\x01", b"\x03", b"\x0e"
OK, MORE, EOF, ERR = 0x00, 0x01, 0xFE, 0xFF
FAST_AUTH_OK, FULL_AUTH, REQUEST_PUBLIC_KEY = b"\x01\x03", b"\x01\x04", b"\x02"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect and as whom."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Connection:
    """One logged-in client."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = socket.create_connection((address.host, address.port), timeout_s)
        self._sequence = 0
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._login(address)
        except BaseException:
            self.socket.close()
            raise

    def query(self, sql: str) -> list[list[str | None]]:
        """Run one statement and give its rows as text; none for a statement without a result."""
        self.send_query(sql)
        first = self._read()
        if first[0] == OK:
            return []
        while not _is_eof(self._read()):  # column definitions
            pass
        rows: list[list[str | None]] = []
        while not _is_eof(packet := self._read()):
            rows.append(_text_row(packet))
        return rows

    def send_query(self, sql: str) -> None:
        """Send one statement; reading the answer is the caller's business."""
        self._command(COM_QUERY + sql.encode())

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._command(COM_PING)
        self._read()

    def close(self) -> None:
        """Say goodbye as clients do, and close."""
        with contextlib.suppress(OSError):  # the other side may be faster
            self._command(COM_QUIT)
        self.socket.close()

    def _command(self, payload: bytes) -> None:
        self._sequence = 0
        self._write(payload)

    def _login(self, address: Address) -> None:
        greeting = self._read()
        version_end = greeting.index(0, 1)
        salt_at = version_end + 5
        # 8 bytes of salt, then filler, capabilities, charset, status, capabilities, length and
        # ten reserved bytes come before the other twelve.
        salt = greeting[salt_at : salt_at + 8] + greeting[salt_at + 27 : salt_at + 39]
        plugin = greeting[salt_at + 40 :].partition(b"\0")[0]
        answer = _scramble(plugin, address.password, salt)
        self._write(
            struct.pack("<IIB23x", CAPABILITIES, 1 << 24, UTF8MB4)
            + address.user.encode()
            + b"\0"
            + bytes([len(answer)])
            + answer
            + address.database.encode()
            + b"\0"
            + plugin
            + b"\0"
        )
        while (packet := self._read())[0] != OK:
            if packet[0] == EOF:  # AuthSwitchRequest
                plugin, _, salt = packet[1:].partition(b"\0")
                salt = salt[:20]
                self._write(_scramble(plugin, address.password, salt))
            elif packet == FULL_AUTH:
                self._write(REQUEST_PUBLIC_KEY)
                self._write(_encrypted(address.password, salt, self._read()[1:]))
            elif packet != FAST_AUTH_OK:
                raise BenchError(f"{address} sent something strange at login: {packet[:40]!r}")

    def _write(self, payload: bytes) -> None:
        self.socket.sendall(struct.pack("<I", len(payload) | self._sequence << 24) + payload)
        self._sequence = (self._sequence + 1) & 0xFF

    def _read(self) -> bytes:
        header = self._exactly(4)
        self._sequence = (header[3] + 1) & 0xFF
        payload = self._exactly(int.from_bytes(header[:3], "little"))
        if payload[:1] == bytes([ERR]):
            code = int.from_bytes(payload[1:3], "little")
            raise BenchError(f"the server says {code}: {payload[3:].decode(errors='replace')}")
        return payload

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the connection was closed")
            data += piece
        return data


def _scramble(plugin: bytes, password: str, salt: bytes) -> bytes:
    if not password:
        return b""
    secret = password.encode()
    if plugin == b"mysql_native_password":
        once = hashlib.sha1(secret).digest()
        return _xor(once, hashlib.sha1(salt + hashlib.sha1(once).digest()).digest())
    if plugin == b"caching_sha2_password":
        once = hashlib.sha256(secret).digest()
        return _xor(once, hashlib.sha256(hashlib.sha256(once).digest() + salt).digest())
    raise BenchError(f"the account wants the plugin {plugin.decode()}, which the bench lacks")


def _encrypted(password: str, salt: bytes, pem: bytes) -> bytes:
    """Answer full authentication: the password under the salt, under the server's RSA key."""
    plain = password.encode() + b"\0"
    key = load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey):
        raise BenchError("the server's public key is not an RSA key")
    masked = _xor(plain, salt * (len(plain) // len(salt) + 1))
    return key.encrypt(masked, padding.OAEP(padding.MGF1(SHA1()), SHA1(), None))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))


def _is_eof(packet: bytes) -> bool:
    return packet[0] == EOF and len(packet) < 9


def _text_row(packet: bytes) -> list[str | None]:
    row: list[str | None] = []
    position = 0
    while position < len(packet):
        size = packet[position]
        position += 1
        if size == 0xFB:
            row.append(None)
            continue
        if size > 0xFB:
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}[size]
            size = int.from_bytes(packet[position : position + width], "little")
            position += width
        row.append(packet[position : position + size].decode(errors="replace"))
        position += size
    return row
