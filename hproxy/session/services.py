# SPDX-License-Identifier: Apache-2.0
"""What all sessions of a worker share, as the composition root puts it together."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from hproxy.auth import UserTable
from hproxy.net.tasks import TaskSet
from hproxy.protocols.base import Protocol
from hproxy.routing import Router
from hproxy.session.registry import Registry
from hproxy.topology import Backend, Topology

__all__ = ["Services", "Settings"]


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


@dataclass(slots=True)
class Multiplexing:
    """Pools, and what was decided and learned about statements."""

    pools: Any
    opening: Any
    router: Router
    digester: Any
    decisions: Any
    digests: Any
    statements: Any
    routines: Any
    schema_epoch: int = 0
    """Counts statements that may have changed a schema: what was prepared before may be stale."""
    known_schemas: set[tuple[bytes, int, bytes]] = field(default_factory=set)
    """(account, hostgroup, schema) somebody has already logged in with."""


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
    client_tls: ssl.SSLContext | None = None
    backend_tls: ssl.SSLContext | None = None
    rsa_key: Any = None
    certificate: bytes = b""
    """SHA-256 of the certificate shown to clients."""
    profiles: dict[Backend, Any] = field(default_factory=dict)
    """What each backend's last greeting said of it (table mode)."""
    heard: int = 0
    """Counts them: what clients are greeted with changes with it."""
    multiplex: Multiplexing | None = None
    """What sessions share that borrow their backend connections; None where none do."""

    def hear(self, backend: Backend, profile: Any) -> None:
        """A backend has greeted us."""
        self.profiles[backend] = profile
        self.heard += 1

    @property
    def sharing(self) -> Multiplexing:
        """`multiplex`, for those that only multiplexed sessions call."""
        assert self.multiplex is not None
        return self.multiplex
