# SPDX-License-Identifier: Apache-2.0
"""The sockets clients connect to: opened, closed, paused while the worker runs.

become(addresses) ── new ──> opened, all of them or none
                   └ gone ─> closed; who came in through it stays
pause ──> closed, remembered ── resume ──> opened again
rest ───> listens on, accepts nobody ── wake ──> as before
           └ another process goes on with the same socket

One of several workers opens nothing itself: `given` has the sockets its angel keeps for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from hproxy.config.address import Address
from hproxy.errors import AdminError, ConfigError
from hproxy.net.listener import Listener

__all__ = ["GivenSockets", "Listeners", "NoListeners"]

NONE: Mapping[str, int] = MappingProxyType({})
Accepted = Callable[[Listener, int, str], None]


class GivenSockets:
    """Listening sockets that another process opened, by the address they are configured with."""

    def __init__(
        self, fds: Mapping[str, int], *, alone: bool = True, once: Mapping[str, int] = NONE
    ) -> None:
        """They are ours from now on. `alone`: no others are to be opened. `once`: those of the
        service before, whose files are ours, too; each is as if it had been opened here."""
        self._fds = dict(fds)
        self._once = dict(once)
        self.alone = alone

    def add(self, fds: Mapping[str, int]) -> None:
        """More of them, or others for the same addresses."""
        for name, fd in fds.items():
            if name in self._fds:
                os.close(self._fds[name])
            self._fds[name] = fd

    def inherit(self, address: Address) -> socket.socket | None:
        """The one of `once`, which is the caller's."""
        fd = self._once.pop(str(address), None)
        return None if fd is None else socket.socket(fileno=fd)

    def disown(self) -> None:
        """Those of `once` that nobody wants are closed."""
        while self._once:
            os.close(self._once.popitem()[1])

    def take(self, address: Address) -> socket.socket | None:
        """The one of an address; it can be taken again."""
        fd = self._fds.get(str(address))
        return None if fd is None else socket.socket(fileno=os.dup(fd))

    def keep(self, addresses: Sequence[Address] = ()) -> None:
        """Let go of all others: where no process holds a socket any more, clients are refused."""
        kept = set(map(str, addresses))
        for name in [name for name in self._fds if name not in kept]:
            os.close(self._fds.pop(name))


class Listeners:
    """Those of one worker; `accepted(listener, fd, peer)` gets every client."""

    def __init__(
        self,
        accepted: Accepted,
        keepalive_sec: int = 0,
        paused: Callable[[OSError], None] | None = None,
        option: str = "server.listen_addr",
        fastopen: int = 0,
    ) -> None:
        """`option` names the addresses to the operator."""
        self.keepalive_sec = keepalive_sec
        self._fastopen = fastopen
        self._option = option
        self._accepted = accepted
        self._told = paused
        self._wanted: tuple[Address, ...] = ()
        self._open: dict[Address, Listener] = {}
        self._chosen: dict[Address, int] = {}
        """Ports the kernel chose for those that RESUME shall open again."""
        self.paused = False
        self.given: GivenSockets | None = None
        """Set: what was given is not opened here, and nothing else where it is `alone`."""

    @property
    def first(self) -> Listener:
        """Of the first address; one that is closed when there is none."""
        if self._wanted and self._wanted[0] in self._open:
            return self._open[self._wanted[0]]
        return next(iter(self._open.values()), Listener(lambda _fd, _peer: None))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens now, with the ports the kernel chose."""
        return tuple(listener.address for listener in self._open.values())

    def at(self, address: str) -> Listener:
        """The one of an address; if it is gone, any."""
        same = (listener for listener in self._open.values() if listener.address == address)
        return next(same, self.first)

    def become(self, addresses: Sequence[Address]) -> None:
        """Listen at these and nowhere else. Raises ConfigError; then nothing has changed."""
        wanted = tuple(dict.fromkeys(map(self._known, addresses)))
        if not self.paused:
            new = [address for address in wanted if address not in self._open]
            aside = self._step_aside([a for a in self._open if a not in wanted], new)
            try:
                self._open_all(new)
            except BaseException:
                self._open_all(aside)
                raise
            for address in [a for a in self._open if a not in wanted]:
                self._open.pop(address).close()
        self._wanted = wanted

    def _step_aside(self, gone: Sequence[Address], new: Sequence[Address]) -> list[Address]:
        """Close those of `gone` that hold a port of `new`: 127.0.0.1:P and 0.0.0.0:P exclude each
        other, and who connects in that moment is refused, or tries again."""
        ports = {address.port for address in new if address.path is None}
        aside = [a for a in gone if a.path is None and self._open[a].port in ports]
        for address in aside:
            listener = self._open.pop(address)
            self._chosen[address] = listener.port
            listener.close()
        return aside

    def _known(self, address: Address) -> Address:
        """The same in the words it was opened by: port 0 has become one the kernel chose."""
        same = (a for a, listener in self._open.items() if listener.address == str(address))
        return next(same, address)

    def _open_all(self, addresses: Sequence[Address]) -> None:
        opened: dict[Address, Listener] = {}
        try:
            for address in addresses:
                opened[address] = self._listen(address)
        except BaseException:
            for listener in opened.values():
                listener.close()
            raise
        self._open |= opened

    def _listen(self, address: Address) -> Listener:
        listener = Listener(lambda _fd, _peer: None, keepalive_sec=self.keepalive_sec,
                            fastopen=self._fastopen, paused=self._told)  # fmt: skip
        listener.accepted = partial(self._accepted, listener)
        try:
            if self.given is not None:
                sock = self.given.inherit(address)
                if sock is not None:
                    listener.adopt(sock, address.path)
                    return listener
                sock = self.given.take(address)
                if sock is not None:
                    listener.adopt(sock)
                    return listener
                if self.given.alone:
                    raise OSError("no such socket was given")
            port = self._chosen.get(address, address.port)
            listener.open(address.host, port, address.path)
        except OSError as error:
            raise ConfigError(
                f"cannot listen: {error.strerror or error}",
                key=self._option,
                value=str(address),
                hint="is another process listening there?",
            ) from error
        self._chosen.pop(address, None)
        return listener

    def keep_alive(self, seconds: int) -> None:
        """TCP keep-alive of those who come from now on; 0 is off."""
        if seconds != self.keepalive_sec:
            self.keepalive_sec = seconds
            for listener in self._open.values():
                listener.keep_alive(seconds)

    def fast_open(self, waiting: int) -> None:
        """TCP Fast Open: so many connects may be under way at a time; 0 is off."""
        self._fastopen = waiting
        for listener in self._open.values():
            listener.fast_open(waiting)

    def pause(self) -> None:
        """Take no clients for now. Raises AdminError when that is so already."""
        if self.paused:
            raise AdminError(
                "ProxySQL MySQL module is already paused, impossible to pause", code="paused"
            )
        self._chosen = {a: opened.port for a, opened in self._open.items() if a.path is None}
        self.close()
        self.paused = True

    def resume(self) -> None:
        """Take clients again. Raises AdminError, ConfigError."""
        if not self.paused:
            raise AdminError(
                "ProxySQL MySQL module is not paused, impossible to resume", code="paused"
            )
        self._open_all(self._wanted)
        self.paused = False

    def rest(self) -> dict[str, int]:
        """Accept nobody for now, while another process may go on with the sockets: their
        descriptors, by address as configured. They stay ours."""
        found = {str(address): listener.rest() for address, listener in self._open.items()}
        return {name: fd for name, fd in found.items() if fd is not None}

    def wake(self) -> None:
        """As before `rest`."""
        for listener in self._open.values():
            listener.wake()

    def close(self) -> None:
        """Stop listening."""
        for listener in self._open.values():
            listener.close()
        self._open.clear()
        if self.given is not None and self.given.alone:
            self.given.keep()


class NoListeners(Listeners):
    """Of one that serves nobody: it says of itself what it would be, and opens nothing."""

    def __init__(self) -> None:
        super().__init__(lambda *_: None)

    def _open_all(self, addresses: Sequence[Address]) -> None:
        """Workers do."""
