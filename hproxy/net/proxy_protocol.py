# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol, versions 1 and 2: what a load balancer says before its client speaks.

    v1   PROXY TCP4 192.0.2.7 192.0.2.1 51234 3306 CR LF                (107 bytes at most)
    v2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | ver+cmd | family | length16 | addresses | TLVs

Sans I/O. A `Reader` takes bytes as they come and never one that is not the header's, so that
what follows can be left in the socket. What nobody can make sense of is `Malformed`; nothing is
guessed. Addresses of a header that names none (LOCAL, UNKNOWN, a Unix socket) are None: who
connected is then who it seems to be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["LOCAL_V1", "LOCAL_V2", "Header", "Malformed", "Networks", "Reader", "build", "crc32c"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY "
V1_MOST = 107
V2_HEAD = 16
LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6 = 0x11, 0x21
ADDRESS_BYTES = {0x1: 12, 0x2: 36, 0x3: 216}
"""By the family in the upper half of the byte; what is shorter is malformed."""
TLV_CRC32C = 0x03
NETWORKS_MEMORY = 4096
MAX_PORT = 0xFFFF

LOCAL_V1 = b"PROXY UNKNOWN\r\n"
LOCAL_V2 = SIGNATURE + bytes((LOCAL, 0, 0, 0))
"""The connection is the proxy's own: no client stands behind it."""

Address = tuple[str, int]


class Malformed(ValueError):
    """Not a PROXY header, or a broken one."""


@dataclass(frozen=True, slots=True)
class Header:
    """What was said of the client."""

    version: int
    source: Address | None = None
    """Who connected to the load balancer; None: the one who connected to us."""
    destination: Address | None = None
    """Where it had connected to."""
    tlvs: tuple[tuple[int, bytes], ...] = ()
    """Type and value of everything else, in the order of version 2."""

    @property
    def peer(self) -> str | None:
        """The client as HOST:PORT or [IPv6]:PORT."""
        if self.source is None:
            return None
        host, port = self.source
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Reader:
    """Reads one header from bytes that come in pieces."""

    def __init__(self) -> None:
        self._read = bytearray()
        self.header: Header | None = None
        """Set when it was read to its end."""

    @property
    def begun(self) -> bool:
        """Whether anything of it has come."""
        return bool(self._read)

    def feed(self, data: bytes) -> int:
        """Take what belongs to the header from the front of `data`; how much that was.

        Raises Malformed."""
        used = 0
        while self.header is None and used < len(data):
            wanted = self._wanted(data[used:])
            piece = data[used : used + wanted]
            self._read += piece
            used += len(piece)
            self._judge()
        return used

    def _wanted(self, coming: bytes) -> int:
        """How many of the bytes that come are certainly the header's; 1 or more."""
        read = self._read
        first = read[0] if read else coming[0]
        if first == V1[0]:
            end = coming.find(b"\n")
            whole = end + 1 if end >= 0 else len(coming)
            return min(whole, max(1, V1_MOST - len(read)))
        if len(read) < V2_HEAD:
            return V2_HEAD - len(read)
        return V2_HEAD + int.from_bytes(read[14:16], "big") - len(read)

    def _judge(self) -> None:
        read = self._read
        if read[0] == V1[0]:
            if not V1.startswith(read[: len(V1)]):
                raise Malformed("not a PROXY header")
            if read.endswith(b"\n"):
                self.header = parse_v1(bytes(read))
            elif len(read) >= V1_MOST:
                raise Malformed("a line without an end")
            return
        if not SIGNATURE.startswith(read[: len(SIGNATURE)]):
            raise Malformed("not a PROXY header")
        if len(read) >= V2_HEAD and len(read) == V2_HEAD + int.from_bytes(read[14:16], "big"):
            self.header = parse_v2(bytes(read))


def parse_v1(line: bytes) -> Header:
    """A whole line, its CR LF included. Raises Malformed."""
    if not line.startswith(V1) or not line.endswith(b"\r\n") or len(line) > V1_MOST:
        raise Malformed("not a line of version 1")
    try:
        words = line[len(V1) : -2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise Malformed("addresses that are not ASCII") from None
    if words[0] == "UNKNOWN":
        return Header(1)  # whatever else the line says is to be ignored
    if words[0] not in ("TCP4", "TCP6") or len(words) != 5:
        raise Malformed(f"{len(words)} words, the first {words[0]!r}")
    hosts = [_host(text, 4 if words[0] == "TCP4" else 6) for text in words[1:3]]
    ports = [_port(text) for text in words[3:]]
    return Header(1, (hosts[0], ports[0]), (hosts[1], ports[1]))


def _host(text: str, version: int) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise Malformed(f"{text!r} is not an address") from None
    if address.version != version or "%" in text:
        raise Malformed(f"{text!r} is not an address of IPv{version}")
    return _shown(address)


def _shown(address: IPv4Address | IPv6Address) -> str:
    """As the kernel would show it; IPv4 inside IPv6 as IPv4, which is what rules name."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _port(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 5 or int(text) > MAX_PORT:
        raise Malformed(f"{text!r} is not a port")
    if len(text) > 1 and text[0] == "0":
        raise Malformed(f"{text!r} is not a port")
    return int(text)


def parse_v2(data: bytes) -> Header:
    """A whole header. Raises Malformed."""
    if len(data) < V2_HEAD or not data.startswith(SIGNATURE):
        raise Malformed("not a header of version 2")
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if len(data) != V2_HEAD + length:
        raise Malformed("cut short")
    if command not in (LOCAL, PROXY):
        raise Malformed(f"version and command are 0x{command:02X}")
    kind, transport = family >> 4, family & 0xF
    if kind > 3 or transport > 2:
        raise Malformed(f"family is 0x{family:02X}")
    if command == LOCAL or not kind:
        return Header(2)  # whatever else it holds is to be ignored
    at = V2_HEAD + ADDRESS_BYTES[kind]
    if at > len(data):
        raise Malformed("addresses are cut short")
    tlvs = tuple(_tlvs(data, at))
    if family not in (TCP4, TCP6):
        return Header(2, tlvs=tlvs)
    size = 4 if family == TCP4 else 16
    hosts = [_shown(ip_address(data[V2_HEAD + i * size :][:size])) for i in range(2)]
    ports = struct.unpack_from("!HH", data, V2_HEAD + 2 * size)
    return Header(2, (hosts[0], ports[0]), (hosts[1], ports[1]), tlvs)


def _tlvs(data: bytes, at: int) -> Iterable[tuple[int, bytes]]:
    while at < len(data):
        if at + 3 > len(data):
            raise Malformed("a TLV is cut short")
        kind, length = struct.unpack_from("!BH", data, at)
        value = data[at + 3 : at + 3 + length]
        if len(value) != length:
            raise Malformed("a TLV is cut short")
        if kind == TLV_CRC32C:
            # Counted with zeros in the place of the sum itself.
            blank = data[: at + 3] + bytes(length) + data[at + 3 + length :]
            if length != 4 or crc32c(blank) != int.from_bytes(value, "big"):
                raise Malformed("the checksum is wrong")
        yield kind, value
        at += 3 + length


def build(
    version: int,
    source: Address,
    destination: Address,
    tlvs: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """A header for numeric addresses; an IPv4 one next to an IPv6 one is mapped into IPv6.

    Raises ValueError for what is no address, and for more TLVs than fit."""
    hosts = [ip_address(source[0]), ip_address(destination[0])]
    six = any(host.version == 6 for host in hosts)
    if six:
        hosts = [IPv6Address(f"::ffff:{h}") if h.version == 4 else h for h in hosts]
    if version == 1:
        family = "TCP6" if six else "TCP4"
        return f"PROXY {family} {hosts[0]} {hosts[1]} {source[1]} {destination[1]}\r\n".encode()
    if version != 2:
        raise ValueError(f"there is no version {version}")
    body = b"".join(host.packed for host in hosts) + struct.pack("!HH", source[1], destination[1])
    for kind, value in tlvs:
        body += struct.pack("!BH", kind, len(value)) + value
    if len(body) > MAX_PORT:
        raise ValueError(f"{len(body)} bytes do not fit a header")
    return SIGNATURE + struct.pack("!BBH", PROXY, TCP6 if six else TCP4, len(body)) + body


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    table, value = _crc_table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


class Networks:
    """From where a header is expected: `mysql-proxy_protocol_networks`."""

    def __init__(self, text: str) -> None:
        """ "" is nowhere, "*" everywhere; else CIDRs and addresses, separated by commas, and
        "localhost" for the Unix socket as well. Raises ValueError naming what is none."""
        words = [word for part in text.split(",") if (word := part.strip())]
        self._everywhere = "*" in words
        self._unix = "localhost" in words
        self._networks = []
        for word in words:
            if word == "localhost":
                self._networks += [ip_network("127.0.0.0/8"), ip_network("::1")]
            elif word != "*":
                try:
                    self._networks.append(ip_network(word, strict=False))
                except ValueError:
                    raise ValueError(f"{word!r} is not an address or CIDR") from None
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return self._everywhere or bool(self._networks)

    def expects(self, peer: str) -> bool:
        """Whether `peer` ("host:port", "[host]:port" or "unix") has one to send."""
        if self._everywhere:
            return True
        if peer == "unix":
            return self._unix
        host = peer.rpartition(":")[0].strip("[]")
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= NETWORKS_MEMORY:
                self._known.clear()
            known = self._known[host] = self._look(host)
        return known

    def _look(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        found = mapped or address
        return any(
            found in network or address in network
            for network in self._networks
            if network.version in (found.version, address.version)
        )
