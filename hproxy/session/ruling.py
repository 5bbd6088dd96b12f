# SPDX-License-Identifier: Apache-2.0
"""Query rules in the name of a session: what they are asked, what their answers rest on, hits.

    account, kind, schema ─┐
    which rules there are ─┼─ salt ──> key of every decision, native
    class of the client  ──┤           and with it: next_query_flagIN, hints in the first comment
    class of the proxy's ──┘

`swap` puts other rules in the place of those that hold. Sessions stay; what was decided is
forgotten, and prepared statements, whose decisions hold for one salt, are decided again.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from hproxy.routing.rules import Question, RuleSet, Verdict, read_hints
from hproxy.session.registry import Connection
from hproxy.session.services import Multiplexing, Services

__all__ = ["Ruling", "decide_anew", "hits", "swap_rules"]

MOST_TALLIES = 10_000
MASK = 0xFFFFFFFFFFFFFFFF


class Ruling:
    """Asks the rules that hold now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing

    @property
    def _shared(self) -> Multiplexing:
        return self._services.sharing

    def judge(
        self, session: Any, connection: Connection, text: bytes, digest: bytes
    ) -> Verdict | None:
        """What rules and the first comment say of a statement; None: nothing."""
        rules: RuleSet = self._shared.rules
        comment = self._mysql.first_comment(text, session.modes) if b"/*" in text else b""
        if not rules.rules and not rules.fast_routes and not read_hints(comment)[1]:
            return None
        assert connection.account is not None
        verdict = rules.judge(
            self._question(
                connection,
                connection.account.username,
                session.settings.schema,
                text,
                digest,
                session.flag_in,
                comment,
                session,
            )
        )
        # That nothing was found in this text may be otherwise in the next.
        if verdict.plain and not (verdict.by_text or verdict.by_chance):
            return None
        return verdict

    def mirrored(
        self, session: Any, connection: Connection, text: bytes, digest: bytes, flag: int
    ) -> Verdict:
        """The same for the copy of a statement that goes elsewhere, from mirror_flagOUT on."""
        assert connection.account is not None
        user, schema = connection.account.username, session.settings.schema
        return self._shared.rules.judge(
            self._question(connection, user, schema, text, digest, flag, b"", session)
        )

    def home(self, connection: Connection, account: Any, schema: bytes, flag: int = 0) -> int:
        """The hostgroup of a session in `schema`: where that schema is looked for."""
        rules: RuleSet = self._shared.rules
        hostgroup: int = account.hostgroup
        if not rules.rules and not rules.fast_routes:
            return hostgroup
        text = b"USE `" + schema.replace(b"`", b"``") + b"`"
        found = rules.judge(
            self._question(connection, account.username, schema, text, text, flag)
        ).destination_hostgroup
        known = found is not None and self._services.topology.members(found)
        return found if found is not None and known else hostgroup

    def _question(
        self,
        connection: Connection,
        user: bytes,
        schema: bytes,
        text: bytes,
        digest: bytes,
        flag: int,
        comment: bytes = b"",
        session: Any = None,
    ) -> Question:
        rules: RuleSet = self._shared.rules
        address, port = local(connection, session) if rules.asks_proxy else ("", 0)
        return Question(
            user=user,
            schema=schema,
            text=text,
            digest_text=digest,
            digest=self._mysql.stable_hash(digest),
            flag=flag,
            client=connection.host if rules.asks_client else "",
            proxy_addr=address,
            proxy_port=port,
            comment=comment,
        )

    def tally(self, verdict: Verdict | None) -> Any:
        """Counts how often just these rules match; None where none did."""
        if verdict is None or not verdict.rules:
            return None
        tallies = self._shared.tallies
        found = tallies.get(verdict.rules)
        if found is None:
            if len(tallies) >= MOST_TALLIES:
                fold(self._services)
            found = tallies[verdict.rules] = self._mysql.Tally(verdict.rules)
        return found

    def salt(self, session: Any, connection: Connection) -> int:
        """What the decisions of a session rest on besides the text and its flagIN."""
        shared = self._shared
        rules: RuleSet = shared.rules
        account = connection.account
        assert account is not None
        parts: tuple[object, ...] = (
            # The row of a session that logged in before it changed may say other things.
            (account.username, account.hostgroup, account.transaction_persistent),
            connection.kind,
            session.settings.schema,
            shared.rules_serial,
        )
        firewall = self._services.firewall
        if firewall.enabled:
            parts = (*parts, firewall.client_class(account.username, connection.host))
        if self._services.track_hosts:
            parts = (*parts, connection.host)
        elif rules.asks_client:
            parts = (*parts, rules.client_class(connection.host))
        if rules.asks_proxy:
            parts = (*parts, rules.proxy_class(*local(connection, session)))
        return hash(parts) & MASK


def local(connection: Connection, session: Any = None) -> tuple[str, int]:
    """The address the client has connected to; ("", 0) for a socket in the file system."""
    if connection.local is None and session is not None and session.client.fd >= 0:
        copy = os.dup(session.client.fd)
        with socket.socket(fileno=copy) as asked:
            name = asked.getsockname()
        connection.local = (name[0], name[1]) if isinstance(name, tuple) else ("", 0)
    return connection.local or ("", 0)


def swap_rules(services: Services, rules: RuleSet) -> None:
    """From now on these rules hold. Their hits count from 0."""
    shared = services.sharing
    shared.rules = rules
    shared.tallies, shared.folded = {}, {}
    decide_anew(services)


def decide_anew(services: Services) -> None:
    """Forget all decisions: options, rules or hostgroups they were made by have changed."""
    shared = services.sharing
    shared.rules_serial += 1
    services.precision = 1.0
    services.keep_deadlines(1.0)
    shared.decisions.clear()
    shared.known_schemas.clear()
    for told in shared.on_decide_anew:
        told()
    ruling = Ruling(services)
    for connection in services.registry:
        session = connection.session
        if connection.pooled and session is not None:
            session.set_salt(ruling.salt(session, connection))


def fold(services: Services) -> None:
    """Rules have matched in too many combinations to be counted for each: begin anew."""
    shared = services.sharing
    shared.folded = hits(services)
    shared.tallies.clear()
    decide_anew(services)  # what is decided counts on tallies that nobody reads any more


def hits(services: Services) -> dict[int, int]:
    """By rule_id: statements it has matched since these rules hold."""
    shared = services.sharing
    found = {rule.rule_id: 0 for rule in shared.rules.rules} | shared.folded
    for tally in shared.tallies.values():
        for rule_id in tally.rules:
            found[rule_id] = found.get(rule_id, 0) + tally.count
    return found
