# SPDX-License-Identifier: Apache-2.0
"""A session's hold on backend connections."""

from typing import Any

from typing_extensions import disjoint_base

from hproxy._native.decision import Decision
from hproxy._native.mysql_session import Session
from hproxy._native.pool import BackendConnection, Group

@disjoint_base
class Leasing(Session):
    settings: Any
    """What the serving connection must be set to; compared by identity."""
    status: int
    """Server status flags of the last answer."""
    restated: bool
    """ROW_COUNT() and FOUND_ROWS() were told in the text: no connection has them."""
    exact_insert_ids: bool
    """Ask for LAST_INSERT_ID() before giving a connection back."""
    last_insert_id: int
    hold_seconds: float
    """For which a session stays on the writer after a write of its own."""
    wait_limit: float
    """Seconds a statement may wait for a connection."""
    keeps_warnings: bool
    """The server keeps warnings over statements that name no table."""
    roams: bool
    """Query rules take statements out of its transactions."""
    leaving: bool
    """Its next command is not taken while nothing binds it to a connection, or only what can be
    read from there; the driver is told (`departs`), and another process takes the command with
    the session."""
    @property
    def aside(self) -> BackendConnection | None:
        """Of a transaction while a statement runs elsewhere."""
    @property
    def sticks(self) -> bool:
        """A query rule wants it to keep the connection it has."""
    @property
    def decision(self) -> Decision | None:
        """Of the command under way."""
    def target(self, decision: Decision) -> Group:
        """Where a statement goes when nothing binds the session to a connection."""
    def hold_until_answered(self) -> None:
        """Keep the connection, as if in a transaction, until an answer tells that there is none."""
    @property
    def held(self) -> BackendConnection | None: ...
    @property
    def last(self) -> BackendConnection | None:
        """Held before; its context may still be ours."""
    @property
    def serial(self) -> int:
        """Of this session; never 0."""
    @property
    def pins(self) -> int:
        """Reasons to keep the connection, without the transaction."""
    @property
    def pinned_since(self) -> float:
        """Reactor seconds; 0 = it is not."""
    @property
    def pinned_by(self) -> bytes | None:
        """Digest of the statement that pinned it."""
    def yieldable(self, pending: int = 0) -> bool:
        """Whether nothing holds the connection but what the last statement left behind, and
        `pending` pins, which may end when that is given up."""
    @property
    def insert_id_open(self) -> bool:
        """Whether an OK has left open what LAST_INSERT_ID() is."""
    @property
    def autocommit(self) -> bool: ...
    @property
    def waits_for(self) -> Group | None: ...
    def pin(self, mask: int, bits: int) -> None:
        """Replace the pins under `mask`."""
    def begin_yield(self) -> None:
        """The driver asks what is left behind; `settled` gives the connection back."""
    def transaction_over(self) -> None:
        """The driver has ended the transaction that was open."""
    def hold(self, connection: BackendConnection) -> None:
        """The session runs on `connection`, which was nobody's."""
