# SPDX-License-Identifier: Apache-2.0
"""Prepared statements: those of the cache, and how many clients and connections have each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from hproxy.telemetry.digests import digest_id

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["Prepared", "prepared", "rows"]


class Prepared(NamedTuple):
    """Who has statements: by statement, how many of them."""

    clients: Counter[Any]
    servers: Counter[Any]


def prepared(runtime: Runtime) -> Prepared:
    """Counted now, over all sessions and connections."""
    clients: Counter[Any] = Counter()
    servers: Counter[Any] = Counter()
    for connection in runtime.services.registry:
        session = connection.session
        if connection.pooled and session is not None and session.statements is not None:
            clients.update(entry.statement for entry in session.statements.entries())
    for pooled in _connections(runtime):
        servers.update(entry.statement for entry in pooled.statements.entries())
    return Prepared(clients, servers)


def _connections(runtime: Runtime) -> Iterator[Any]:
    shared = runtime.services.multiplex
    if shared is None:
        return
    for bucket in shared.pools:
        yield from bucket.connections()
    for connection in runtime.services.registry:
        held = getattr(connection.session, "held", None)
        if held is not None:
            yield held


def rows(runtime: Runtime) -> list[tuple[Any, ...]]:
    """By number: id, schema, user, digest, clients, connections, columns, parameters, text."""
    shared = runtime.services.multiplex
    if shared is None:
        return []
    counts = prepared(runtime)
    found = []
    for statement in sorted(shared.statements.entries(), key=lambda each: each.number):
        user, _, context, *_ = statement.key
        digest = statement.decision.text if statement.decision is not None else statement.text
        found.append(
            (
                statement.number,
                context.schema.decode("utf-8", "backslashreplace"),
                user.decode("utf-8", "backslashreplace"),
                digest_id(digest),
                counts.clients[statement],
                counts.servers[statement],
                statement.columns,
                statement.params,
                statement.text.decode("utf-8", "backslashreplace"),
            )
        )
    return found
