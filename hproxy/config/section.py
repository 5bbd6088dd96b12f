# SPDX-License-Identifier: Apache-2.0
"""The sections of the configuration file: [server], [proxy], [tls], [health], [logging], [admin].

Every option is declared here once: name, type, default, range, when it acts and its doc line.
The documentation, the template of `hproxy config` and the findings of `hproxy check` are made
from it. Checks within one section stand below its fields; checks across sections in `schema`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from hproxy.config.address import Address, parse_listen
from hproxy.config.option import (
    MAX_MS,
    MAX_SEC,
    BackendText,
    ListenText,
    MongosText,
    NodeText,
    Number,
    OptionModel,
    Refusal,
    Refusals,
    Whole,
    live,
    restart,
)

__all__ = [
    "AdminOptions",
    "AuthPlugin",
    "BackendTls",
    "DaemonOptions",
    "HealthOptions",
    "LogFormat",
    "LogLevel",
    "LoggingOptions",
    "ProxyOptions",
    "ServerOptions",
    "TlsOptions",
    "default_data_dir",
]

AuthPlugin = Literal["mysql_native_password", "caching_sha2_password"]
BackendTls = Literal["off", "preferred", "required", "verify_ca", "verify_identity"]
LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["error", "warn", "info", "debug", "trace"]

# 1 GiB is the servers' own ceiling for max_allowed_packet.
MAX_PACKET_BYTES = 1 << 30
# Drivers take the numbers apart; what follows them is free, but it ends at a NUL on the wire.
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[ -~]{0,50}")


class DaemonOptions(OptionModel):
    """[server.daemon]: running in the background."""

    enabled: Annotated[bool, restart("Run in the background.", acts=False)] = False
    pid_file: Annotated[Path | None, restart("File for the process id.", acts=False)] = None
    error_log: Annotated[
        Path | None, restart("File that takes stderr once in the background.", acts=False)
    ] = None
    upgrade_sock: Annotated[
        Path | None,
        restart("Unix socket over which listening sockets go to the next version.", acts=False),
    ] = None
    user: Annotated[str | None, restart("User to run as after the start.", acts=False)] = None
    group: Annotated[str | None, restart("Group to run as after the start.", acts=False)] = None


class ServerOptions(OptionModel):
    """[server]: the process, where it listens and how much it takes."""

    listen_addr: Annotated[
        ListenText,
        restart(
            "Address for clients: HOST:PORT, [IPv6]:PORT, :PORT for every interface, "
            "or the path of a Unix socket. Port 0 takes a free one."
        ),
    ] = "0.0.0.0:6033"
    max_connections: Annotated[
        Whole, live("Clients served at once; one more is refused with error 1040.", ge=1, le=10**7)
    ] = 10_000
    connection_timeout_sec: Annotated[
        Number,
        live(
            "A client not logged in by then is closed; proxy.login_timeout_ms may be shorter.",
            gt=0,
            le=MAX_SEC,
        ),
    ] = 60
    worker_threads: Annotated[
        Whole | None, restart("Workers; without it one per core.", ge=1, le=1024, acts=False)
    ] = None
    data_dir: Annotated[
        Path | None,
        restart(
            "Folder where the generated certificate and RSA key are kept. Without it: "
            "/var/lib/hproxy for root, else $XDG_STATE_HOME/hproxy or ~/.local/state/hproxy."
        ),
    ] = None
    daemon: Annotated[DaemonOptions | None, restart("Running in the background.", acts=False)] = (
        None
    )

    @property
    def listen(self) -> Address:
        return parse_listen(self.listen_addr)

    @property
    def state_dir(self) -> Path:
        """`data_dir`, or the default for this user and environment."""
        return self.data_dir or default_data_dir(os.environ)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where state is kept when `server.data_dir` is not given."""
    if os.geteuid() == 0:
        return Path("/var/lib/hproxy")
    # The XDG specification: a relative path in the variable is invalid and to be ignored.
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if state.is_absolute():
        return state / "hproxy"
    home = Path(environ.get("HOME", ""))
    return (home if home.is_absolute() else Path.home()) / ".local" / "state" / "hproxy"


def _server_version(text: str | None) -> str | None:
    if text is not None and not _VERSION.fullmatch(text):
        raise Refusal("is not a server version", 'like "8.0.39-hproxy", printable ASCII')
    return text


def _session_mode(value: object) -> object:
    if value in ("multiplex", "fast_forward"):
        raise Refusal("is not yet supported in this version", 'it serves "session"')
    return value


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
        Literal["session"],
        BeforeValidator(_session_mode),
        live("Hold on a backend: one backend connection per client session.", mode="mysql"),
    ] = "session"
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
        Whole, live("All tries together, before the client gets an error.", ge=1, le=MAX_MS)
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
    default_auth_plugin: Annotated[
        AuthPlugin, live("Plugin named in the greeting in table mode.", mode="mysql")
    ] = "caching_sha2_password"
    client_attributes: Annotated[
        bool,
        live("Add _client_ip and the like to the connection attributes a backend sees."),
    ] = True
    tcp_keepalive_sec: Annotated[
        Whole, live("Silence before TCP keep-alive probes, both sides; 0 is off.", ge=0, le=32_767)
    ] = 120
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
    def _timeouts(self) -> ProxyOptions:
        if self.connect_timeout_max_ms < self.connect_timeout_ms:
            raise Refusal(
                f"must not be below proxy.connect_timeout_ms ({self.connect_timeout_ms})",
                keys=("proxy.connect_timeout_max_ms", "proxy.connect_timeout_ms"),
            )
        return self


def _tls_version(value: object) -> object:
    # 1.2 without quotes is a TOML number, and "TLSv1.2" is how servers spell it.
    return str(value).removeprefix("TLSv") if isinstance(value, float | str) else value


def _verify(value: object) -> object:
    return "verify_identity" if value == "verify" else value


class TlsOptions(OptionModel):
    """[tls]: encryption towards clients and towards backends."""

    client: Annotated[
        Literal["off", "preferred", "required"],
        live("TLS for clients: never, if the client asks, or nothing without it."),
    ] = "preferred"
    cert: Annotated[
        Path | None,
        live(
            "Certificate shown to clients (PEM, chain included). Without it one is made and kept."
        ),
    ] = None
    key: Annotated[
        Path | None, live("Its private key (PEM); without it the key is in the cert file.")
    ] = None
    ca: Annotated[
        Path | None, live("Authorities whose client certificates are accepted (PEM).")
    ] = None
    min_version: Annotated[
        Literal["1.2", "1.3"],
        BeforeValidator(_tls_version),
        live("Oldest TLS version, both sides."),
    ] = "1.2"
    backend: Annotated[
        BackendTls,
        BeforeValidator(_verify),
        live(
            "TLS to backends: off; preferred: if offered; required: encrypted, unverified; "
            "verify_ca: the certificate must be signed; verify_identity (or verify): and be "
            "for that host name."
        ),
    ] = "off"
    backend_ca: Annotated[
        Path | None, live("Authorities for backends (PEM); without it the system's.")
    ] = None
    backend_cert: Annotated[
        Path | None, live("Certificate shown to backends that ask for one (PEM).")
    ] = None
    backend_key: Annotated[Path | None, live("Its private key (PEM).")] = None
    backend_server_name: Annotated[
        str | None, live("Name sent (SNI) and verified instead of the backend's host.")
    ] = None

    @model_validator(mode="after")
    def _pairs(self) -> TlsOptions:
        items = [
            Refusal(f"is set but tls.{cert} is not", f"give tls.{cert} too", (f"tls.{key}",))
            for key, cert in (("key", "cert"), ("backend_key", "backend_cert"))
            if getattr(self, key) and not getattr(self, cert)
        ]
        if items:
            raise Refusals(items)
        return self


class HealthOptions(OptionModel):
    """[health]: probes of the backends."""

    interval_sec: Annotated[
        Number, live("Time between probes of one backend.", gt=0, le=MAX_SEC, acts=False)
    ] = 10
    timeout_sec: Annotated[
        Number,
        live("A probe without an answer for this long failed.", gt=0, le=MAX_SEC, acts=False),
    ] = 5
    failure_threshold: Annotated[
        Whole, live("Failed probes in a row that take a backend out.", ge=1, le=1000, acts=False)
    ] = 3
    success_threshold: Annotated[
        Whole, live("Good probes in a row that bring it back.", ge=1, le=1000, acts=False)
    ] = 2

    @model_validator(mode="after")
    def _timeout(self) -> HealthOptions:
        if self.timeout_sec >= self.interval_sec:
            raise Refusal(
                f"must be below health.interval_sec ({self.interval_sec:g})",
                keys=("health.timeout_sec", "health.interval_sec"),
            )
        return self


def _level(value: object) -> object:
    if not isinstance(value, str):
        return value
    return {"warning": "warn"}.get(value.lower(), value.lower())


class LoggingOptions(OptionModel):
    """[logging]: what is told, in which form, and where."""

    level: Annotated[
        LogLevel, BeforeValidator(_level), live("Least important kind of line that is written.")
    ] = "info"
    format: Annotated[
        LogFormat, restart("Lines as text or JSON; auto is text on a terminal and JSON elsewhere.")
    ] = "auto"
    stdout: Annotated[
        bool, restart("Write to stdout. Without it and without `file`, lines go to stderr.")
    ] = True
    file: Annotated[Path | None, restart("Write to this file as well; SIGUSR1 opens it anew.")] = (
        None
    )


class AdminOptions(OptionModel):
    """[admin]: the operators' ports."""

    address: Annotated[ListenText, restart("Admin port, MySQL protocol.", acts=False)] = (
        "127.0.0.1:6032"
    )
    credentials: Annotated[
        str, live("Accounts for it: USER:PASSWORD, several with ';'.", acts=False, repr=False)
    ] = ""
    stats_credentials: Annotated[
        str, live("Accounts that may only read statistics.", acts=False, repr=False)
    ] = ""
    http_address: Annotated[
        ListenText, restart("REST, dashboard, /metrics and /healthz.", acts=False)
    ] = "127.0.0.1:6080"
    store: Annotated[
        Path | None, restart("SQLite file of the saved configuration.", acts=False)
    ] = None
