# SPDX-License-Identifier: Apache-2.0
"""Bytes that sessions and pooled connections take: their objects, without what these share."""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["pool_bytes", "session_bytes"]


def session_bytes(runtime: Runtime) -> int:
    """Of all clients: connection, session, endpoint, scanner."""
    total = 0
    for connection in runtime.services.registry:
        total += getsizeof(connection) + getsizeof(connection.__dict__)
        session = connection.session
        if session is not None:
            total += getsizeof(session) + getsizeof(session.client) + getsizeof(session.scanner)
    return total


def pool_bytes(runtime: Runtime) -> int:
    """Of all pooled connections: connection, endpoint, its prepared statements."""
    shared = runtime.services.multiplex
    if shared is None:
        return 0
    return sum(_size(each) for bucket in shared.pools for each in bucket.connections())


def _size(connection: Any) -> int:
    size = getsizeof(connection) + getsizeof(connection.endpoint)
    return size + getsizeof(connection.statements)
