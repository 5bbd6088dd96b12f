# SPDX-License-Identifier: Apache-2.0
"""From the configuration model to what sessions, topology and accounts are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hproxy.auth import Account, UserTable
from hproxy.config.schema import Config
from hproxy.errors import ConfigError
from hproxy.net.tls import write_private
from hproxy.protocols.base import Protocol
from hproxy.session.services import Settings
from hproxy.topology import Backend, Health, Status

__all__ = ["backends", "health", "rsa_key", "settings", "users"]


def settings(config: Config) -> Settings:
    """The options sessions act on."""
    proxy, tls = config.proxy, config.tls
    return Settings(
        auth_mode=config.auth_mode,
        hostgroup=min((s.hostgroup_id for s in config.servers), default=0),
        max_connections=config.server.max_connections,
        login_timeout=min(proxy.login_timeout_ms / 1000, config.server.connection_timeout_sec),
        connect_timeout=proxy.connect_timeout_ms / 1000,
        connect_timeout_max=proxy.connect_timeout_max_ms / 1000,
        idle_timeout=proxy.idle_timeout_sec,
        max_packet=proxy.max_allowed_packet,
        max_login_packet=proxy.max_login_packet,
        kill_on_disconnect=proxy.kill_query_on_disconnect,
        monitor_user=proxy.monitor_username.encode(),
        monitor_password=proxy.monitor_password.encode(),
        client_tls=tls.client,
        backend_tls=tls.backend,
        backend_server_name=tls.backend_server_name,
        default_plugin=proxy.default_auth_plugin,
        server_version=proxy.server_version,
        attributes=proxy.client_attributes,
        keepalive_sec=proxy.tcp_keepalive_sec,
    )


def backends(config: Config) -> tuple[Backend, ...]:
    """The backends of both notations."""
    found = []
    for row in config.servers:
        unix = row.hostname.startswith("/")
        found.append(
            Backend(
                host="" if unix else row.hostname,
                port=row.port,
                path=row.hostname if unix else None,
                hostgroup=row.hostgroup_id,
                weight=row.weight,
                max_connections=row.max_connections,
                use_tls=bool(row.use_ssl),
            )
        )
    return tuple(found)


def health(config: Config) -> dict[Backend, Health]:
    """The status each backend starts with."""
    rows = zip(backends(config), config.servers, strict=True)
    return {backend: Health(status=Status(row.status)) for backend, row in rows}


def users(config: Config, protocol: Protocol) -> UserTable:
    """The active accounts of [[mysql_users]]."""
    accounts = []
    for row in config.mysql_users:
        if not (row.active and row.frontend):
            continue
        secret = protocol.secret(row.password or "")
        accounts.append(
            Account(
                username=row.username.encode(),
                secret=secret,
                default_schema=(row.default_schema or "").encode(),
                hostgroup=row.default_hostgroup,
                max_connections=row.max_connections,
                require_tls=bool(row.use_ssl),
                plugin=_plugin(row.attributes),
                credential=secret.credential,
            )
        )
    return UserTable(accounts)


def _plugin(attributes: str) -> str | None:
    """`{"auth_plugin": "client_ed25519"}` in the attributes column picks an account's plugin."""
    if not attributes:
        return None
    found = json.loads(attributes)
    plugin = found.get("auth_plugin") if isinstance(found, dict) else None
    return plugin if isinstance(plugin, str) else None


def rsa_key(folder: Path, protocol: Protocol) -> Any:
    """Our key for passwords sent without TLS, kept in `folder`. Raises ConfigError."""
    path = folder / "rsa-private-key.pem"
    try:
        pem: bytes | None = path.read_bytes()
    except FileNotFoundError:
        pem = None
    except OSError as error:
        raise ConfigError(
            f"cannot read: {error.strerror}", key="server.data_dir", value=str(path)
        ) from error
    try:
        key, written = protocol.rsa_key(pem)
    except ValueError as error:
        raise ConfigError(str(error), key="server.data_dir", value=str(path)) from error
    if pem is None:
        write_private(path, written)
    return key
