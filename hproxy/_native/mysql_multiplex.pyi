# SPDX-License-Identifier: Apache-2.0
"""A MySQL session that borrows a backend connection for each statement."""

from typing import final

from hproxy._native.channel import Channel
from hproxy._native.decision import Decision, DecisionCache
from hproxy._native.digest import Digester
from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_prepared import Prepared
from hproxy._native.statements import ClientStatement

@final
class Multiplexed(Prepared):
    """Its driver's methods are listed on top of session/multiplex.py."""

    modes: int
    """How its texts are lexed."""
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
    def running(self) -> bytes:
        """The statement under way: its text if that was kept, else its digest; b"" without."""
    @property
    def repeatable(self) -> bool:
        """Whether the command under way may be sent again: nothing of an answer has come."""
    def stay(self) -> None:
        """It is not leaving after all: what waits is taken here."""
    def set_salt(self, salt: int) -> None:
        """What decisions rest on besides the text: account and schema."""
    def forget_aside(self) -> None:
        """The session begins anew: a transaction that waits for it ends."""
    def begin_with_flag(self, flag: int) -> None:
        """The next statement is decided with this flagIN."""
    def noted(self, decision: Decision, runs: bool = True) -> None:
        """The driver decided by itself about a statement that was received, and now `runs`."""
    def submit(
        self,
        payload: bytes,
        decision: Decision,
        statement: ClientStatement | None = None,
        watched: bool = True,
    ) -> None:
        """Run a command the driver was shown, or another in its place."""
    def recall(self, frames: bytes, rows: int) -> None:
        """Answer the command the driver holds with what another one like it was answered."""
    def aligned(self) -> None:
        """What the command waits for is done, or its connection was given up: it may go on."""
    def settled(self) -> None:
        """The driver is done with a statement that was answered."""
    def refuse(self, packet: bytes) -> None:
        """Answer the command that waits without running it."""
    def refuse_next(self, packet: bytes) -> None:
        """Answer the next command that has an answer with `packet`."""
    def again(self) -> None:
        """Send the command under way once more, elsewhere."""
    def break_off(self, packet: bytes) -> bool:
        """The answer under way ends with `packet` instead. False: that is not possible."""
    def moved(self) -> None:
        """What the last statement left behind is known: the one that waits goes on elsewhere."""
    def converse(self, limit: int) -> Channel:
        """A channel to the client, for an exchange of packets; `start` ends it."""
