# SPDX-License-Identifier: Apache-2.0
"""Who is connected and what they do: stats_mysql_processlist, stats_mysql_users, stats_hproxy_pins.

state of the session     command told
idle                     Sleep, and for how long
waiting                  Connect: for a backend connection, since when
command, response, ...   by the command: Query, Execute, Prepare, ...; how long it has taken
no session yet           Connect: a login
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from hproxy.runtime.tables.connections import place
from hproxy.session.internal import session_info
from hproxy.session.registry import Connection

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["pins", "processlist", "users"]

COMMANDS = {
    0x02: "Init DB",
    0x03: "Query",
    0x04: "Field List",
    0x09: "Statistics",
    0x0C: "Kill",
    0x0E: "Ping",
    0x11: "Change user",
    0x12: "Binlog Dump",
    0x16: "Prepare",
    0x17: "Execute",
    0x18: "Long Data",
    0x19: "Close stmt",
    0x1A: "Reset stmt",
    0x1B: "Set option",
    0x1C: "Fetch",
    0x1F: "Reset connection",
}


def processlist(runtime: Runtime) -> list[tuple[Any, ...]]:
    """A row per client, by its id."""
    variables = runtime.services.variables
    extended = variables.number("mysql-show_processlist_extended")
    idle = variables.flag("mysql-session_idle_show_processlist")
    rows = (
        _row(runtime, connection, extended)
        for connection in runtime.services.registry
        if idle or connection.session is None or connection.session.state != "idle"
    )
    return sorted(rows, key=lambda row: int(row[1]))


def _row(runtime: Runtime, connection: Connection, extended: int) -> tuple[Any, ...]:
    session = connection.session
    backend, _ = connection.where()
    host, _, port = connection.peer.rpartition(":")
    local: tuple[Any, ...] = (None, None)
    server: tuple[Any, ...] = (None, None)
    hostgroup = connection.account.hostgroup if connection.account is not None else None
    if backend is not None:
        hostgroup = backend.hostgroup
        server = place(backend)
        local = _local(session)
    command, time_ms, info, flags = "Connect", 0, None, 0
    user = schema = ""
    if session is not None:
        command, time_ms, info = _doing(
            connection, runtime.services.variables.number("mysql-processlist_max_query_length")
        )
        user, schema = who(connection)
        flags = int(getattr(session, "status", session.scanner.status))
    told = None
    if extended:
        told = orjson.dumps(
            session_info(runtime.services, connection),
            option=orjson.OPT_INDENT_2 if extended > 1 else 0,
        ).decode()
    return (
        0, connection.id, user, schema, host.strip("[]") or connection.host,
        int(port) if port.isdigit() else 0, hostgroup, *local, *server,
        command, time_ms, info, flags, told,
    )  # fmt: skip


def who(connection: Connection) -> tuple[str, str]:
    """User and schema of a session."""
    session, login = connection.session, connection.login
    user = login.user if login is not None else b""
    settings = getattr(session, "settings", None)
    schema = settings.schema if settings is not None else login.database if login else b""
    return _text(user), _text(schema)


def _local(session: Any) -> tuple[Any, ...]:
    """The address we speak to the backend from."""
    backend = getattr(session, "backend", None)
    if backend is None or backend.fd < 0:
        return (None, None)
    with socket.socket(fileno=os.dup(backend.fd)) as copy:
        name = copy.getsockname()
    return name[:2] if isinstance(name, tuple) else (str(name), 0)


def _doing(connection: Connection, info_bytes: int) -> tuple[str, int, str | None]:
    """What it is doing, for how many milliseconds, and the statement."""
    session = connection.session
    now, state = monotonic(), session.state
    if state == "idle":
        since = session.began
        if session.idle_timeout and session.client.deadline:
            since = session.client.deadline - session.idle_timeout
        return "Sleep", _ms(now - since) if since else 0, None
    began = session.waiting_since if state == "waiting" else session.began
    running = getattr(session, "running", b"")
    info = _text(running[:info_bytes]) if running else None
    command = "Connect" if state == "waiting" else COMMANDS.get(session.command, "Query")
    return command, _ms(now - began), info


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def users(runtime: Runtime) -> list[tuple[Any, ...]]:
    """Sessions of each account, and how many it may have."""
    return sorted(
        (_text(account.username), account.sessions, account.max_connections)
        for account in runtime.services.users
    )


def pins(runtime: Runtime) -> list[tuple[Any, ...]]:
    """Why sessions keep their connections: a row for each session and reason."""
    services = runtime.services
    now = datetime.now(UTC)
    found = []
    for row in runtime.port.pins():
        connection = services.registry.find(row["session"])
        if connection is None or connection.session is None:
            continue
        backend, _ = connection.where()
        user, schema = who(connection)
        since = now - timedelta(seconds=row["seconds"])
        found.append(
            (
                row["session"], user, schema, backend.hostgroup if backend is not None else 0,
                *(place(backend) if backend is not None else (None, None)), row["reason"],
                since.strftime("%Y-%m-%d %H:%M:%S"), int(row["seconds"]), row["statement"],
                ENDS.get(row["reason"], ""),
            )
        )  # fmt: skip
    return found


ENDS = {
    "TRANSACTION": "COMMIT or ROLLBACK",
    "TEMP_TABLE": "DROP TEMPORARY TABLE",
    "USER_LOCK": "RELEASE_LOCK() or RELEASE_ALL_LOCKS()",
    "TABLE_LOCK": "UNLOCK TABLES",
    "OPEN_CURSOR": "read the last row, reset or close the statement",
    "LONG_DATA": "execute, reset or close the statement",
    "FOUND_ROWS": "the next statement",
    "WARNINGS": "the next statement",
    "LOCAL_INFILE": "the end of the file",
    "NEXT_TRANSACTION": "the end of the next transaction",
    "HANDLER": "HANDLER ... CLOSE",
    "XA": "XA COMMIT or XA ROLLBACK",
    "SESSION_MODE": "the end of the session: its hostgroup does not multiplex",
} | dict.fromkeys(
    ("ROUTINE", "UNTRACKABLE_SET", "UNTRACKABLE_STATE", "UNKNOWN_COMMAND", "WIDE_STATEMENT"),
    "COM_RESET_CONNECTION or COM_CHANGE_USER",
)
"""What frees a connection of each reason."""


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
