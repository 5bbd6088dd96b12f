# SPDX-License-Identifier: Apache-2.0
"""Backend connections: per server, per hostgroup, and each idle one.

    native Server ── queries, bytes, most used ──┐
    pool Count ───── opened, failed ─────────────┼──> stats_mysql_connection_pool
    Dedicated ────── sessions with their own ────┘

`_reset` twins do not touch the counters that totals are made of: what was shown is taken off
from then on.
"""

from __future__ import annotations

from collections import defaultdict
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from hproxy.topology import Backend

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["free", "hostgroups", "hostgroups_reset", "pool", "pool_reset"]

POOL = "stats_mysql_connection_pool"
HOSTGROUPS = "stats_mysql_hostgroup_connection_pool"


def place(backend: Backend) -> tuple[str, int]:
    """Name and port as tables show them; a socket has its path and port 0."""
    return (backend.path, 0) if backend.path else (backend.host, backend.port)


# -- per server ------------------------------------------------------------------


def pool(runtime: Runtime, since_reset: bool = True) -> list[tuple[Any, ...]]:
    """A row per backend and hostgroup, in the order of the configuration."""
    before = runtime.services.sources.taken_off.get(POOL, {}) if since_reset else {}
    services = runtime.services
    in_use, idle = _open(runtime)
    servers = services.multiplex.pools.servers if services.multiplex is not None else {}
    latencies = services.sources.latencies
    found = []
    for backend, counted in _counted(runtime).items():
        # One that was gone meanwhile has begun anew.
        opened, failed, queries, sent, received = (
            now - then if now >= then else now
            for now, then in zip(counted, before.get(backend, ZEROS), strict=True)
        )
        server = servers.get(backend)
        used = in_use[backend]
        most = server.most_used if server is not None else used
        host, port = place(backend)
        found.append(
            (
                backend.hostgroup, host, port, services.topology.status(backend).value,
                used, idle[backend], opened, failed, max(most, used), queries, 0, sent, received,
                latencies.get((host, port), 0),
            )
        )  # fmt: skip
    return found


ZEROS = (0, 0, 0, 0, 0)


def pool_reset(runtime: Runtime) -> list[tuple[Any, ...]]:
    """The same; what grows starts at zero again."""
    found = pool(runtime)
    services = runtime.services
    services.sources.taken_off[POOL] = dict(_counted(runtime))
    if services.multiplex is not None:
        for server in services.multiplex.pools.servers.values():
            server.most_used = server.used
    return found


def _open(runtime: Runtime) -> tuple[dict[Backend, int], dict[Backend, int]]:
    """Connections in use, and idle, by backend."""
    used: dict[Backend, int] = defaultdict(int)
    idle: dict[Backend, int] = defaultdict(int)
    shared = runtime.services.multiplex
    if shared is None:
        used |= runtime.services.topology.connections
        return used, idle
    for bucket in shared.pools:
        used[bucket.server.backend] += bucket.opened - bucket.idle
        idle[bucket.server.backend] += bucket.idle
    return used, idle


def _counted(runtime: Runtime) -> dict[Backend, tuple[int, ...]]:
    """(opened, failed, queries, bytes sent, bytes received) since the start."""
    services = runtime.services
    found: dict[Backend, list[int]] = {}
    for backend in services.topology.backends:
        done = services.counters.at(backend)
        found[backend] = [
            done.opened, done.failed, done.commands, done.bytes_sent, done.bytes_received,
        ]  # fmt: skip
    shared = services.multiplex
    if shared is not None:
        for backend, server in shared.pools.servers.items():
            if backend in found:
                count = shared.pools.counts[backend]
                more = (
                    count.opened, count.failed, server.queries,
                    server.bytes_sent, server.bytes_received,
                )  # fmt: skip
                found[backend] = [a + b for a, b in zip(found[backend], more, strict=True)]
    else:
        for connection in services.registry:
            session = connection.session
            if session is not None and connection.backend in found:
                row = found[connection.backend]
                row[2] += session.commands
                row[3] += session.backend.bytes_out
                row[4] += session.backend.bytes_in
    return {backend: tuple(numbers) for backend, numbers in found.items()}


# -- per hostgroup ---------------------------------------------------------------


def hostgroups(runtime: Runtime, since_reset: bool = True) -> list[tuple[Any, ...]]:
    """Connections given out, waits and their time in microseconds, and who waits now."""
    before = runtime.services.sources.taken_off.get(HOSTGROUPS, {}) if since_reset else {}
    return [
        (
            hostgroup,
            *(a - b for a, b in zip(counted, before.get(hostgroup, (0, 0, 0)), strict=True)),
            waiting,
        )
        for hostgroup, (counted, waiting) in sorted(_waits(runtime).items())
    ]


def hostgroups_reset(runtime: Runtime) -> list[tuple[Any, ...]]:
    """The same, from zero again."""
    found = hostgroups(runtime)
    runtime.services.sources.taken_off[HOSTGROUPS] = {
        hostgroup: counted for hostgroup, (counted, _) in _waits(runtime).items()
    }
    return found


def _waits(runtime: Runtime) -> dict[int, tuple[tuple[int, ...], int]]:
    services = runtime.services
    sums: dict[int, list[float]] = {b.hostgroup: [0, 0, 0, 0] for b in services.topology.backends}
    if services.multiplex is not None:
        pools = services.multiplex.pools
        groups = [(group.hostgroup, group) for group in pools.groups.values()]
        for group in pools.groups.values():
            sums.setdefault(group.hostgroup, [0, 0, 0, 0])[3] += group.waiting
        for hostgroup, did in (*groups, *pools.given.items()):
            row = sums.setdefault(hostgroup, [0, 0, 0, 0])
            row[0] += did.acquired
            row[1] += did.waited
            row[2] += did.wait_seconds
    return {
        hostgroup: ((int(got), int(waited), int(seconds * 1_000_000)), int(waiting))
        for hostgroup, (got, waited, seconds, waiting) in sums.items()
    }


# -- each idle one ---------------------------------------------------------------


def free(runtime: Runtime) -> list[tuple[Any, ...]]:
    """Idle connections, what they are set to and what they have done."""
    shared = runtime.services.multiplex
    if shared is None:
        return []
    now = monotonic()
    found = []
    for bucket in shared.pools:
        attributes = shared.pools.attributes[bucket.group.key.hostgroup]
        for connection in bucket.connections():
            variables = dict(connection.settings.variables)
            host, port = place(bucket.server.backend)
            statistics = {
                "age_ms": round((now - connection.opened_at) * 1000),
                "queries": connection.uses,
                "bytes_recv": connection.endpoint.bytes_in,
                "bytes_sent": connection.endpoint.bytes_out,
                "prepared_statements": connection.statements.count,
            }
            about = {
                "thread_id": connection.login.backend_id,
                "charset": connection.settings.charset.collation.decode("ascii", "replace"),
                "variables": {_text(name): _text(value) for name, value in variables.items()},
            }
            found.append(
                (
                    connection.endpoint.fd, bucket.group.key.hostgroup, host, port,
                    _text(bucket.group.key.account.username), _text(connection.settings.schema),
                    attributes.init_connect, _text(variables.get(b"time_zone", b"")),
                    _text(variables.get(b"sql_mode", b"")),
                    "OFF" if variables.get(b"autocommit") in (b"0", b"OFF") else "ON",
                    round((now - connection.used_at) * 1000),
                    orjson.dumps(statistics).decode(), orjson.dumps(about).decode(),
                )
            )  # fmt: skip
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
