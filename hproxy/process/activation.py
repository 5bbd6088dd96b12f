# SPDX-License-Identifier: Apache-2.0
"""Listening sockets that systemd opened before it started us (sd_listen_fds(3)).

    FileDescriptorName=   they listen for          and take the place of
    admin                 the operators' port      admin.address
    http                  HTTP                     http.address
    anything else         clients                  server.listen_addr

Clients connect while we start, and while we are started again: the queue is systemd's. A port
below 1024 needs no root. Several sockets of one address (ReusePort=) are shared out among
workers; a single one is shared by all.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from hproxy.config.address import Address
from hproxy.errors import ConfigError

__all__ = ["Given", "given_sockets"]

FIRST_FD = 3  # SD_LISTEN_FDS_START
OPERATORS = ("admin", "http")


@dataclass(slots=True)
class Given:
    """The sockets that came, by what they are for and their address."""

    by_use: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """"listen", "admin" or "http", then the address as the configuration writes it."""
    kept: list[tuple[str, int]] = field(default_factory=list)
    """Name and a copy of each, for this process begun anew."""

    def __bool__(self) -> bool:
        return bool(self.by_use)

    def flags(self) -> dict[str, str]:
        """Settings that go with them, as the flags of `hproxy run` say them."""
        return {use: ";".join(found) for use, found in self.by_use.items()}

    def take(self, use: str) -> list[tuple[str, int]]:
        """Address and descriptor of each that is for `use`: the caller's from then on."""
        found = self.by_use.pop(use, {})
        return [(address, fd) for address, fds in found.items() for fd in fds]

    def pass_on(self, environ: MutableMapping[str, str]) -> None:
        """Just before an exec of this process: what it gets finds them as we did."""
        if not self.kept:
            return
        # Out of the way of the numbers they are to have.
        high = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD + len(self.kept)) for _, fd in self.kept
        ]
        for number, fd in enumerate(high, FIRST_FD):
            os.dup2(fd, number, inheritable=True)
        environ.update(
            {
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": str(len(high)),
                "LISTEN_FDNAMES": ":".join(name for name, _ in self.kept),
            }
        )


def given_sockets(
    environ: MutableMapping[str, str], pid: int | None = None, first: int = FIRST_FD
) -> Given:
    """What systemd passed to this process; the variables are taken out of `environ`.

    Call it before a fork: they name the process that was started. Raises ConfigError for a
    descriptor that is no listening stream socket."""
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    environ.pop("LISTEN_PIDFDID", None)
    given = Given()
    if meant_for != str(os.getpid() if pid is None else pid) or not count.isdecimal():
        return given
    for index in range(int(count)):
        fd = first + index
        name = names[index] if index < len(names) else ""
        os.set_inheritable(fd, False)
        address = _address(fd, name)
        given.kept.append((name, os.dup(fd)))
        use = name if name in OPERATORS else "listen"
        given.by_use.setdefault(use, {}).setdefault(address, []).append(fd)
    return given


def _address(fd: int, name: str) -> str:
    # A copy, for an object that goes away closes its descriptor.
    with socket.socket(fileno=os.dup(fd)) as sock:
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.type != socket.SOCK_STREAM or not listens:
            raise ConfigError(
                "what systemd passed is no listening stream socket",
                key="server.listen_addr",
                value=f"descriptor {fd} ({name or 'unnamed'})",
                hint="use ListenStream= and Accept=no",
            )
        sock.setblocking(False)
        bound = sock.getsockname()
    if isinstance(bound, str | bytes):
        return os.fsdecode(bound)
    return str(Address(host=bound[0], port=bound[1]))
