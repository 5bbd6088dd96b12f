# SPDX-License-Identifier: Apache-2.0
"""Addresses as operators write them: `host:port`, `[::1]:port`, `:port`, `/path.sock`; pure.

Nothing is resolved here: a host stays a name until `net.resolver` looks it up, so that a
backend whose name appears later (containers, DNS failover) is not a configuration error.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["Address", "AddressError", "parse_address", "parse_backend", "parse_listen"]

MAX_PORT = 65535
# sun_path holds 108 bytes with its closing NUL; a longer path fails at bind or connect.
MAX_PATH_BYTES = 107
# Underscores are not in RFC 1123, but container networks use them in names every day.
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PORT = re.compile(r"[0-9]{1,5}")
_NUMERIC = re.compile(r"[0-9.]+")


class AddressError(ValueError):
    """The text is not an address; `hint` says how it should be written."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Address:
    """One end to listen on or connect to: `host` and `port`, or a Unix socket's `path`."""

    host: str = ""  # "" = every interface (only for listening)
    port: int = 0  # 0 = let the kernel choose (only for listening), or a Unix socket
    path: str | None = None

    @property
    def is_unix(self) -> bool:
        return self.path is not None

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int | None = None) -> Address:
    """Read any of the four forms; `default_port` makes the port optional.

    Raises AddressError."""
    text = text.strip()
    if not text:
        raise AddressError("is empty", "write HOST:PORT")
    if text.startswith("unix:"):
        text = text.removeprefix("unix:")
        if not text.startswith("/"):
            raise AddressError("a Unix socket needs an absolute path", "write /run/name.sock")
    if text.startswith("/"):
        return Address(path=_checked_path(text))
    host, port_text = _split(text)
    if port_text is None:
        if default_port is None:
            raise AddressError("has no port", f"write {text}:PORT")
        port = default_port
    else:
        port = _checked_port(port_text)
    return Address(host=_checked_host(host), port=port)


def parse_listen(text: str) -> Address:
    """An address to listen on: an empty host or `*` is every interface, port 0 is any free port."""
    return parse_address(text)


def parse_backend(text: str, default_port: int | None = 3306) -> Address:
    """An address to connect to: it needs a host, and a port that is not 0."""
    address = parse_address(text, default_port)
    if address.path is None:
        if not address.host:
            raise AddressError("has no host", f"write HOST:{address.port}")
        if not address.port:
            raise AddressError("port 0 cannot be connected to", f"write {address.host}:3306")
    return address


def _split(text: str) -> tuple[str, str | None]:
    """Cut host from port; the host comes back without brackets."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise AddressError("has a bracket that is never closed", "write [::1]:PORT")
        if ":" not in host:
            raise AddressError("brackets are for IPv6 addresses only", f"write {host}{rest}")
        if not rest:
            return host, None
        if not rest.startswith(":"):
            raise AddressError(f"has {rest!r} behind the bracket", f"write [{host}]:PORT")
        return host, rest[1:]
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, None
    if ":" in host:
        raise AddressError("an IPv6 address needs brackets", f"write [{host}]:{port}")
    return host, port


def _checked_port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > MAX_PORT:
        raise AddressError(f"port {text!r} is not a number from 0 to {MAX_PORT}")
    return int(text)


def _checked_path(text: str) -> str:
    try:
        size = len(text.encode("utf-8", "surrogateescape"))  # as the operating system gets it
    except UnicodeEncodeError:
        raise AddressError("is not a file name") from None
    if "\0" in text or size > MAX_PATH_BYTES:
        raise AddressError(f"a socket path has at most {MAX_PATH_BYTES} bytes and no NUL")
    return text


def _checked_host(host: str) -> str:
    if host in ("", "*"):
        return ""
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise AddressError(f"{host!r} is not an IPv6 address") from None
        return host
    if _NUMERIC.fullmatch(host):
        # "10.0.0.300" would pass as a name and then cost a DNS timeout per connection.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise AddressError(f"{host!r} is not an IPv4 address") from None
        return host
    name = host.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise AddressError(
            f"{host!r} is not a host name", "letters, digits, '-', '_' and '.'; others as punycode"
        )
    return host
