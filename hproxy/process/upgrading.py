# SPDX-License-Identifier: Apache-2.0
"""One service takes over from another: sockets first, then those who are connected.

    old (QUIT, or the order "upgrade")              new (`hproxy run --upgrade`)
                                                    heir(): listens on the upgrade socket
    connect, up to TRIES times, a second apart ──>  Heir.handed()
    knows <──────────────────────────── verbs       (an earlier version: refused)
    sockets  names + descriptors ───────────────>     keeps them; operators: the same of theirs
    hand     format, version, estate ───────────>     starts on them: head, workers
             <──────────── serves, and what is not as it was; or why it cannot
    refused, gone, too late: the old one goes on
    session  slot + one end of a pair ──────────>   its worker of that slot takes sessions over it
    end of the channel ─────────────────────────>   the old one is gone

The channel is `process.channel`. Who connects has to be the same user, or root.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hproxy import __version__
from hproxy.config.schema import Config
from hproxy.errors import ChannelClosed, ConfigError, HandoverError, HProxyError
from hproxy.process.channel import MAX_FDS, Channel, Facts, Message

__all__ = ["FORMAT", "Handed", "Heir", "connected", "hand", "knows", "upgrade_socket"]

FORMAT = 1
"""Of these messages."""
FILE = "upgrade.sock"
TRIES = 5
TRY_SEC = 1.0
COMING_UP_SEC = 60.0
"""The new service serves by then, or it is as if it had failed."""
WAIT_SEC = 600.0
"""For the old service to be told; longer is a mistake."""
CREDENTIALS = struct.Struct("3i")

Named = Sequence[tuple[str, int]]


def upgrade_socket(config: Config) -> Path:
    """Where the two meet."""
    daemon = config.server.daemon
    given = daemon.upgrade_sock if daemon is not None else None
    return given or config.server.state_dir / FILE


@dataclass(frozen=True, slots=True)
class Handed:
    """What the new service says when it serves."""

    version: str
    notes: tuple[str, ...] = ()
    """What is not as it was."""

    def __str__(self) -> str:
        told = f"version {self.version} has taken over"
        return "\n".join((told, *(f"not as it was: {note}" for note in self.notes)))


class Heir:
    """The new side: waits for the old service, and is given what it had."""

    def __init__(
        self, path: Path, session: Callable[[int, int], Any], user: int | None = None
    ) -> None:
        """Listen. `session(slot, fd)` is called for each worker of the old one that has sessions
        to give. `user`: who the old one has become, where we are still root. Raises ConfigError."""
        self.sockets: list[tuple[str, int]] = []
        """Address and descriptor of each: the caller's."""
        self.heirlooms: dict[str, int] = {}
        """Further descriptors by name: the caller's."""
        self.operators: dict[str, int] = {}
        """Listening sockets of the head, by use and address: the caller's."""
        self.facts: Facts = {}
        self._path = path
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._handed: asyncio.Future[None] = self._loop.create_future()
        self._served: asyncio.Future[Sequence[str]] = self._loop.create_future()
        self._channel: Channel | None = None
        self._user = os.geteuid() if user is None else user
        self._listener = listening(path, self._user)

    async def handed(self) -> None:
        """Wait for the old one. Raises HandoverError."""
        try:
            async with asyncio.timeout(WAIT_SEC):
                while self._channel is None:
                    sock, _ = await self._loop.sock_accept(self._listener)
                    if not may_speak(sock, self._user):
                        sock.close()
                        continue
                    self._channel = Channel(sock, self._heard, name="the old service")
                    gone = self._channel.closed
                    await asyncio.wait((self._handed, gone), return_when="FIRST_COMPLETED")
                    if not self._handed.done():  # it tried something else, or thought better
                        self._channel.close()
                        self._channel = None
        except TimeoutError:
            raise HandoverError(
                "no service has handed over",
                socket=str(self._path),
                hint="send QUIT to the one that runs",
            ) from None
        finally:
            self._listener.close()
            with contextlib.suppress(OSError):
                self._path.unlink()

    def serves(self, notes: Sequence[str] = ()) -> None:
        """The old one may go. `notes`: what is not as it was there."""
        if not self._served.done():
            self._served.set_result(notes)

    def failed(self, error: HProxyError) -> None:
        """The old one has to go on."""
        if not self._served.done():
            self._served.set_exception(error)
            self._served.exception()  # the old one may be gone, and nobody ask

    async def flushed(self) -> None:
        """Let the answer go out before the process ends."""
        if self._channel is not None:
            await asyncio.wait((self._channel.closed,), timeout=TRY_SEC)

    def _heard(self, _: Channel, message: Message) -> Any:
        match message.verb:
            case "knows":
                return {"verbs": ["operators"]}
            case "operators":
                self.operators |= zip(message["names"], message.fds, strict=True)
                return None
            case "sockets":
                self.sockets += zip(message["names"], message.fds, strict=True)
                return None
            case "hand":
                return self._hand(message)
            case "session":
                return self._session(message["slot"], message.fds[0])
        raise HandoverError("an heir does not do that", verb=message.verb)

    async def _hand(self, message: Message) -> Facts:
        if message["format"] != FORMAT:
            raise HandoverError("it speaks another format", theirs=message["format"], ours=FORMAT)
        self.facts = message.facts
        self.heirlooms = dict(zip(message["fds_are"], message.fds, strict=True))
        if not self._handed.done():
            self._handed.set_result(None)
        return {"notes": list(await self._served), "version": __version__}


def listening(path: Path, user: int) -> socket.socket:
    """A socket for one of that user. Raises ConfigError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        sock.bind(str(path))
        path.chmod(0o600)
        if user != os.geteuid():
            os.chown(path, user, -1)
        sock.listen()
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen for the service that runs: {error.strerror or error}",
            key="server.daemon.upgrade_sock",
            value=str(path),
        ) from error
    return sock


def may_speak(sock: socket.socket, us: int) -> bool:
    """Whether the other end is of `us`, or root."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, user, _ = CREDENTIALS.unpack(found)
    return user in (0, us)


async def connected(path: Path, tries: int | None = None) -> Channel:
    """The old side: the one that waits there. Raises HandoverError."""
    loop = asyncio.get_running_loop()
    tries = tries or TRIES
    for attempt in range(tries):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, str(path))
        except OSError as error:
            sock.close()
            if attempt + 1 == tries:
                raise HandoverError(
                    f"nobody waits for our sockets: {error.strerror or error}",
                    socket=str(path),
                    hint="start the new one with --upgrade first",
                ) from error
            await asyncio.sleep(TRY_SEC)
        else:
            if may_speak(sock, os.geteuid()):
                return Channel(sock, _nothing, name="the new service")
            sock.close()
            raise HandoverError("another user waits for our sockets", socket=str(path))
    raise AssertionError("unreachable")


async def knows(channel: Channel, verb: str) -> bool:
    """Whether it understands that; an earlier version understands nothing new."""
    try:
        return verb in (await channel.ask("knows", timeout_sec=COMING_UP_SEC))["verbs"]
    except (HProxyError, TimeoutError):
        return False


async def hand(
    channel: Channel,
    sockets: Named,
    heirlooms: Mapping[str, int],
    operators: Mapping[str, int],
    **facts: Any,
) -> Handed:
    """Give it what we have and wait until it serves. All stays ours as well.

    Raises HandoverError, and then it does not."""
    for start in range(0, len(sockets), MAX_FDS):
        part = sockets[start : start + MAX_FDS]
        channel.tell("sockets", names=[name for name, _ in part], fds=[fd for _, fd in part])
    if operators:
        channel.tell("operators", names=list(operators), fds=list(operators.values()))
    try:
        answer = await channel.ask(
            "hand",
            timeout_sec=COMING_UP_SEC,
            fds=list(heirlooms.values()),
            fds_are=list(heirlooms),
            format=FORMAT,
            version=__version__,
            **facts,
        )
    except ChannelClosed:
        raise HandoverError("the new service ended before it served") from None
    except TimeoutError:
        raise HandoverError("the new service does not come up", waited_sec=COMING_UP_SEC) from None
    return Handed(str(answer["version"]), tuple(answer.facts.get("notes", ())))


def _nothing(_: Channel, message: Message) -> Facts:
    raise HandoverError("the old service does not do that", verb=message.verb)
