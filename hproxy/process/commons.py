# SPDX-License-Identifier: Apache-2.0
"""What the workers of a service have in common: a ledger, failed logins, and a mailbox each.

    ledger      one memfd; worker k writes in column first + k, which is cleared when it is dead
    guesses     one memfd; every worker counts in the same buckets
    mailbox     what it reads; mailbox:C what others write to, C being its column
An upgrade hands the first two on: while the old service drains, limits hold over both. The
mailboxes are each service's own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from hproxy.auth import guard
from hproxy.auth.guard import Buckets
from hproxy.net.mailbox import Postman, box
from hproxy.pool.shares import Ledger, Shares, create
from hproxy.process.channel import Message
from hproxy.runtime.balance import Balance

__all__ = ["Commons", "Joined", "joined"]

LEDGER, GUESSES, MAILBOX, OTHERS = "ledger", "guesses", "mailbox", "mailbox:"


class Commons:
    """The angel's: descriptors that every worker gets, and keeps across deaths."""

    def __init__(self, workers: int, ledger: int | None = None, guesses: int | None = None) -> None:
        """`ledger`, `guesses`: those of the service before, descriptors that are ours from now on;
        new ones if they are of another version or have no columns left. Raises OSError."""
        self._workers = workers
        self._fd, self._ledger, self.first = _columns(workers, ledger)
        self._guesses = _buckets(guesses)
        self._boxes = [box() for _ in range(workers)]

    @property
    def heirlooms(self) -> dict[str, int]:
        """Descriptors for the service after this one; they stay ours."""
        return {LEDGER: self._fd, GUESSES: self._guesses}

    def given(self, slot: int) -> dict[str, int]:
        """What a worker gets, by name."""
        found = self.heirlooms | {MAILBOX: self._boxes[slot][0].fileno()}
        for other, (_, write) in enumerate(self._boxes):
            if other != slot:
                found[f"{OTHERS}{self.first + other}"] = write.fileno()
        return found

    def left(self, slot: int) -> None:
        """That worker is dead, and its connections with it."""
        self._ledger.clear(self.first + slot)

    def close(self) -> None:
        """The service is over: its columns are anybody's."""
        for slot in range(self._workers):
            self._ledger.clear(self.first + slot, release=True)
        for sockets in self._boxes:
            _close(sockets)
        os.close(self._fd)
        os.close(self._guesses)


@dataclass(frozen=True, slots=True)
class Joined:
    """What a worker has a part in; nothing where it is the only one."""

    shares: Shares
    balance: Balance | None = None
    """Who balances its clients."""
    mailbox: int = -1
    guesses: Buckets | None = None


def joined(message: Message) -> Joined:
    """The worker's side of `become`."""
    names: Sequence[str] = message["fds_are"]
    fds: dict[str, int] = dict(zip(names, message.fds, strict=True))
    if LEDGER not in fds:
        return Joined(Shares())
    first, workers = message["column"], message["workers"]
    shares = Shares.join(fds[LEDGER], first + message["slot"], workers)
    others = {
        int(name.removeprefix(OTHERS)): fd for name, fd in fds.items() if name.startswith(OTHERS)
    }
    guesses = fds.pop(GUESSES)
    try:
        buckets = Buckets(guesses)
    finally:
        os.close(guesses)
    balance = Balance(shares, Postman(others), first, workers)
    return Joined(shares, balance, fds[MAILBOX], buckets)


def _columns(workers: int, fd: int | None) -> tuple[int, Ledger, int]:
    """A ledger with columns for so many workers: the descriptor, our view, the first of them."""
    if fd is not None:
        try:
            ledger = Ledger(fd)
            _release_dead(ledger)
            return fd, ledger, ledger.claim(os.getpid(), workers)
        except (ValueError, LookupError):
            os.close(fd)
    fd = create(workers)
    ledger = Ledger(fd)
    return fd, ledger, ledger.claim(os.getpid(), workers)


def _buckets(fd: int | None) -> int:
    """The descriptor of buckets that can be used."""
    if fd is not None:
        try:
            Buckets(fd)
        except ValueError:
            os.close(fd)
        else:
            return fd
    return guard.create()


def _release_dead(ledger: Ledger) -> None:
    """Columns of a service that was killed."""
    for column in range(ledger.columns):
        owner = ledger.owner(column)
        if owner and not os.path.exists(f"/proc/{owner}"):
            ledger.clear(column, release=True)


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
