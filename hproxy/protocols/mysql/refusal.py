# SPDX-License-Identifier: Apache-2.0
"""What clients read of our errors: the one table from error code to number and SQLSTATE.

Numbers are ProxySQL's where it has one, else the servers' own. `docs/errors.md` has a section
per code.
"""

from __future__ import annotations

from hproxy.errors import HProxyError
from hproxy.protocols.mysql.replies import ERR_HEADER, ErrPacket
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = ["REFUSALS", "error_packet", "read_error", "retryable"]

# code -> (number, SQLSTATE, text); {reason} and facts are filled in. A code without a row of
# its own is answered by the longest dotted prefix that has one.
REFUSALS: dict[str, tuple[int, bytes, str]] = {
    "auth": (
        1045,
        b"28000",
        "Access denied for user '{user}'@'{host}' (using password: {using_password})",
    ),
    "auth.backend": (1045, b"28000", "Access denied by the backend: {reason}"),
    "auth.rsa": (1045, b"28000", "Access denied: {reason}"),
    "client": (1043, b"08S01", "Bad handshake: {reason}"),
    "client.blocked": (
        1129,
        b"HY000",
        "Host '{host}' is blocked because of many failed logins; try again later",
    ),
    "client.limit": (1040, b"08004", "Too many connections"),
    "client.host": (
        1129,
        b"HY000",
        "Host '{host}' is blocked because of many connection errors;"
        " unblock with 'PROXYSQL FLUSH MYSQL CLIENT HOSTS'",
    ),
    "client.user_limit": (
        1226,
        b"42000",
        "User '{user}' has exceeded the 'max_user_connections' resource (current value: {current})",
    ),
    "client.malformed": (1043, b"08S01", "Bad handshake: {reason}"),
    "client.sequence": (1156, b"08S01", "Got packets out of order: {reason}"),
    "client.compression": (1157, b"08S01", "Couldn't uncompress communication packet: {reason}"),
    "client.oversized": (1153, b"08S01", "Got a packet bigger than allowed: {reason}"),
    "client.timeout": (1159, b"08S01", "Got timeout reading communication packets"),
    "client.transaction_idle": (
        1159,
        b"08S01",
        "Got timeout reading communication packets: silent in a transaction for {silent_ms} ms",
    ),
    "client.transaction_time": (
        1317,
        b"70100",
        "Query execution was interrupted: the transaction lasted {lasts_ms} ms",
    ),
    "client.statements": (
        1461,
        b"42000",
        "Can't create more than max_prepared_stmt_count statements: {reason}",
    ),
    "client.tls": (1043, b"08S01", "Bad handshake: {reason}"),
    "client.tls_required": (
        3159,
        b"HY000",
        "Connections using insecure transport are prohibited by hproxy (tls.client = required)",
    ),
    "client.kill_owner": (1095, b"HY000", "You are not owner of thread {id}"),
    "client.kill_other": (1094, b"HY000", "Cannot kill query {id}: {reason}"),
    "pool": (9002, b"HY000", "Max connect failure while reaching hostgroup {hostgroup}: {reason}"),
    "pool.connect": (
        9002,
        b"HY000",
        "Max connect failure while reaching hostgroup {hostgroup}: {reason}",
    ),
    "pool.timeout": (
        9001,
        b"HY000",
        "Max connect timeout reached while reaching hostgroup {hostgroup} after {waited_ms}ms",
    ),
    "route.firewall": (1148, b"42000", "{reason}"),
    "route.local_infile": (1047, b"HY000", "{reason}"),
    "route": (1047, b"08S01", "No route: {reason}"),
    "backend": (2013, b"HY000", "Lost connection to backend during query: {reason}"),
    "backend.lost": (2013, b"HY000", "Lost connection to backend during query: {reason}"),
    "backend.protocol.tls": (2026, b"HY000", "TLS connection to backend failed: {reason}"),
    "backend.protocol": (2027, b"HY000", "Malformed packet from backend: {reason}"),
    "backend.query_timeout": (
        1907,
        b"70100",
        "Query execution was interrupted, query_timeout exceeded",
    ),
    "shutdown": (1053, b"08S01", "Server shutdown in progress"),
    "internal": (1105, b"HY000", "Internal error in hproxy; its log has the details"),
}

# Errors at login that say "not me, not now": another backend may do better.
_RETRYABLE = frozenset({1040, 1053, 1077, 1129, 1130, 1158, 1159, 1160, 1161, 1203, 3159, 3032})


class _Facts(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def error_packet(error: HProxyError) -> bytes:
    """The ERR payload for `error`."""
    code = error.full_code
    while code not in REFUSALS and "." in code:
        code = code.rpartition(".")[0]
    number, sqlstate, text = REFUSALS.get(code, REFUSALS["internal"])
    facts = _Facts(error.facts)
    facts["reason"] = error.reason
    return ErrPacket(number, text.format_map(facts).encode("utf-8"), sqlstate).build()


def read_error(payload: bytes) -> tuple[int, str]:
    """Number and text of an ERR payload; (0, "") when it is none."""
    if not payload or payload[0] != ERR_HEADER:
        return 0, ""
    try:
        packet = ErrPacket.parse(payload)
    except MalformedPacket:
        return 0, ""
    return packet.number, packet.message.decode("utf-8", "replace")


def retryable(number: int) -> bool:
    """Whether another backend may do better after this error number at login."""
    return number in _RETRYABLE
