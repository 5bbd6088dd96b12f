# SPDX-License-Identifier: Apache-2.0
"""[proxy]: what is spoken, to whom, how sessions are made and how they share backend connections.

Pool options that ProxySQL has as a variable `mysql-X` bear its name and mean the same. Checks
within the section stand below its fields; those that need others (session_mode and the users)
in `schema`.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, model_validator

from hproxy.config.option import (
    MAX_MS,
    MAX_SEC,
    BackendText,
    MongosText,
    NodeText,
    Number,
    OptionModel,
    Refusal,
    Whole,
    is_live,
    live,
    restart,
)

__all__ = ["AuthPlugin", "Compression", "ProxyOptions", "SessionMode", "Tracking"]

AuthPlugin = Literal["mysql_native_password", "caching_sha2_password"]
Compression = Literal["zlib", "zstd"]
SessionMode = Literal["multiplex", "session"]
Tracking = Literal["auto", "off"]

# 1 GiB is the servers' own ceiling for max_allowed_packet.
MAX_PACKET_BYTES = 1 << 30
DAY_MS = 24 * 3600 * 1000
# Drivers take the numbers apart; what follows them is free, but it ends at a NUL on the wire.
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[ -~]{0,50}")


def _server_version(text: str | None) -> str | None:
    if text is not None and not _VERSION.fullmatch(text):
        raise Refusal("is not a server version", 'like "8.0.39-hproxy", printable ASCII')
    return text


def _session_mode(value: object) -> object:
    if value == "fast_forward":
        raise Refusal("is not yet supported in this version", 'it serves "multiplex" and "session"')
    return value


def _networks(text: str) -> str:
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word not in ("*", "localhost"):
            try:
                ip_network(word, strict=False)
            except ValueError:
                raise Refusal(
                    f'has "{word}", which is neither an address nor a CIDR',
                    'like "10.0.0.0/8, fd00::/8", or "*" for all',
                ) from None
    return text


class ProxyOptions(OptionModel):
    """[proxy]: what is spoken, to whom, and how a session is made."""

    mode: Annotated[
        Literal["mysql", "redis", "mongodb"],
        restart("Protocol. This version serves mysql; files for the others can be checked."),
    ] = "mysql"
    backends: Annotated[
        tuple[BackendText, ...],
        live(
            "Servers of hostgroup 0 as HOST[:PORT] or socket path; [[mysql_servers]] says more "
            "about each and adds to this list.",
            mode="mysql",
        ),
    ] = ()
    auth: Annotated[
        Literal["relay", "table"] | None,
        live(
            "Who checks passwords: the backend (relay: the proxy knows none) or the proxy "
            "(table: against [[mysql_users]]). Without it: table when there are users, else relay.",
            mode="mysql",
        ),
    ] = None
    session_mode: Annotated[
        SessionMode | None,
        BeforeValidator(_session_mode),
        live(
            "Hold on a backend: multiplex takes a connection while a statement needs it, session "
            'keeps one per client. Without it: multiplex, and session with auth "relay".',
            mode="mysql",
        ),
    ] = None
    server_version: Annotated[
        str | None,
        AfterValidator(_server_version),
        live(
            "Server version in the greeting in table mode. Without it, and in relay mode: the "
            "backend's.",
            mode="mysql",
        ),
    ] = None
    connect_timeout_ms: Annotated[
        Whole,
        live("One try to reach a backend, TCP and login together.", ge=1, le=MAX_MS),
    ] = 3000
    connect_timeout_max_ms: Annotated[
        Whole,
        live(
            "All tries together, or a statement's wait for a connection, before the client gets "
            "an error.",
            ge=1,
            le=MAX_MS,
        ),
    ] = 10_000
    login_timeout_ms: Annotated[Whole, live("Time a client has to log in.", ge=1, le=MAX_MS)] = (
        10_000
    )
    idle_timeout_sec: Annotated[
        Number, live("A client silent for longer is closed; 0 is never.", ge=0, le=MAX_SEC)
    ] = 28_800
    max_allowed_packet: Annotated[
        Whole, live("Largest packet taken.", ge=1024, le=MAX_PACKET_BYTES, unit="bytes")
    ] = MAX_PACKET_BYTES
    max_login_packet: Annotated[
        Whole,
        live("Largest packet taken before login.", ge=1024, le=1 << 24, unit="bytes"),
    ] = 65_536
    kill_query_on_disconnect: Annotated[
        bool, live("End the running query on the backend when its client is gone.")
    ] = True
    monitor_username: Annotated[
        str, live("Account for the proxy's own connections (probes, KILL).")
    ] = ""
    monitor_password: Annotated[str, live("Password of that account, clear text.", repr=False)] = ""
    shun_recovery_time_sec: Annotated[
        Number,
        live("A backend that failed is not tried again for this long.", ge=0, le=MAX_SEC),
    ] = 10
    shun_on_failures: Annotated[
        Whole,
        live(
            "Connects to a backend that fail within a second before it is shunned; 0 is as 1.",
            ge=0,
            le=10_000_000,
        ),
    ] = 1
    default_auth_plugin: Annotated[
        AuthPlugin, live("Plugin named in the greeting in table mode.", mode="mysql")
    ] = "caching_sha2_password"
    client_attributes: Annotated[
        bool,
        live("Add _client_ip and the like to the connection attributes a backend sees."),
    ] = True
    compression: Annotated[
        tuple[Compression, ...],
        live(
            "Compression offered to clients; empty is none. Backends have a column of their own "
            "in [[mysql_servers]].",
            mode="mysql",
        ),
    ] = ("zlib", "zstd")
    compression_level: Annotated[
        Whole,
        live(
            "How hard to compress, both sides and algorithms: 1 is fast, 9 small. A client with "
            "zstd may ask for less.",
            ge=1,
            le=9,
            mode="mysql",
        ),
    ] = 3
    tcp_keepalive_sec: Annotated[
        Whole, live("Silence before TCP keep-alive probes, both sides; 0 is off.", ge=0, le=32_767)
    ] = 120
    free_connections_pct: Annotated[
        Whole,
        live(
            "Idle connections kept to a backend, of its max_connections; those beyond are closed.",
            ge=0,
            le=100,
            unit="percent",
            mode="mysql",
        ),
    ] = 10
    connection_max_age_ms: Annotated[
        Whole,
        live(
            "An idle connection older than this is closed; 0 is never.",
            ge=0,
            le=DAY_MS,
            mode="mysql",
        ),
    ] = 0
    connection_warming: Annotated[
        bool,
        live("Keep free_connections_pct open to each backend, wanted yet or not.", mode="mysql"),
    ] = False
    ping_interval_server_msec: Annotated[
        Whole,
        live(
            "An idle connection is pinged when it was silent for this long; 0 is never.",
            ge=0,
            le=7 * DAY_MS,
            unit="milliseconds",
            mode="mysql",
        ),
    ] = 10_000
    ping_timeout_server: Annotated[
        Whole,
        live(
            "A ping without an answer for this long closes the connection.",
            ge=1,
            le=600_000,
            unit="milliseconds",
            mode="mysql",
        ),
    ] = 200
    throttle_connections_per_sec: Annotated[
        Whole,
        live(
            "Connections opened to one hostgroup at most.",
            ge=1,
            le=10**8,
            unit="per second",
            mode="mysql",
        ),
    ] = 1_000_000
    queue_limit: Annotated[
        Whole,
        live(
            "Sessions of one hostgroup and user that wait for a connection at once; one more gets "
            "an error. 0 is no limit.",
            ge=0,
            le=10**7,
            mode="mysql",
        ),
    ] = 10_000
    query_retries_on_failure: Annotated[
        Whole,
        live(
            "Times a statement is sent again when its connection broke before any answer and "
            "repeating is safe.",
            ge=0,
            le=1000,
            mode="mysql",
        ),
    ] = 1
    max_stmts_per_connection: Annotated[
        Whole,
        live(
            "Prepared statements one backend connection holds; the oldest are closed first.",
            ge=1,
            le=65_535,
            mode="mysql",
        ),
    ] = 200
    max_stmts_per_session: Annotated[
        Whole,
        live(
            "Prepared statements one client may have open, of max_stmts_cache_bytes of text in "
            "all; one more is refused.",
            ge=1,
            le=1 << 20,
            mode="mysql",
        ),
    ] = 16_382
    max_stmts_cache: Annotated[
        Whole,
        live("Prepared statements remembered for all sessions.", ge=1, le=1 << 20, mode="mysql"),
    ] = 10_000
    max_stmts_cache_bytes: Annotated[
        Whole,
        live("Memory they may take.", ge=65_536, le=1 << 40, unit="bytes", mode="mysql"),
    ] = 64 << 20
    read_your_writes_ms: Annotated[
        Whole,
        live(
            "After a write of its own a session reads from the writer for this long; 0 is off.",
            ge=0,
            le=MAX_MS,
            mode="mysql",
        ),
    ] = 1000
    fast_lane: Annotated[
        bool,
        live(
            "Statements seen before are routed natively. Off sends every one through the slow "
            "points: for debugging.",
            mode="mysql",
        ),
    ] = True
    decisions_max: Annotated[
        Whole,
        live("Routing decisions remembered.", ge=1, le=10**7, mode="mysql"),
    ] = 20_000
    digests_max: Annotated[
        Whole,
        live(
            "Statements counted each for itself, the most frequent; totals are exact.",
            ge=1,
            le=10**6,
            mode="mysql",
        ),
    ] = 5000
    session_tracking: Annotated[
        Tracking,
        live(
            "Let backends report changes of session state (auto: where they can), or off: rely on "
            "reading statements alone.",
            mode="mysql",
        ),
    ] = "auto"
    login_failures_per_host: Annotated[
        Whole,
        live(
            "Wrong passwords a minute from one client address before its logins are not looked at "
            "any more (error 1129); 0 is no limit.",
            ge=0,
            le=10**6,
            mode="mysql",
        ),
    ] = 1000
    login_failures_per_account: Annotated[
        Whole,
        live("The same for one account name, whoever tries.", ge=0, le=10**6, mode="mysql"),
    ] = 1000
    proxy_protocol_networks: Annotated[
        str,
        AfterValidator(_networks),
        live(
            "From where a PROXY header (v1 or v2) is read before the greeting: addresses and CIDRs "
            'separated by commas, "*" for all, empty for none.',
            mode="mysql",
        ),
    ] = ""
    proxy_protocol_timeout_ms: Annotated[
        Whole,
        live(
            "Who may send a PROXY header and is silent for this long is a direct client.",
            ge=1,
            le=60_000,
            mode="mysql",
        ),
    ] = 1000
    eventslog_filename: Annotated[
        str,
        live(
            "Log of statements: FILE.00000001 and so on, in the data folder if relative. "
            "Empty: none.",
            mode="mysql",
        ),
    ] = ""
    eventslog_filesize: Annotated[
        Whole,
        live(
            "The next file begins at this size.", ge=1 << 20, le=1 << 30, unit="bytes", mode="mysql"
        ),
    ] = 100 << 20
    eventslog_default_log: Annotated[
        bool, live("Log all statements, not only those of rules with log = 1.", mode="mysql")
    ] = False
    eventslog_format: Annotated[
        Whole,
        live(
            "2 is JSON; 1 is text, what ProxySQL's reader makes of its binary format.",
            ge=1,
            le=2,
            mode="mysql",
        ),
    ] = 1
    long_query_time: Annotated[
        Whole,
        live(
            "A statement that takes so long is slow; 0: none is.",
            ge=0,
            le=20 * DAY_MS,
            unit="milliseconds",
            mode="mysql",
        ),
    ] = 1000
    slowlog_filename: Annotated[
        str,
        live(
            "Log of slow statements, named like eventslog_filename. Empty: they are only counted.",
            mode="mysql",
        ),
    ] = ""
    slowlog_filesize: Annotated[
        Whole,
        live(
            "The next file begins at this size.", ge=1 << 20, le=1 << 30, unit="bytes", mode="mysql"
        ),
    ] = 100 << 20
    auditlog_filename: Annotated[
        str,
        live(
            "Log of logins, refusals and ends, named like eventslog_filename. Empty: none.",
            mode="mysql",
        ),
    ] = ""
    auditlog_filesize: Annotated[
        Whole,
        live(
            "The next file begins at this size.", ge=1 << 20, le=1 << 30, unit="bytes", mode="mysql"
        ),
    ] = 100 << 20
    mongos_endpoints: Annotated[
        tuple[MongosText, ...], live("mongos routers.", mode="mongodb", acts=False)
    ] = ()
    session_affinity: Annotated[
        bool, live("Keep a client on its mongos.", mode="mongodb", acts=False)
    ] = True
    session_timeout_sec: Annotated[
        Number,
        live("How long affinity outlives a client.", gt=0, le=MAX_SEC, mode="mongodb", acts=False),
    ] = 3600
    cluster_nodes: Annotated[
        tuple[NodeText, ...], live("Nodes to learn the cluster from.", mode="redis", acts=False)
    ] = ()
    slot_refresh_interval_sec: Annotated[
        Number, live("Refresh of the slot map.", gt=0, le=MAX_SEC, mode="redis", acts=False)
    ] = 60
    max_redirects: Annotated[
        Whole, live("Redirects followed per command.", ge=1, le=255, mode="redis", acts=False)
    ] = 3
    connection_timeout_ms: Annotated[
        Whole, live("Connecting to a node.", ge=1, le=MAX_MS, mode="redis", acts=False)
    ] = 5000

    @model_validator(mode="after")
    def _timeouts(self, info: ValidationInfo) -> ProxyOptions:
        if self.connect_timeout_max_ms < self.connect_timeout_ms and not is_live(info):
            raise Refusal(
                f"must not be below proxy.connect_timeout_ms ({self.connect_timeout_ms})",
                keys=("proxy.connect_timeout_max_ms", "proxy.connect_timeout_ms"),
            )
        return self
