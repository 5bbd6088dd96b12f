# SPDX-License-Identifier: Apache-2.0
"""What a client that asked for session tracking itself sees of it.

Session tracking is always on for our backend connections, of everything. The client gets the
entries that its own session_track_* ask for, which count here and never on a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hproxy.protocols.mysql.constants import TrackedKind
from hproxy.protocols.mysql.replies import NESTED, SessionChange
from hproxy.protocols.mysql.settings import literal
from hproxy.protocols.mysql.wire import lenenc_string, u8

__all__ = ["DEFAULTS", "ClientTracking", "build_session_track"]

SYSTEM_VARIABLES = b"session_track_system_variables"
SCHEMA = b"session_track_schema"
STATE_CHANGE = b"session_track_state_change"
TRANSACTION_INFO = b"session_track_transaction_info"
GTIDS = b"session_track_gtids"  # MySQL alone

# As both servers come; a server's own @@global values are better.
DEFAULTS: Mapping[bytes, bytes] = {
    SYSTEM_VARIABLES: b"autocommit,character_set_client,character_set_connection,"
    b"character_set_results,time_zone",
    SCHEMA: b"ON",
    STATE_CHANGE: b"OFF",
    TRANSACTION_INFO: b"OFF",
}
ON = frozenset({b"ON", b"1", b"TRUE"})
CHARACTERISTICS = frozenset({b"CHARACTERISTICS", b"2"})
STATES = CHARACTERISTICS | {b"STATE", b"1"}
NO_STATE = b"________"


def build_session_track(changes: Iterable[SessionChange], together: bool) -> bytes:
    """The session state of an OK packet, b"" for none.

    `together`: several variables in one entry, which is MariaDB's form.
    """
    entries: list[tuple[int, bytes]] = []
    for change in changes:
        if change.kind == TrackedKind.SYSTEM_VARIABLES:
            entry = lenenc_string(change.name) + lenenc_string(change.value)
            if together and entries and entries[-1][0] == change.kind:
                entry = entries.pop()[1] + entry
        elif change.kind in NESTED:
            entry = lenenc_string(change.value)
        elif change.kind == TrackedKind.GTIDS:
            entry = b"\0" + lenenc_string(change.value)
        else:
            entry = change.value
        entries.append((change.kind, entry))
    return b"".join(u8(kind) + lenenc_string(entry) for kind, entry in entries)


class ClientTracking:
    """The session_track_* of one client."""

    def __init__(self, defaults: Mapping[bytes, bytes] = DEFAULTS) -> None:
        self._defaults = dict(DEFAULTS) | dict(defaults)
        self.values: dict[bytes, bytes] = {}
        self._choose()

    def set(self, name: bytes, value: bytes | None) -> None:
        """The client set one of them; None is the server's own value."""
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value
        self._choose()

    def reset(self) -> None:
        """Back to what the server gives a new session."""
        self.values.clear()
        self._choose()

    @property
    def special(self) -> bool:
        """Whether transactions, or more than the usual, are to be told."""
        return not self._kinds <= {TrackedKind.SCHEMA}

    @property
    def transactions(self) -> bool:
        """Whether the client asked to be told of them."""
        return TrackedKind.TRANSACTION_STATE in self._kinds

    def anything(self, variables: frozenset[bytes]) -> bool:
        """Whether it is told of anything; `variables` are those there are."""
        names = self._names & (variables | {b"*"})
        return bool(names or self._kinds)

    def statement(self) -> bytes:
        """SET of the client's own values on a connection, for when it wants to see them."""
        values = self._defaults | self.values
        if GTIDS not in self.values:
            values.pop(GTIDS, None)  # never ours to set back, and refused in a transaction
        return b"SET " + b",".join(
            b"@@SESSION.%s=%s" % (name, literal(value)) for name, value in sorted(values.items())
        )

    def view(self, changes: Iterable[SessionChange], together: bool) -> bytes | None:
        """The session state that the client is to see; None for none, and no flag for it."""
        return build_session_track(filter(self._wants, changes), False) or None

    def switched(self, name: bytes, written: bytes, mariadb: bool) -> tuple[SessionChange, ...]:
        """What SET session_track_... = `written` tells in its own OK, because it is on now."""
        wanted, before = written.strip(b"\"'").upper(), self._value(name).upper()
        told = []
        if name == STATE_CHANGE and mariadb and wanted in ON and before not in ON:
            told.append(SessionChange(TrackedKind.STATE_CHANGE, b"", b"1"))
        if name == TRANSACTION_INFO and mariadb and wanted in STATES and before not in STATES:
            told.append(SessionChange(TrackedKind.TRANSACTION_STATE, b"", NO_STATE))
        if name == TRANSACTION_INFO and wanted in CHARACTERISTICS:
            told.append(SessionChange(TrackedKind.TRANSACTION_CHARACTERISTICS, b"", b""))
        return tuple(told)

    def flags(self, name: bytes, written: bytes) -> bool:
        """Whether MySQL's OK to SET session_track_... has the flag of session state, if empty."""
        return name == TRANSACTION_INFO and written.strip(b"\"'").upper() in STATES

    def _value(self, name: bytes) -> bytes:
        return self.values.get(name, self._defaults.get(name, b"OFF"))

    def _choose(self) -> None:
        names = self._value(SYSTEM_VARIABLES).lower().split(b",")
        self._names = frozenset(name.strip() for name in names)
        info = self._value(TRANSACTION_INFO).upper()
        kinds = {
            TrackedKind.SCHEMA: self._value(SCHEMA).upper() in ON,
            TrackedKind.STATE_CHANGE: self._value(STATE_CHANGE).upper() in ON,
            TrackedKind.GTIDS: self._value(GTIDS).upper() not in (b"OFF", b"0"),
            TrackedKind.TRANSACTION_STATE: info in STATES,
            TrackedKind.TRANSACTION_CHARACTERISTICS: info in CHARACTERISTICS,
        }
        self._kinds = frozenset(kind for kind, wanted in kinds.items() if wanted)

    def _wants(self, change: SessionChange) -> bool:
        if change.kind == TrackedKind.SYSTEM_VARIABLES:
            return b"*" in self._names or change.name.lower() in self._names
        return change.kind in self._kinds
