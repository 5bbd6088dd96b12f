# SPDX-License-Identifier: Apache-2.0
"""Statements of sessions that keep one backend connection, on record.

    session.notes ── of all, or of slow ones ──> noted ── rules say `log`? ──> Journal
      └ None: nothing is on record, and nothing of this runs

Rules decide here only what is logged: these sessions go where they are. Accounts with fast_forward
leave no statements, as nothing of theirs is looked at.
"""

from __future__ import annotations

from typing import Any

from hproxy.errors import HProxyError
from hproxy.routing.rules import Question, RuleSet
from hproxy.session.registry import Connection
from hproxy.session.ruling import local
from hproxy.session.services import Services
from hproxy.telemetry.digests import digest_id
from hproxy.telemetry.journal import Journal, Statement
from hproxy.telemetry.redact import shown

__all__ = ["Noting", "text_of"]

INIT_DB, QUERY = 0x02, 0x03
EVENTS = {QUERY: "COM_QUERY"}
EXECUTED = "COM_STMT_EXECUTE"


def text_of(services: Services, payload: bytes, connection: Connection) -> bytes:
    """The statement of a COM_QUERY; empty where its attributes are cut off."""
    assert connection.login is not None
    try:
        sql: bytes = services.protocol.multiplexing.statement_text(payload, connection.login)
    except HProxyError:
        return b""
    return sql


class Noting:
    """Which sessions are to tell what, and what is made of it."""

    def __init__(self, services: Services, journal: Journal) -> None:
        self._services = services
        self._journal = journal
        self._rules = RuleSet()
        self._asks_rules = False

    def use(self, rules: RuleSet) -> None:
        """These hold where no sessions share connections; then theirs do."""
        self._rules = rules

    def attend(self) -> None:
        """Options or rules have changed: all sessions are told."""
        self._asks_rules = any("log" in rule.outcome for rule in self._held.rules)
        for connection in self._services.registry:
            if connection.session is not None and not connection.pooled:
                self.begin(connection)

    @property
    def _held(self) -> RuleSet:
        shared = self._services.multiplex
        return self._rules if shared is None else shared.rules

    def begin(self, connection: Connection) -> None:
        """This session is to tell what is on record, or nothing."""
        journal, session = self._journal, connection.session
        options = journal.options
        everything = journal.logging and (options.eventslog_default_log or self._asks_rules)
        slow_ns = round(options.long_query_time * 1e9) if journal.telling_slow else 0
        account = connection.account
        if not (everything or slow_ns) or (account is not None and account.fast_forward):
            session.notes = None
        elif session.notes is None:
            session.notes = self._services.protocol.multiplexing.Notes(everything, slow_ns)
        else:  # it knows the texts of prepared statements
            session.notes.all, session.notes.slow_ns = everything, slow_ns

    def changed(self, connection: Connection) -> None:
        """It is another user's from now on."""
        connection.schema = None
        self.begin(connection)

    def noted(self, session: Any, payload: bytes, ns: int) -> None:
        """A statement was answered."""
        try:
            self._record(session, session.tag, payload, ns)
        except Exception as error:  # the answer is the client's, record or not
            session.tag.log.error("statement not recorded", code="internal", exc_info=error)

    def _record(self, session: Any, connection: Connection, payload: bytes, ns: int) -> None:
        mysql, scanner = self._services.protocol.multiplexing, session.scanner
        if payload[0] == INIT_DB:
            if not scanner.errored:
                connection.schema = payload[1:]
            return
        number: int | None = None
        text: bytes | None
        if payload[0] == QUERY:
            text = text_of(self._services, payload, connection)
        else:
            number, text = session.notes.statement(payload)
        text = text or b""
        slow = 0 < session.notes.slow_ns <= ns
        digest = mysql.digest(text)
        before = self._schema(connection)
        if text[:4].upper() == b"USE " and not scanner.errored:
            connection.schema = mysql.used_schema(text, 0) or connection.schema
        log = session.notes.all and self._logs(session, connection, text, digest, before)
        if not log and not slow:
            return
        backend = connection.backend
        found = Statement(
            thread_id=connection.id,
            event=EVENTS.get(payload[0], EXECUTED),
            username=self._user(connection).decode("utf-8", "backslashreplace"),
            schemaname=before.decode("utf-8", "backslashreplace"),
            client=connection.peer,
            hostgroup_id=-1 if backend is None else backend.hostgroup,
            server=str(backend),
            query=shown(text),
            digest=digest_id(digest),
            duration_us=ns // 1000,
            rows_sent=scanner.rows,
            rows_affected=scanner.affected if scanner.affected >= 0 else None,
            last_insert_id=scanner.insert_id,
            errno=scanner.error if scanner.errored else 0,
            client_stmt_id=number,
        )
        self._journal.statement(found, log=log, slow=slow)

    def _logs(
        self, session: Any, connection: Connection, text: bytes, digest: bytes, schema: bytes
    ) -> bool:
        """Whether rules want it logged, or the option where they say nothing."""
        rules = self._held
        default: bool = self._journal.options.eventslog_default_log
        if not self._asks_rules:
            return default
        address, port = local(connection, session) if rules.asks_proxy else ("", 0)
        verdict = rules.judge(
            Question(
                user=self._user(connection),
                schema=schema,
                text=text,
                digest_text=digest,
                digest=self._services.protocol.multiplexing.stable_hash(digest),
                client=connection.host if rules.asks_client else "",
                proxy_addr=address,
                proxy_port=port,
            )
        )
        return default if verdict.log is None else bool(verdict.log)

    @staticmethod
    def _user(connection: Connection) -> bytes:
        if connection.account is not None:
            return connection.account.username
        return b"" if connection.login is None else connection.login.user

    @staticmethod
    def _schema(connection: Connection) -> bytes:
        if connection.schema is not None:
            return connection.schema
        return b"" if connection.login is None else connection.login.database
