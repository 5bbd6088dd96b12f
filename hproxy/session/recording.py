# SPDX-License-Identifier: Apache-2.0
"""What sessions leave on record: statements when they were answered, and who came and went.

    multiplexed ──── LOGGED decision, or slower than Watch.slow_ns ───> recorded ─┐
    session with a connection of its own ── noting.py ────────────────────────────┤
    login, refusal, end, change of user ──> came, refused, went, changed ─────────┴──> Journal

None of it runs unless something is to be recorded; what goes wrong here costs the record only.
"""

from __future__ import annotations

from typing import Any

from hproxy.errors import HProxyError
from hproxy.session.noting import Noting, text_of
from hproxy.session.registry import Connection
from hproxy.session.ruling import decide_anew
from hproxy.session.services import Services
from hproxy.telemetry.digests import digest_id
from hproxy.telemetry.journal import Journal, JournalOptions, Statement
from hproxy.telemetry.numbered_file import Share
from hproxy.telemetry.redact import shown

__all__ = ["Recorder"]

EVENTS = {0x03: "COM_QUERY", 0x17: "COM_STMT_EXECUTE", 0xFA: "COM_STMT_EXECUTE"}


class Recorder:
    """Tells the journal of the sessions of a worker."""

    def __init__(self, services: Services, share: Share = Share.ALONE) -> None:
        """`share`: whether other processes write to the same files."""
        self._services = services
        self.journal = Journal(self._trouble, share)
        self.noting = Noting(services, self.journal)
        """Statements of sessions with a backend connection of their own."""

    def configure(self, options: JournalOptions) -> None:
        """Raises ConfigError when a file cannot be opened; then all stays as it was."""
        before = self.journal.logging and self.journal.options.eventslog_default_log
        self.journal.configure(options)
        self.noting.attend()
        if self._services.multiplex is None:
            return
        self.attend()
        if (self.journal.logging and options.eventslog_default_log) != before:
            decide_anew(self._services)

    def attend(self) -> None:
        """Sessions that share backend connections are to tell what is slow."""
        watch = self._services.sharing.watch
        watch.slow_ns = round(self.journal.options.long_query_time * 1e9)
        watch.tell = self.journal.telling_slow

    def _trouble(self, file: str, reason: str, lines: int) -> None:
        self._services.log.error("log lines are lost", file=file, reason=reason, lines=lines)

    def flags(self, wanted: bool | None) -> int:
        """For a decision: LOGGED or 0. `wanted` is what rules say of `log`, None for nothing."""
        journal = self.journal
        if not journal.logging:
            return 0
        logged = journal.options.eventslog_default_log if wanted is None else wanted
        return int(self._services.protocol.multiplexing.LOGGED) if logged else 0

    # -- statements ------------------------------------------------------------------

    def recorded(
        self, session: Any, decision: Any, statement: Any, payload: bytes | None, ns: int,
        slow: bool,
    ) -> None:  # fmt: skip
        """A statement was answered; its connection is still in hand."""
        try:
            found = self._statement(session, decision, statement, payload, ns)
        except Exception as error:  # the answer is the client's, record or not
            session.tag.log.error("statement not recorded", code="internal", exc_info=error)
            return
        log = bool(decision.flags & self._services.protocol.multiplexing.LOGGED)
        self.journal.statement(found, log=log, slow=slow)

    def _statement(
        self, session: Any, decision: Any, statement: Any, payload: bytes | None, ns: int
    ) -> Statement:
        connection: Connection = session.tag
        server, scanner = session.held.bucket.server, session.scanner
        text = decision.text
        if statement is not None:
            text = statement.statement.text
        elif payload is not None and payload[:1] == b"\x03":
            text = text_of(self._services, payload, connection) or text
        rows = scanner.rows
        return Statement(
            thread_id=connection.id,
            event=EVENTS.get(session.command, f"COM_0x{session.command:02X}"),
            username=_user(connection),
            schemaname=_schema(connection),
            client=connection.peer,
            hostgroup_id=server.backend.hostgroup,
            server=str(server.backend),
            query=shown(text, session.modes),
            digest=digest_id(decision.text),
            duration_us=ns // 1000,
            rows_sent=rows,
            rows_affected=scanner.affected if scanner.affected >= 0 else None,
            last_insert_id=scanner.insert_id,
            errno=scanner.error if scanner.errored else 0,
            client_stmt_id=None if statement is None else statement.client_id,
        )

    # -- who came and went -------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """Logged in."""
        if self.journal.auditing:
            self._audit("MySQL_Client_Connect_OK", connection)

    def refused(self, connection: Connection, error: HProxyError) -> None:
        """Not let in, and why; the name is what was claimed."""
        if self.journal.auditing:
            user = str(error.facts.get("user") or "")
            extra = f"{error.full_code}: {error}"
            self._audit("MySQL_Client_Connect_ERR", connection, username=user, extra_info=extra)

    def changed(self, connection: Connection, error: HProxyError | None = None) -> None:
        """COM_CHANGE_USER, done or refused."""
        if not self.journal.auditing:
            return
        if error is None:
            self._audit("MySQL_Client_Change_User_OK", connection)
            return
        extra = f"{error.full_code}: {error}"
        self._audit("MySQL_Client_Change_User_ERR", connection, extra_info=extra)

    def used(self, connection: Connection, schema: bytes) -> None:
        """COM_INIT_DB."""
        if self.journal.auditing:
            name = schema.decode("utf-8", "backslashreplace")
            self._audit("MySQL_Client_Init_DB", connection, schemaname=name)

    def went(self, connection: Connection, reason: str) -> None:
        """The session ended."""
        if not self.journal.auditing:
            return
        if reason == "quit":
            self._audit("MySQL_Client_Quit", connection)
        since = connection.since
        self._audit("MySQL_Client_Close", connection, extra_info=reason, since=since)

    def _audit(self, event: str, connection: Connection, **more: Any) -> None:
        self.journal.audit(
            event,
            thread_id=connection.id,
            client_addr=connection.peer,
            ssl=connection.client_secure,
            **{"username": _user(connection), "schemaname": _schema(connection)} | more,
        )


def _user(connection: Connection) -> str:
    if connection.account is not None:
        return connection.account.username.decode("utf-8", "backslashreplace")
    login = connection.login
    return "" if login is None else login.user.decode("utf-8", "backslashreplace")


def _schema(connection: Connection) -> str:
    schema = getattr(getattr(connection.session, "settings", None), "schema", None)
    if schema is None:
        login = connection.login
        schema = b"" if login is None else login.database
    return bytes(schema).decode("utf-8", "backslashreplace")
