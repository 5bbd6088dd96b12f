# SPDX-License-Identifier: Apache-2.0
"""The report of pins: which session keeps its backend connection, why, since when."""

from __future__ import annotations

from time import monotonic
from typing import Any

from hproxy.session.services import Services

__all__ = ["pin_rows"]


def pin_rows(services: Services) -> list[dict[str, Any]]:
    """One row per session and reason; times in seconds."""
    rows = []
    for connection in services.registry:
        session = connection.session
        if session is None or not connection.pooled:
            continue
        multiplexing = services.protocol.multiplexing
        held = session.held
        # Of those that native code keeps by itself only the first statement is known.
        records = {
            record.reason.name: record
            for record in connection.follow.state.records
            if record.reason & multiplexing.STATE_PINS
        }
        for reason in multiplexing.reasons(session.pins, session.in_transaction):
            record = records.get(reason)
            since = record.since if record is not None else session.pinned_since
            by = record.statement if record is not None else session.pinned_by
            rows.append(
                {
                    "reason": reason,
                    "session": connection.id,
                    "user": connection.login.user if connection.login else b"",
                    "backend": str(held.bucket.server.backend) if held is not None else "",
                    "seconds": monotonic() - since if since else 0.0,
                    "statement": by or b"",
                }
            )
    return rows
