# SPDX-License-Identifier: Apache-2.0
"""Sessions that wait for a backend connection and get an error instead, which says why.

queue_full       as many wait as may
timed_out        none in time: 9001 with the milliseconds
connect_failed   none can be opened: what the backend said of it
"""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import PoolTimeout
from hproxy.session.lease import log_refused_replay
from hproxy.session.opening import StepRefused
from hproxy.session.pins import pin_rows
from hproxy.session.services import Services

__all__ = ["Waiting"]


class Waiting:
    """Ends waits that lead nowhere."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def queue_full(self, session: Any, group: Any) -> None:
        """As many wait as may."""
        error = PoolTimeout(
            "too many sessions wait", code="queue", hostgroup=group.key.hostgroup, waited_ms=0
        )
        self._services.counters.waits_in_vain += 1
        session.tag.log.warning("queue full", code=error.full_code, waiting=group.waiting)
        session.refuse(self._services.protocol.error_packet(error))

    def timed_out(self, session: Any) -> None:
        """No connection in time; the log says who has them."""
        group = session.waits_for
        self._services.counters.waits_in_vain += 1
        self._services.counters.connect_timeouts += 1
        waited = round((monotonic() - session.waiting_since) * 1000)
        error = PoolTimeout(hostgroup=group.key.hostgroup, waited_ms=waited)
        session.tag.log.warning(
            "no connection in time",
            code=error.full_code,
            hostgroup=group.key.hostgroup,
            waited_ms=waited,
            waiting=group.waiting,
            pools=[
                f"{bucket.server.backend}: {bucket.opened - bucket.idle} used, {bucket.idle} free,"
                f" {bucket.connecting} on their way; of {bucket.server.opened} in all,"
                f" {bucket.server.limit} allowed"
                for bucket in group.buckets
            ],
            pins=dict(Counter(row["reason"] for row in pin_rows(self._services))),
        )
        session.refuse(self._services.protocol.error_packet(error))

    def connect_failed(self, group: Any, error: BaseException, who: Any) -> bool:
        """A connection could not be opened; it was to be set up for `who`, if for anybody.

        Returns whether nothing but the state of that session was the reason."""
        services = self._services
        if isinstance(error, StepRefused):
            conn = who.tag.id if hasattr(who, "tag") else 0
            log_refused_replay(services.log, error, None, conn=conn)
            if who is not None and who.waits_for is group:
                self._refuse(who, error, error.packet)
            return True
        if isinstance(error, Refusal) and not group.has_connections:
            packet = error.packet or services.protocol.error_packet(error.error)
            for waiting in group.refuse_all():
                self._refuse(waiting, error, packet)
        return False

    def _refuse(self, who: Any, error: BaseException, packet: bytes) -> None:
        """A session, or code of ours that awaits a connection."""
        self._services.counters.waits_in_vain += 1
        if hasattr(who, "future"):
            who.withdraw()
            if not who.future.done():
                who.future.set_exception(error)
        else:
            who.refuse(packet)
