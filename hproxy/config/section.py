# SPDX-License-Identifier: Apache-2.0
"""The sections of the configuration file: [server], [tls], [health], [logging], [admin].

Every option is declared here once: name, type, default, range, when it acts and its doc line.
The documentation, the template of `hproxy config` and the findings of `hproxy check` are made
from it. [proxy] and [http] have files of their own. Checks within one section stand below its
fields; checks across sections in `schema`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, model_validator

from hproxy.config.address import Address, parse_listen
from hproxy.config.option import (
    MAX_SEC,
    ListensText,
    Number,
    OptionModel,
    Refusal,
    Refusals,
    Whole,
    is_live,
    live,
    restart,
)
from hproxy.config.proxysql.form import FORMS

__all__ = [
    "AdminOptions",
    "BackendTls",
    "DaemonOptions",
    "HealthOptions",
    "LogFormat",
    "LogLevel",
    "LoggingOptions",
    "ServerOptions",
    "TlsOptions",
    "default_data_dir",
]

BackendTls = Literal["off", "preferred", "required", "verify_ca", "verify_identity"]
LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["error", "warn", "info", "debug", "trace"]


class DaemonOptions(OptionModel):
    """[server.daemon]: running in the background."""

    enabled: Annotated[bool, restart("Run in the background.")] = False
    pid_file: Annotated[Path | None, restart("File for the process id.")] = None
    error_log: Annotated[
        Path | None, restart("File that takes stdout and stderr once in the background.")
    ] = None
    upgrade_sock: Annotated[
        Path | None,
        restart(
            "Unix socket over which listening sockets go to the next version; without it "
            "upgrade.sock in server.data_dir."
        ),
    ] = None
    user: Annotated[
        str | None, restart("User to run as once the sockets are open: name or number.")
    ] = None
    group: Annotated[
        str | None, restart("Group to run as once the sockets are open: name or number.")
    ] = None


class ServerOptions(OptionModel):
    """[server]: the process, where it listens and how much it takes."""

    listen_addr: Annotated[
        ListensText,
        live(
            "Address for clients: HOST:PORT, [IPv6]:PORT, :PORT for every interface, "
            "or the path of a Unix socket; several with ';'. Port 0 takes a free one."
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
        Whole | None,
        restart("Processes that serve clients; without it one per core.", ge=1, le=1024),
    ] = None
    watchdog_sec: Annotated[
        Number,
        restart(
            "A process of the service that is silent for so long is killed and replaced; "
            "0 watches none.",
            ge=0,
            le=MAX_SEC,
        ),
    ] = 5
    tcp_fastopen: Annotated[
        Whole,
        live(
            "Connects with TCP Fast Open that may be under way at a time, per socket; 0 is off. "
            "The kernel has to allow it as well (net.ipv4.tcp_fastopen).",
            ge=0,
            le=65535,
        ),
    ] = 0
    drain_sec: Annotated[
        Number,
        restart(
            "How long clients in a statement or transaction may take to finish when the "
            "service ends.",
            ge=0,
            le=MAX_SEC,
        ),
    ] = 30
    upgrade_sec: Annotated[
        Number,
        restart(
            "How long a service that handed over to its next version keeps the clients that "
            "cannot move there.",
            ge=0,
            le=MAX_SEC,
        ),
    ] = 300
    data_dir: Annotated[
        Path | None,
        restart(
            "Folder where the generated certificate and RSA key are kept. Without it: "
            "/var/lib/hproxy for root, else $XDG_STATE_HOME/hproxy or ~/.local/state/hproxy."
        ),
    ] = None
    daemon: Annotated[DaemonOptions | None, restart("Running in the background.")] = None

    @property
    def listens(self) -> tuple[Address, ...]:
        return tuple(parse_listen(text) for text in self.listen_addr.split(";") if text)

    @property
    def listen(self) -> Address:
        """The first of them."""
        return next(iter(self.listens), Address())

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
        Number, live("Time between probes of one backend.", gt=0, le=MAX_SEC)
    ] = 10
    timeout_sec: Annotated[
        Number,
        live("A probe without an answer for this long failed.", gt=0, le=MAX_SEC),
    ] = 5
    failure_threshold: Annotated[
        Whole, live("Failed probes in a row that take a backend out.", ge=1, le=1000)
    ] = 3
    success_threshold: Annotated[
        Whole, live("Good probes in a row that bring it back.", ge=1, le=1000, acts=False)
    ] = 2

    @model_validator(mode="after")
    def _timeout(self, info: ValidationInfo) -> HealthOptions:
        if self.timeout_sec >= self.interval_sec and not is_live(info):
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

    address: Annotated[
        ListensText,
        live("Admin port, MySQL protocol; several with ';', empty is none."),
    ] = "127.0.0.1:6032"
    credentials: Annotated[
        str,
        AfterValidator(FORMS["accounts"]),
        live(
            "Accounts for it: USER:PASSWORD, several with ';'. One named admin may log in from "
            "this machine only.",
            repr=False,
        ),
    ] = "admin:admin"
    stats_credentials: Annotated[
        str,
        AfterValidator(FORMS["accounts"]),
        live("Accounts that may only read statistics.", repr=False),
    ] = "stats:stats"
    http_address: Annotated[
        ListensText | None,
        restart("Older name of http.address, which counts where both are given."),
    ] = None
    login_failures_per_host: Annotated[
        Whole,
        live(
            "Wrong passwords a minute from one address before its logins are refused unseen; 0 is "
            "no limit.",
            ge=0,
            le=10**6,
        ),
    ] = 60
    store: Annotated[
        Path | None,
        restart("SQLite file of the saved configuration. Without it: hproxy.db in the data_dir."),
    ] = None

    @property
    def listens(self) -> tuple[Address, ...]:
        return tuple(parse_listen(text) for text in self.address.split(";") if text)
