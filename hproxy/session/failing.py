# SPDX-License-Identifier: Apache-2.0
"""Errors of backends, written down with whom they met (stats_mysql_errors).

note_error          an ERR to a client's statement
note_unreachable    a connection that could not be opened, or a login that was refused
"""

from __future__ import annotations

from hproxy.errors import HProxyError
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.telemetry.clock import unix_time
from hproxy.telemetry.failures import FailureKey
from hproxy.topology import Backend

__all__ = ["note_error", "note_unreachable"]

CANNOT_CONNECT = 2003
LOST = 2013


def note_error(
    services: Services,
    backend: Backend,
    connection: Connection | None,
    schema: bytes,
    number: int,
    text: str,
) -> None:
    """One error with this number and text; of a connection of our own without a client."""
    account = connection.account if connection is not None else None
    user = account.username if account is not None else b""
    tracked = services.track_hosts and connection is not None
    key = FailureKey(
        backend.hostgroup,
        backend.path or backend.host,
        0 if backend.path else backend.port,
        user.decode("utf-8", "backslashreplace"),
        connection.host if tracked and connection is not None else "",
        schema.decode("utf-8", "backslashreplace"),
        number,
    )
    services.failures.note(key, text, unix_time())


def note_unreachable(
    services: Services, backend: Backend, connection: Connection | None, failure: HProxyError
) -> None:
    """It could not be reached, or did not let us in: with its own number if it gave one."""
    number = failure.facts.get("number")
    if not isinstance(number, int) or not number:
        number = LOST if failure.full_code.startswith("backend") else CANNOT_CONNECT
    note_error(services, backend, connection, b"", number, str(failure))
