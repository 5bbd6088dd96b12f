# SPDX-License-Identifier: Apache-2.0
"""What all sessions of a worker share, as the composition root puts it together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from typing import Protocol as Interface

from hproxy.auth import UserTable
from hproxy.auth.guard import Guard
from hproxy.config.proxysql.values import Values
from hproxy.net.proxy_protocol import Networks
from hproxy.net.tasks import TaskSet
from hproxy.protocols.base import Protocol
from hproxy.routing import Router
from hproxy.routing.firewall import Firewall
from hproxy.routing.rules import RuleSet
from hproxy.session.registry import Registry
from hproxy.telemetry.counters import Counters, Sources
from hproxy.telemetry.digest_form import DigestForm
from hproxy.telemetry.failures import Failures
from hproxy.telemetry.hosts import HostCache
from hproxy.topology import Backend, Topology

__all__ = ["Counts", "Services", "Settings"]


class Roles(Interface):
    """Who follows which servers write."""

    def refuses_writes(self, backend: Backend, /) -> bool:
        """It refused a write as read only; False: nobody will see to it."""

    def wanted(self, hostgroup: int, /) -> None:
        """Statements wait for a hostgroup that no server serves."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options sessions act on; swapped as a whole on reload. Times in seconds."""

    auth_mode: str = "relay"
    hostgroup: int = 0
    max_connections: int = 10000
    login_timeout: float = 10.0
    connect_timeout: float = 3.0
    connect_timeout_max: float = 10.0
    idle_timeout: float = 28800.0
    max_packet: int = 1 << 30
    max_login_packet: int = 65536
    kill_on_disconnect: bool = True
    monitor_user: bytes = b""
    monitor_password: bytes = field(default=b"", repr=False)
    client_tls: str = "off"
    backend_tls: str = "off"
    backend_server_name: str | None = None
    default_plugin: str = "caching_sha2_password"
    server_version: str | None = None
    attributes: bool = True
    compression: tuple[str, ...] = ("zlib", "zstd")
    compression_level: int = 3
    keepalive_sec: int = 120
    proxy_networks: Networks | None = None
    """Who sends a PROXY header before anything else; None: nobody."""
    proxy_header_timeout: float = 1.0
    proxy_versions: Mapping[int, int] = field(default_factory=dict)
    """The version of the PROXY header that backends of a hostgroup get."""


@dataclass(slots=True)
class Multiplexing:
    """Pools, and what was decided and learned about statements."""

    pools: Any
    opening: Any
    router: Router
    digester: Any
    decisions: Any
    digests: Any
    commands: Any
    """How often each command of SQL was run."""
    statements: Any
    routines: Any
    unlisted: Any = None
    """Where statements count whose digests are not wanted."""
    watch: Any = None
    """Which statements are slow, and how many were: the native Watch."""
    schema_epoch: int = 0
    """Counts statements that may have changed a schema: what was prepared before may be stale."""
    rules_serial: int = 0
    """Counts the times that everything was to be decided anew."""
    known_schemas: set[tuple[bytes, int, bytes]] = field(default_factory=set)
    """(account, hostgroup, schema) somebody has already logged in with."""
    rules: RuleSet = field(default_factory=RuleSet)
    """Query rules; session/ruling.py swaps them."""
    tallies: dict[tuple[int, ...], Any] = field(default_factory=dict)
    """Of rules that matched together, how often."""
    folded: dict[int, int] = field(default_factory=dict)
    """Hits by rule that no tally has any more."""
    results: Any = None
    """A ResultCache; made when the first rule asks for it."""
    on_decide_anew: list[Callable[[], object]] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """What query rules had done, since the start."""

    killed_queries: int = 0
    """Statements killed because their time was up."""


@dataclass(slots=True)
class Services:
    """Everything a session may call upon."""

    protocol: Protocol
    reactor: Any
    settings: Settings
    topology: Topology
    users: UserTable
    registry: Registry
    tasks: TaskSet
    log: Any
    variables: Values = field(default_factory=Values)
    """mysql-* and admin-* by name; what is an option of the file as well has the same value."""
    client_tls: ssl.SSLContext | None = None
    backend_tls: ssl.SSLContext | None = None
    server_tls: dict[tuple[str, int, str], ssl.SSLContext] = field(default_factory=dict)
    """Of single servers: by host, port and user, who is "" when it is for all of them."""
    rsa_key: Any = None
    certificate: bytes = b""
    """SHA-256 of the certificate shown to clients."""
    profiles: dict[Backend, Any] = field(default_factory=dict)
    """What each backend's last greeting said of it (table mode)."""
    heard: int = 0
    """Counts them: what clients are greeted with changes with it."""
    counts: Counts = field(default_factory=Counts)
    counters: Counters = field(default_factory=Counters)
    failures: Failures = field(default_factory=Failures)
    hosts: HostCache = field(default_factory=HostCache)
    sources: Sources = field(default_factory=Sources)
    count_digests: bool = True
    """List statements by their digest (mysql-query_digests)."""
    count_commands: bool = True
    digest_form: DigestForm = field(default_factory=DigestForm)
    """How their texts are written."""
    track_hosts: bool = False
    """Digests and errors by client address, too (mysql-query_digests_track_hostname)."""
    keep_deadlines: Callable[[float], None] = lambda seconds: None
    """To so many seconds; once a second is what they are looked at without."""
    precision: float = 1.0
    """What was asked for last."""
    guard: Guard = field(default_factory=lambda: Guard(monotonic))
    """Counts failed logins."""
    heavy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Who has it may check a password in a way that takes long."""
    firewall: Firewall = field(default_factory=Firewall.off)
    """Swapped by session.screening."""
    recorder: Any = None
    """A session.recording.Recorder."""
    roles: Roles | None = None
    """Who is told that a server writes no more; None: nobody watches."""
    elsewhere: Callable[[int, bool, bytes], Awaitable[bool]] | None = None
    """Ends the session, or only its query, of that id in another worker for a user; False: there
    is none. None where this is the only worker."""
    multiplex: Multiplexing | None = None
    """What sessions share that borrow their backend connections; None where none do."""

    def hear(self, backend: Backend, profile: Any) -> None:
        """A backend has greeted us; one that is gone from the configuration counts no more."""
        if backend not in self.topology.backends:
            return
        self.profiles[backend] = profile
        self.heard += 1

    def tls_to(self, backend: Backend | None, user: bytes) -> ssl.SSLContext | None:
        """The context for a connection there in the name of `user`."""
        if backend is None:
            return self.backend_tls
        return self.tls_at(backend.host, backend.port, user.decode("utf-8", "replace"))

    def tls_at(self, host: str, port: int, user: str) -> ssl.SSLContext | None:
        """The same by address: the row of the user, then that of the server, then [tls]."""
        for who in (user, ""):
            found = self.server_tls.get((host, port, who))
            if found is not None:
                return found
        return self.backend_tls

    @property
    def sharing(self) -> Multiplexing:
        """`multiplex`, for those that only multiplexed sessions call."""
        assert self.multiplex is not None
        return self.multiplex
