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
        for reason in services.protocol.multiplexing.reasons(session.pins, session.in_transaction):
            held = session.held
            rows.append(
                {
                    "reason": reason,
                    "session": connection.id,
                    "user": connection.login.user if connection.login else b"",
                    "backend": str(held.bucket.server.backend) if held is not None else "",
                    "seconds": monotonic() - session.pinned_since if session.pinned_since else 0.0,
                    "statement": session.pinned_by or b"",
                }
            )
    return rows
