# SPDX-License-Identifier: Apache-2.0
"""The sockets clients connect to, as the angel keeps them: open for as long as the service is.

    address          slot 0      slot 1  ...   one socket each (SO_REUSEPORT): the kernel spreads
    0.0.0.0:6033     socket      socket        clients over them
    /run/h.sock      one socket for all        a path can be bound only once

    open(addresses) ── all or none ──> for(slot): names and descriptors a worker gets duplicates of
    a worker dies ──> its sockets stay, and who waits in their queues is served by the next one

Port 0 is chosen once, the same for all slots. Names are the addresses as configured.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from hproxy.config.address import Address, parse_listen
from hproxy.errors import ConfigError
from hproxy.net.listener import bound

__all__ = ["Sockets", "given"]


class Sockets:
    """Those of `slots` workers."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._open: dict[str, list[socket.socket]] = {}
        """By name; one for each slot, or a single one for all."""
        self._borrowed: set[str] = set()
        """Those whose paths somebody else made."""
        self._ports: dict[str, int] = {}
        """Those the kernel chose, kept over a pause."""
        self._paused: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The addresses, as they were configured."""
        return tuple(self._open)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where they listen, with the ports the kernel chose."""
        return tuple(_where(sockets[0]) for sockets in self._open.values())

    def open(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """Open those that are not open yet; which these are.

        Raises ConfigError; then nothing has changed."""
        opened: dict[str, list[socket.socket]] = {}
        try:
            for name in dict.fromkeys(map(self._known, addresses)):
                if name not in self._open:
                    opened[name] = self._opened(name)
        except ConfigError:
            for sockets in opened.values():
                _close(sockets)
            raise
        self._open |= opened
        return tuple(opened)

    def _known(self, name: str) -> str:
        """The same in the words it was opened by: port 0 has become one the kernel chose."""
        return next((a for a, found in self._open.items() if _where(found[0]) == name), name)

    def _opened(self, name: str) -> list[socket.socket]:
        address = parse_listen(name)
        sockets: list[socket.socket] = []
        try:
            if address.path is not None:
                return [bound(address)]
            port = self._ports.get(name, address.port)
            # Alone at first: with SO_REUSEPORT a second service would get in without a word. Where
            # we listen at that port already, at another address, only sharing lets us in.
            if not any(one[0].getsockname()[1] == port for one in self._tcp()):
                bound(Address(address.host, port)).close()
            for _ in range(self.slots):
                sockets.append(bound(Address(address.host, port), shared=True))
                port = sockets[0].getsockname()[1]
        except OSError as error:
            _close(sockets)
            raise ConfigError(
                f"cannot listen: {error.strerror or error}",
                key="server.listen_addr",
                value=name,
                hint="is another process listening there?",
            ) from error
        self._ports[name] = port
        return sockets

    def _tcp(self) -> list[list[socket.socket]]:
        return [found for found in self._open.values() if found[0].family != socket.AF_UNIX]

    def of(self, slot: int, names: Iterable[str] | None = None) -> dict[str, int]:
        """Names and descriptors for the worker of a slot; they stay ours."""
        wanted = self._open if names is None else [name for name in names if name in self._open]
        return {name: self._open[name][slot % len(self._open[name])].fileno() for name in wanted}

    def keep(self, addresses: Iterable[str]) -> None:
        """Close all others."""
        kept = set(map(self._known, addresses))
        for name in [name for name in self._open if name not in kept]:
            _close(self._open.pop(name), unlink=name not in self._borrowed)
            self._ports.pop(name, None)

    def pause(self) -> None:
        """Close all; the same `resume` opens again, at the same ports."""
        self._paused = tuple(self._open)
        self.close()

    def resume(self) -> None:
        """Open those again. Raises ConfigError."""
        self.open(self._paused)
        self._paused = ()

    @property
    def paused(self) -> dict[str, int]:
        """Those `resume` opens, and the ports that were chosen for them."""
        return {name: self._ports.get(name, 0) for name in self._paused}

    def rest(self, paused: Mapping[str, int]) -> None:
        """As if these had been open, and `pause` had closed them."""
        self._paused = tuple(paused)
        self._ports |= {name: port for name, port in paused.items() if port}

    # -- from one service to the next -------------------------------------------------

    def all(self) -> list[tuple[str, int]]:
        """Name and descriptor of every socket, those of one name in the order of slots."""
        return [(name, one.fileno()) for name, sockets in self._open.items() for one in sockets]

    def adopt(self, given: Sequence[tuple[str, int]], *, borrowed: bool = False) -> None:
        """Use these, which are ours from now on; the path of a `borrowed` one is not. Slots there
        were not before get sockets of their own; with fewer slots than before, the last sockets
        are closed."""
        found: dict[str, list[socket.socket]] = {}
        for name, fd in given:
            found.setdefault(name, []).append(socket.socket(fileno=fd))
        for name, sockets in found.items():
            address = parse_listen(name)
            if address.path is None:
                self._ports[name] = port = sockets[0].getsockname()[1]
                with contextlib.suppress(OSError):  # made without SO_REUSEPORT: shared then
                    while len(sockets) < self.slots:
                        sockets.append(bound(Address(address.host, port), shared=True))
                _close(sockets[self.slots :])
                del sockets[self.slots :]
            self._open[name] = sockets
            if borrowed:
                self._borrowed.add(name)

    @property
    def borrowed(self) -> list[str]:
        """Names of those whose paths somebody else made."""
        return sorted(self._borrowed)

    def own(self, others: Iterable[str]) -> None:
        """Borrowed are only those of `others` from now on."""
        self._borrowed = set(others)

    def close(self, *, unlink: bool = True) -> None:
        """Stop listening. `unlink` not where another process goes on with the same ones."""
        for name, sockets in self._open.items():
            _close(sockets, unlink=unlink and name not in self._borrowed)
        self._open.clear()


def given(names: Sequence[str], fds: Sequence[int], prefix: str = "listen:") -> Mapping[str, int]:
    """Those of a message's descriptors that are listening sockets, by address."""
    return {
        name.removeprefix(prefix): fd
        for name, fd in zip(names, fds, strict=True)
        if name.startswith(prefix)
    }


def _where(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return str(sock.getsockname())
    host, port = sock.getsockname()[:2]
    return str(Address(host, port))


def _close(sockets: Iterable[socket.socket], *, unlink: bool = False) -> None:
    for sock in sockets:
        if unlink and sock.family == socket.AF_UNIX:
            with contextlib.suppress(OSError):
                os.unlink(sock.getsockname())
        sock.close()
