# SPDX-License-Identifier: Apache-2.0
"""What is known of one client's session, and why it is pinned; pure.

`asked.py` adds what is asked of its connection, `state.py` what statements do to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hproxy.protocols.mysql import followed, user_variables
from hproxy.protocols.mysql.client_tracking import ClientTracking, build_session_track
from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.followed import Following, following
from hproxy.protocols.mysql.pins import Pin, PinRecord
from hproxy.protocols.mysql.plan import Plan
from hproxy.protocols.mysql.questions import (
    Asking,
    Question,
    QuestionKind,
)
from hproxy.protocols.mysql.replies import SessionChange
from hproxy.protocols.mysql.routines import RoutineBook, Trial
from hproxy.protocols.mysql.settings import (
    Prepared,
    Settings,
)
from hproxy.protocols.mysql.variables import Target

__all__ = ["PREPARED_LIMIT", "Known", "Memory", "Tether"]

# Beyond these a session is pinned: its replay would cost more than its connection.
USERS_LIMIT = 200
USER_BYTES = 65536
PREPARED_LIMIT = 100

NO_SCHEMA = b"no schema, but statements prepared in one"
# What native code knows better: it sees them end where nobody makes a plan.
FLEETING = Pin.NEXT_TRANSACTION | Pin.TRANSACTION | Pin.WARNINGS | Pin.FOUND_ROWS


class Memory(NamedTuple):
    """What is known of a session that nothing pins."""

    settings: Settings
    at_login: Settings
    status: int
    named: bool
    tracking: Mapping[bytes, bytes]
    """The client's own session_track_*."""


class Tether(NamedTuple):
    """What is known of a session beyond `Memory`, all of it about the connection it has."""

    waiting: tuple[Question, ...]
    held: frozenset[bytes]
    temporary: frozenset[bytes]
    locks: frozenset[bytes]
    nameless_lock: bool
    holds: frozenset[str]
    handlers: frozenset[bytes]
    unprepared: Mapping[bytes, tuple[bytes, Settings]]
    wide: bool
    stained: bool
    records: tuple[PinRecord, ...]


class Known:
    """Of one session: settings to be replayed, and pins for what cannot be."""

    def __init__(
        self,
        settings: Settings,
        *,
        mariadb: bool,
        book: RoutineBook | None = None,
        tracking: bytes = b"",
        sql_mode: bytes = b"",
        client_tracking: ClientTracking | None = None,
    ) -> None:
        """`tracking` switches the server's tracking on; `sql_mode` is that of new sessions."""
        self.settings = settings
        self._at_login = settings
        self.pins = Pin(0)
        self.client_tracking = client_tracking or ClientTracking()
        self.last_insert_id: int | None = None
        """What SET last_insert_id said, until somebody takes it."""
        self._mariadb = mariadb
        self._book = book or RoutineBook()
        self._tracking = tracking
        self._sql_mode = sql_mode
        self._records: dict[Pin, PinRecord] = {}
        self._waiting: list[Question] = []
        self._status = int(ServerStatus.AUTOCOMMIT)
        self._now = 0.0
        self._digest = b""
        self._clear()

    def _clear(self) -> None:
        self._temporary: set[bytes] = set()
        self._locks: set[bytes] = set()
        self._nameless_lock = False
        self._holds: set[str] = set()
        self._handlers: set[bytes] = set()
        # What cannot be carried over, by name, as long as it is so.
        self._held: set[bytes] = set()
        # SET NAMES without COLLATE: the collation to be asked for is that of results, too.
        self._named = False
        # Numbers in user variables would be shown in a character set without ASCII.
        self._wide = False
        self._trial = Trial(self._book)
        # PREPARE ... FROM @name whose variable is being asked for.
        self._unprepared: dict[bytes, tuple[bytes, Settings]] = {}

    def _forget(self, settings: Settings) -> None:
        self.settings = settings
        self._waiting.clear()
        self._clear()
        self.client_tracking.reset()
        self.last_insert_id = None
        self._status = int(ServerStatus.AUTOCOMMIT)
        for pin in self.pins:
            self.unpin(pin)

    # -- for others -----------------------------------------------------------------------------

    @property
    def lex_modes(self) -> int:
        """How the session's statements are to be cut into tokens."""
        return self.settings.modes(self._sql_mode)

    @property
    def records(self) -> tuple[PinRecord, ...]:
        """The pins, in their order, for the report."""
        return tuple(self._records[pin] for pin in Pin if pin in self.pins)

    @property
    def waiting(self) -> tuple[Question, ...]:
        """Questions that wait for the client to have read its warnings."""
        return tuple(self._waiting)

    @property
    def pending(self) -> Pin:
        """Pins that a question which waits may end: whether a routine has left something."""
        asks = any(each.kind is QuestionKind.ROUTINE for each in self._waiting)
        return Pin.ROUTINE if asks else Pin(0)

    @property
    def asks_for_tracking(self) -> bool:
        """Whether it is still to be asked what the client has set `session_track_*` to."""
        return any(each.kind is QuestionKind.CLIENT_TRACKING for each in self._waiting)

    def memory(self) -> Memory | None:
        """All there is to know; None where its connection knows more than we do."""
        secrets = self._waiting or self._held or self._unprepared or self._trial.open
        if self.pins & ~FLEETING or secrets or self.last_insert_id is not None:
            return None
        return self.memory_beside()

    def memory_beside(self) -> Memory:
        """The part of it that needs no connection."""
        tracking = dict(self.client_tracking.values)
        return Memory(self.settings, self._at_login, self._status, self._named, tracking)

    def recall(self, memory: Memory) -> None:
        """Go on as the session that `memory` is of; this one has done nothing yet."""
        self.settings, self._at_login = memory.settings, memory.at_login
        self._status, self._named = memory.status, memory.named
        for name, value in memory.tracking.items():
            self.client_tracking.set(name, value)

    def tether(self) -> Tether | None:
        """What ties it to its connection; None while that is not to be told."""
        if self._trial.undecided or self.last_insert_id is not None:
            return None
        return Tether(
            tuple(self._waiting),
            frozenset(self._held),
            frozenset(self._temporary),
            frozenset(self._locks),
            self._nameless_lock,
            frozenset(self._holds),
            frozenset(self._handlers),
            dict(self._unprepared),
            self._wide,
            self._trial.stained,
            self.records,
        )

    def retie(self, tether: Tether) -> None:
        """Have the connection that `tether` is about; to be done after `recall`."""
        self._waiting = list(tether.waiting)
        self._held = set(tether.held)
        self._temporary = set(tether.temporary)
        self._locks = set(tether.locks)
        self._nameless_lock = tether.nameless_lock
        self._holds = set(tether.holds)
        self._handlers = set(tether.handlers)
        self._unprepared = dict(tether.unprepared)
        self._wide = tether.wide
        self._trial.stained = tether.stained
        for reason, since, statement in tether.records:
            self.pin(reason, since, statement)

    def pin(self, reason: Pin, now: float = 0.0, digest: bytes = b"") -> None:
        """Begin a reason that is seen by others: cursors, long data, ..."""
        if reason not in self.pins:
            self.pins |= reason
            self._records[reason] = PinRecord(reason, now, digest)

    def unpin(self, reason: Pin) -> None:
        """End it."""
        self.pins &= ~reason
        self._records.pop(reason, None)

    def settle(self) -> tuple[Question, ...]:
        """Give the warnings up: the questions that waited for them."""
        self.unpin(Pin.WARNINGS)
        self.unpin(Pin.FOUND_ROWS)
        waiting, self._waiting = tuple(self._waiting), []
        return waiting

    def client_view(
        self, changes: Iterable[SessionChange], plan: Plan | None = None
    ) -> bytes | None:
        """The session state that this client is to see of an OK of `plan`; None for none."""
        view = self.client_tracking.view(changes, together=self._mariadb)
        for item in plan.assignments if plan is not None else ():
            if item.target is Target.SESSION and item.name.startswith(b"session_track_"):
                written = item.value.text
                told = self.client_tracking.switched(item.name, written, self._mariadb)
                view = (view or b"") + build_session_track(told, together=self._mariadb) or None
                if not self._mariadb and self.client_tracking.flags(item.name, written):
                    view = view or b""
        return view

    @property
    def releases(self) -> bool:
        """Whether COMMIT and ROLLBACK end the session (completion_type)."""
        return (self.settings.variable(b"completion_type") or b"").upper() in (b"RELEASE", b"2")

    # -- what is known now ------------------------------------------------------------------------

    def _hold_untrackable(self) -> None:
        self._held.discard(NO_SCHEMA)
        if not self.settings.schema and self.settings.needs_schema:
            self._held.add(NO_SCHEMA)  # its statements could be prepared nowhere else
        self._pin_while(Pin.UNTRACKABLE_SET, self._held)

    def _pin_while(self, reason: Pin, condition: object) -> None:
        if condition:
            self.pin(reason, self._now, self._digest)
        else:
            self.unpin(reason)

    def _schema(self, schema: bytes) -> None:
        self.settings = self.settings.with_schema(schema)

    def _variable(self, name: bytes, value: bytes, asking: Asking) -> None:
        """A session variable has this value, in the words of the server."""
        what = following(name)
        if what is Following.CHARSET:
            self._charset(name, value)
            asking.charset = True
        elif what is Following.LAST_ID:
            self.last_insert_id = int(value) if value.isdigit() else None
        elif what in (Following.HOLD, Following.VARIABLE):
            kept, same = followed.canonical(name)
            if same:
                self._keep(kept, value)
            else:
                asking.variables[kept] = None
            for companion in followed.companions(kept):
                asking.variables[companion] = None

    def _keep(self, name: bytes, value: bytes | None) -> None:
        if value is not None and followed.holds(name, value):
            self._held.add(name)
        else:
            self._held.discard(name)
        if following(name) is Following.VARIABLE:
            other = followed.pairs(name)
            forgotten = {other: None} if other != name else {}
            self.settings = self.settings.with_variables({**forgotten, name: value})

    def _charset(self, name: bytes, value: bytes) -> None:
        """What is said of the character set, for now: the collation has to be asked for."""
        charset = self.settings.charset
        if name == b"character_set_client":
            charset = charset._replace(client=value)
        elif name == b"character_set_results":
            charset = charset._replace(results=value or None)
        elif name == b"collation_connection":
            charset = charset._replace(collation=value)
        self.settings = self.settings.with_charset(charset)

    def _ask_variable(self, name: bytes, asking: Asking) -> None:
        what = following(name)
        if what is Following.CHARSET:
            asking.charset = True
        elif what is Following.HOLD:
            self._held.add(name)
        elif what in (Following.LAST_ID, Following.VARIABLE):
            kept, _ = followed.canonical(name)
            asking.variables[kept] = None
            for companion in followed.companions(kept):
                asking.variables[companion] = None

    def _ask_user(self, name: bytes, asking: Asking) -> None:
        if user_variables.can_be_named(name) and not self._wide:
            asking.users[name] = None
        else:
            self._held.add(b"@" + name)

    def _keep_user(self, name: bytes, made: bytes | None) -> None:
        settings = self.settings.with_users({name: made})
        size = sum(len(value) for _, value in settings.users)
        too_much = len(settings.users) > USERS_LIMIT or size > USER_BYTES
        if too_much or (made is not None and not user_variables.well_formed(made)):
            self._held.add(b"@" + name)
            settings = self.settings.with_users({name: None})
        else:
            self._held.discard(b"@" + name)
        self.settings = settings

    @property
    def _client(self) -> bytes:
        return self.settings.charset.client

    def _prepare_later(self, asked: Iterable[bytes]) -> None:
        """Prepare from variables that are known by now."""
        for name, (user, context) in list(self._unprepared.items()):
            made = self.settings.user(user)
            if made is None or user in asked:
                continue
            del self._unprepared[name]
            text = user_variables.string_of(made, self._client)
            if text is not None and len(self.settings.prepared) < PREPARED_LIMIT:
                self._held.discard(b"PREPARE " + name)
                self.settings = self.settings.with_prepared({name: Prepared(text, context)})
