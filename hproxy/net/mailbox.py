# SPDX-License-Identifier: Apache-2.0
"""Messages from one worker to another, past the processes that look after them.

    mailbox of worker k   one SEQPACKET pair: k reads, all others write; the angel keeps both ends,
                          so that what is in it when k dies is read by the next k
    C peer \\0 address     a client that was accepted there, with its descriptor
    N name                look at a row of the ledger: somebody waits, or has left a place

Sending never waits: with a full mailbox the client stays where it is, and a nudge is forgotten (who
waits looks again by itself). Reading pauses while there is no descriptor left: the kernel would
drop the client that comes with a message.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping

__all__ = ["Mailbox", "Postman", "box"]

CLIENT, NUDGE = b"C", b"N"
LONGEST = 4096
BATCH = 64
"""Messages per wake-up: running sessions are not to starve."""
PAUSE_SEC = 0.2
SOCKET = 4
"""Bytes of a descriptor."""


def box() -> tuple[socket.socket, socket.socket]:
    """The end that is read, and the one all others write to."""
    read, write = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read.setblocking(False)
    write.setblocking(False)
    return read, write


class Postman:
    """Writes to the mailboxes of other workers, by column of the ledger."""

    def __init__(self, fds: Mapping[int, int]) -> None:
        """They are ours from now on."""
        self._boxes = {column: socket.socket(fileno=fd) for column, fd in fds.items()}

    def send_client(self, column: int, fd: int, peer: str, address: str) -> bool:
        """Whether it is on its way; the descriptor stays the caller's either way."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        data = CLIENT + f"{peer}\0{address}".encode()
        try:
            self._boxes[column].sendmsg([data], rights)
        except (KeyError, OSError):
            return False
        return True

    def nudge(self, column: int, name: str) -> None:
        """Have it look at a row."""
        with contextlib.suppress(KeyError, OSError):
            self._boxes[column].send(NUDGE + name.encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        """Nothing more is sent."""
        for sock in self._boxes.values():
            sock.close()
        self._boxes.clear()


class Mailbox:
    """Reads ours. `client(fd, peer, address)` owns the descriptor it is given."""

    def __init__(
        self,
        fd: int,
        client: Callable[[int, str, str], None],
        nudged: Callable[[str], None],
        emptied: Callable[[], None],
    ) -> None:
        """The descriptor is ours from now on. `emptied` is told when nothing is left in it."""
        self._sock = socket.socket(fileno=fd)
        self._client = client
        self._nudged = nudged
        self._emptied = emptied
        self._resume: asyncio.TimerHandle | None = None
        self._room = -1
        """A descriptor kept for the one that comes next; -1 is none."""
        self._loop = asyncio.get_running_loop()
        self._go_on()

    def close(self) -> None:
        """Read no more; what is left is for who reads it next."""
        if self._resume is not None:
            self._resume.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()
        self._use_room()

    def _go_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self._sock, self._read)

    def _keep_room(self) -> bool:
        if self._room < 0:
            try:
                self._room = os.dup(self._sock.fileno())
            except OSError:
                return False
        return True

    def _use_room(self) -> None:
        if self._room >= 0:
            os.close(self._room)
            self._room = -1

    def _read(self) -> None:
        for _ in range(BATCH):
            if self._sock.fileno() < 0:  # closed by the one we told
                return
            if not self._keep_room():
                self._loop.remove_reader(self._sock)
                self._resume = self._loop.call_later(PAUSE_SEC, self._go_on)
                return
            self._use_room()
            try:
                data, ancillary, _, _ = self._sock.recvmsg(
                    LONGEST, socket.CMSG_SPACE(SOCKET), socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                self._emptied()
                return
            fds = array.array("i")
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
            if not data:  # nobody writes to it any more
                self.close()
                return
            self._handle(data, list(fds))

    def _handle(self, data: bytes, fds: list[int]) -> None:
        kind, rest = data[:1], data[1:]
        if kind == CLIENT and fds:
            peer, _, address = rest.decode("utf-8", "replace").partition("\0")
            self._client(fds.pop(0), peer, address)
        elif kind == NUDGE:
            self._nudged(rest.decode("utf-8", "surrogateescape"))
        for fd in fds:
            os.close(fd)
