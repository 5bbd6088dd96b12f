# SPDX-License-Identifier: Apache-2.0
"""What is learned of a server once, and what sessions begin with there; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.settings import Charset, Settings

__all__ = [
    "COLLATIONS",
    "Facts",
]

COLLATIONS = (
    b"SELECT id, character_set_name, collation_name FROM information_schema.collations"
    b" WHERE id IS NOT NULL"
)
# Tells in every OK what is no state of the session, or cannot be carried over by its value.
UNTRACKED = frozenset({b"statement_id", b"last_gtid", b"gtid_seq_no", b"rand_seed1", b"rand_seed2"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What was learned of a server, once."""

    collations: dict[int, Charset]
    default: Charset
    """For a client whose collation the server does not know."""
    tracking: bytes
    """Statement that switches session tracking on; b"" where there is none."""
    client_tracking: dict[bytes, bytes]
    """session_track_* as a client without the proxy would have them."""
    sql_mode: bytes = b""
    mysql: bool = False
    """MySQL rather than MariaDB."""
    variables: frozenset[bytes] = frozenset()
    """Names of the session's system variables."""

    QUESTIONS: ClassVar[tuple[bytes, ...]] = (
        COLLATIONS,
        b"SELECT @@global.character_set_client, @@global.character_set_results,"
        b" @@global.collation_connection",
        b"SHOW SESSION VARIABLES",
        b"SHOW GLOBAL VARIABLES LIKE 'session\\_track%'",
        b"SELECT @@global.sql_mode, @@version",
    )
    WIDTHS: ClassVar[tuple[int, ...]] = (3, 3, 2, 2, 2)

    @classmethod
    def learn(cls, answers: list[list[tuple[bytes | None, ...]] | None], tracked: bool) -> Facts:
        """From the answers to QUESTIONS; None where one was refused.

        Rows of another width than was asked for teach nothing: not every backend is a MySQL.
        """
        collations, default, variables, client, modes = (
            [row for row in answer or () if len(row) == width]
            for answer, width in zip(answers, cls.WIDTHS, strict=True)
        )
        table = {
            int(number): Charset(charset or b"", charset, collation or b"", collation or b"")
            for number, charset, collation in collations
            if number and number.isdigit()
        }
        names = [name for name, _ in variables if name and name not in UNTRACKED]
        tracking = b""
        if tracked and names:
            tracking = (
                b"SET SESSION session_track_schema=ON, session_track_state_change=ON,"
                b" session_track_transaction_info='CHARACTERISTICS',"
                b" session_track_system_variables='%s'" % b",".join(names)
            )
        fallback = Charset(b"utf8mb4", b"utf8mb4", b"utf8mb4_general_ci")
        if default:
            client_set, results, collation = default[0]
            fallback = Charset(client_set or b"", results, collation or b"")
        shown = {name: value for name, value in client if name and value is not None}
        sql_mode, version = modes[0] if modes else (b"", b"")
        mysql = b"mariadb" not in (version or b"").lower()
        known = frozenset(name for name, _ in variables if name)
        return cls(table, fallback, tracking, shown, sql_mode or b"", mysql, known)

    def charset(self, number: int) -> Charset:
        """What a login with that collation id sets."""
        return self.collations.get(number, self.default)

    def first_settings(self, login: LoginResult, changes: bool) -> Settings:
        """What a session begins with; `changes`: by COM_CHANGE_USER, where MariaDB forgets that
        the client ignores spaces.

        IGNORE_SPACE is set by its name: as a capability of backend connections it would be
        lost by a reset (MariaDB), or by `sql_mode = DEFAULT`.
        """
        settings = Settings.make(login.database, self.charset(login.charset))
        agreed, _ = split(login.capabilities)
        modes = self.sql_mode.split(b",") if self.sql_mode else []
        ignores = Capability.IGNORE_SPACE in agreed and not (changes and not self.mysql)
        if ignores and b"IGNORE_SPACE" not in modes:
            modes.insert(0, b"IGNORE_SPACE")
            settings = settings.with_variables({b"sql_mode": b",".join(modes)})
        return settings

    def isolated(self, settings: Settings, level: bytes) -> Settings:
        """`settings` with this transaction isolation ("READ-COMMITTED")."""
        known = b"transaction_isolation" if self.mysql else b"tx_isolation"
        return settings.with_variables({known: level})
