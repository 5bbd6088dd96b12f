# SPDX-License-Identifier: Apache-2.0
"""The firewall in the name of a session: statements are judged with their decision.

    decision made ── judge ── allow ──> as ever
                         ├── detect ──> as ever; told once per decision
                         └── block ───> BLOCKED | SLOW: the driver answers, no backend sees it

Nothing is asked while it is off. `swap` puts another in its place; sessions stay.
"""

from __future__ import annotations

from typing import Any

from hproxy.errors import RouteError
from hproxy.routing.firewall import Firewall, Judgement
from hproxy.session.registry import Connection
from hproxy.session.ruling import decide_anew
from hproxy.session.services import Services
from hproxy.telemetry.digests import digest_id

__all__ = ["Screening", "swap_firewall"]


class Screening:
    """Judges statements by the firewall of now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self.detected = 0
        """Decisions about statements that are not listed, of accounts that may run them."""
        self.blocked = 0
        """Statements that were not run."""

    def flags(self, session: Any, connection: Connection, digest: bytes) -> int:
        """For a decision: what it must have to be obeyed, 0 for nothing."""
        firewall = self._services.firewall
        if not firewall.enabled or not digest:
            return 0
        account = connection.account
        assert account is not None
        shown = digest_id(digest)
        judgement = firewall.judge(
            account.username,
            connection.host,
            session.settings.schema,
            getattr(session, "flag_in", 0),
            int(shown, 16),
        )
        if judgement is Judgement.ALLOW:
            return 0
        blocked = judgement is Judgement.BLOCK
        connection.log.warning(
            "firewall blocks a statement" if blocked else "firewall detected a statement",
            code="route.firewall",
            user=account.username.decode("utf-8", "replace"),
            schema=session.settings.schema.decode("utf-8", "replace"),
            digest=shown,
            digest_text=digest.decode("utf-8", "replace"),
        )
        if not blocked:
            self.detected += 1
            return 0
        return int(self._mysql.BLOCKED | self._mysql.Trait.SLOW)

    def refusal(self, decision: Any) -> bytes | None:
        """What a client reads instead of running a statement; None: it may run."""
        if decision is None or not decision.flags & self._mysql.BLOCKED:
            return None
        self.blocked += 1
        error = RouteError(self._services.firewall.errormsg, code="firewall")
        packet: bytes = self._services.protocol.error_packet(error)
        return packet


def swap_firewall(services: Services, firewall: Firewall) -> None:
    """From now on this one holds, for statements prepared before as well."""
    services.firewall = firewall
    if services.multiplex is not None:
        decide_anew(services)
