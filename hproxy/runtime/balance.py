# SPDX-License-Identifier: Apache-2.0
"""Clients spread over the workers of a service, though the kernel gives them out by chance.

    accepted ── a worker has so many fewer that it is noticed ──> to its mailbox
    mailbox  ── a client ──> the door, as if accepted here
             └─ a nudge ──> pools: lend, or take, a place on a backend

SO_REUSEPORT draws a worker for each client: of 64 clients two workers get 32 give or take 8, and
one of them is then idle while the other is late. Passing a descriptor on costs some 20 us, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hproxy.net.listener import Listener
from hproxy.net.mailbox import Mailbox, Postman
from hproxy.pool.shares import Row, Shares

__all__ = ["Balance"]


class Balance:
    """Of one worker; the workers of its service have `count` columns from `first` on."""

    def __init__(self, shares: Shares, postman: Postman, first: int, count: int) -> None:
        assert shares.ledger is not None
        self.passed_on = 0
        """Clients that others have taken over, ever."""
        self._ledger = shares.ledger
        self._clients = shares.clients()
        self._postman = postman
        self._first, self._count = first, count
        self._mailbox: Mailbox | None = None
        shares.nudge = self._nudge

    def open(
        self, mailbox: int, client: Callable[[int, str, str], None], nudged: Callable[[str], None]
    ) -> None:
        """Read the mailbox behind a descriptor, which is ours from now on."""

        def came(fd: int, peer: str, address: str) -> None:
            self._ledger.received()
            client(fd, peer, address)

        self._mailbox = Mailbox(mailbox, came, nudged, self._ledger.settled)

    def pass_on(self, fd: int, peer: str, listener: Listener) -> bool:
        """Whether another worker gets the client; it is not ours any more then."""
        if self._clients is None:
            return False
        column = self._clients.lighter(self._first, self._count)
        if column < 0:
            return False
        self._ledger.passed(column)
        if not self._postman.send_client(column, fd, peer, listener.address):
            self._ledger.returned(column)
            return False
        os.close(fd)
        self.passed_on += 1
        return True

    def refuse(self, refused: bool = True) -> None:
        """No clients that others have accepted; what is in the mailbox is read all the same."""
        self._ledger.close(self._ledger.column, refused)

    def close(self) -> None:
        """Read and write no more."""
        if self._mailbox is not None:
            self._mailbox.close()
        self._postman.close()

    def _nudge(self, column: int, row: Row) -> None:
        self._postman.nudge(column, row.name)
