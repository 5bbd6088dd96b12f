# SPDX-License-Identifier: Apache-2.0
"""A MySQL session that borrows a backend connection for each statement."""

from typing import Any, final

from hproxy._native.channel import Channel
from hproxy._native.decision import Decision, DecisionCache
from hproxy._native.digest import Digester
from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_session import Session
from hproxy._native.pool import BackendConnection, Group
from hproxy._native.statements import ClientStatement, ClientStatements

@final
class Multiplexed(Session):
    """Its driver's methods are listed on top of session/multiplex.py."""

    settings: Any
    """What the serving connection must be set to; compared by identity."""
    modes: int
    """How its texts are lexed."""
    status: int
    """Server status flags of the last answer."""
    watched: bool
    """The driver is told when this statement is answered."""
    watch_next: bool
    """... and of the next ones, until this is taken back."""
    row_count: int
    """What ROW_COUNT() returns."""
    restated: bool
    """ROW_COUNT() and FOUND_ROWS() were told in the text: no connection has them."""
    fast_lane: bool
    """Without it the driver is shown every statement."""
    exact_insert_ids: bool
    """Ask for LAST_INSERT_ID() before giving a connection back."""
    last_insert_id: int
    hold_seconds: float
    """For which a session stays on the writer after a write of its own."""
    wait_limit: float
    """Seconds a statement may wait for a connection."""
    shows_state: bool
    """The client has turned session tracking of its own on."""
    keeps_warnings: bool
    """The server keeps warnings over statements that name no table."""
    shows_in_eof: bool
    """It turned on what sets the flag of session state behind rows, too."""
    shows_transactions: bool
    """It is told of transactions whatever it turned on."""
    def __init__(
        self,
        client: Endpoint,
        driver: object,
        digester: Digester,
        decisions: DecisionCache,
        settings: object,
        *,
        deprecate_eof: bool,
        query_attributes: bool = False,
        idle_timeout: float = 0.0,
    ) -> None: ...
    def like(self, client: Endpoint | None) -> Multiplexed:
        """A session on `client` that begins as this one would begin now, not started.

        Without a client it is one to make others like."""
    @property
    def decision(self) -> Decision | None:
        """Of the command under way."""
    def target(self, decision: Decision) -> Group:
        """Where a statement goes when nothing binds the session to a connection."""
    @property
    def salt(self) -> int:
        """Account and schema, mixed into digests."""
    def transaction_view(self, state: bytes | None, again: bool, status: int) -> bytes | None:
        """What a client that asked for nothing is told of transactions: an entry of session state,
        b"" for the flag alone, None for nothing.

        `state`: the letters in an OK, if they changed; `again`: a statement began one."""
    def hold_until_answered(self) -> None:
        """Keep the connection, as if in a transaction, until an answer tells that there is none."""
    @property
    def answered_decision(self) -> Decision | None:
        """Of the one before it."""
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
    @property
    def attempts(self) -> int:
        """Times the command under way was sent."""
    @property
    def context_serial(self) -> int:
        """Statements that left a context of their own."""
    @property
    def found_rows(self) -> int: ...
    @property
    def statements(self) -> ClientStatements | None:
        """None until it prepares."""
    @property
    def statement(self) -> ClientStatement | None:
        """Of the command under way."""
    @property
    def repeatable(self) -> bool:
        """Whether the command under way may be sent again: nothing of an answer has come."""
    def yieldable(self, pending: int = 0) -> bool:
        """Whether nothing holds the connection but what the last statement left behind, and
        `pending` pins, which may end when that is given up."""
    @property
    def context_kept(self) -> bool:
        """Whether the connection of the statement before is still as that left it."""
    @property
    def warnings_kept(self) -> bool:
        """Whether the connection of the statement before still has its warnings."""
    @property
    def insert_id_open(self) -> bool:
        """Whether an OK has left open what LAST_INSERT_ID() is."""
    @property
    def needs_insert_id(self) -> bool:
        """Whether the statement that waits asks for a LAST_INSERT_ID() its connection lacks."""
    @property
    def autocommit(self) -> bool: ...
    @property
    def waits_for(self) -> Group | None: ...
    def set_salt(self, salt: int) -> None:
        """What decisions rest on besides the text: account and schema."""
    def submit(
        self,
        payload: bytes,
        decision: Decision,
        statement: ClientStatement | None = None,
        watched: bool = True,
    ) -> None:
        """Run a command the driver was shown, or another in its place."""
    def aligned(self) -> None:
        """What the command waits for is done, or its connection was given up: it may go on."""
    def settled(self) -> None:
        """The driver is done with a statement that was answered."""
    def refuse(self, packet: bytes) -> None:
        """Answer the command that waits without running it."""
    def refuse_next(self, packet: bytes) -> None:
        """Answer the next command that has an answer with `packet`."""
    def part(self) -> BackendConnection | None:
        """Take the connection away, with all that it holds of the session; None if it has none."""
    def give_up(self) -> None:
        """Take the connection away from the session: it is lost, or not to be trusted."""
    def again(self) -> None:
        """Send the command under way once more, elsewhere."""
    def break_off(self, packet: bytes) -> bool:
        """The answer under way ends with `packet` instead. False: that is not possible."""
    def pin(self, mask: int, bits: int) -> None:
        """Replace the pins under `mask`."""
    def prepare_statements(self) -> ClientStatements:
        """The table of prepared statements, made at the first one."""
    def begin_yield(self) -> None:
        """The driver asks what is left behind; `settled` gives the connection back."""
    def end_yield(self, found_rows: int) -> None:
        """It is known now."""
    def moved(self) -> None:
        """What the last statement left behind is known: the one that waits goes on elsewhere."""
    def hold(self, connection: BackendConnection) -> None:
        """The session runs on `connection`, which was nobody's."""
    def concluded(self, warnings: bool, flags: int = 0) -> None:
        """A command that the driver answered left `warnings` on the connection in hand, or none.

        `flags` are those of the statement it is about."""
    def know_insert_id(self, value: int) -> bool:
        """LAST_INSERT_ID() on the connection in hand; False: another session left it there."""
    def forget_all(self) -> None:
        """COM_RESET_CONNECTION was run on the connection in hand."""
    def converse(self, limit: int) -> Channel:
        """A channel to the client, for an exchange of packets; `start` ends it."""
