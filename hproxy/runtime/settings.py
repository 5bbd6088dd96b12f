# SPDX-License-Identifier: Apache-2.0
"""From the configuration model to what sessions, pools, topology and accounts are made of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hproxy.auth import Account, UserTable
from hproxy.config.schema import Config
from hproxy.errors import ConfigError
from hproxy.net.tls import write_private
from hproxy.pool import PoolSettings
from hproxy.protocols.base import Protocol
from hproxy.session.services import Settings
from hproxy.topology import Backend, Health, HostgroupAttributes, Status

__all__ = [
    "backends",
    "health",
    "hostgroups",
    "pairs",
    "pool",
    "rsa_key",
    "settings",
    "user_limits",
    "users",
]

# zstd packs better in less time; MariaDB has zlib only.
BACKEND_COMPRESSION = ("zstd", "zlib")


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
        compression=proxy.compression,
        compression_level=proxy.compression_level,
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
                compression=BACKEND_COMPRESSION if row.compression else (),
            )
        )
    return tuple(found)


def health(config: Config) -> dict[Backend, Health]:
    """The status each backend starts with."""
    rows = zip(backends(config), config.servers, strict=True)
    return {backend: Health(status=Status(row.status)) for backend, row in rows}


def pool(config: Config) -> PoolSettings:
    """The options pools act on; those that a hostgroup may override are in `hostgroups`."""
    proxy = config.proxy
    return PoolSettings(
        session_mode=config.session_mode,
        fast_lane=proxy.fast_lane,
        session_tracking=proxy.session_tracking == "auto",
        read_your_writes=proxy.read_your_writes_ms / 1000,
        connect_timeout=proxy.connect_timeout_ms / 1000,
        connect_timeout_max=proxy.connect_timeout_max_ms / 1000,
        queue_limit=proxy.queue_limit,
        query_retries_on_failure=proxy.query_retries_on_failure,
        connection_max_age=proxy.connection_max_age_ms / 1000,
        ping_interval=proxy.ping_interval_server_msec / 1000,
        ping_timeout=proxy.ping_timeout_server / 1000,
        max_stmts_per_connection=proxy.max_stmts_per_connection,
        max_stmts_per_session=proxy.max_stmts_per_session,
        max_stmts_cache=proxy.max_stmts_cache,
        max_stmts_cache_bytes=proxy.max_stmts_cache_bytes,
        decisions_max=proxy.decisions_max,
        digests_max=proxy.digests_max,
    )


def pairs(config: Config) -> tuple[tuple[int, int], ...]:
    """(writer, reader) hostgroups between which statements are split."""
    rows = config.mysql_replication_hostgroups
    return tuple((row.writer_hostgroup, row.reader_hostgroup) for row in rows)


def hostgroups(config: Config) -> dict[int, HostgroupAttributes]:
    """Attributes of every hostgroup that is named anywhere.

    A column that its row does not give has the value of the option of [proxy]."""
    proxy = config.proxy
    options = ("free_connections_pct", "connection_warming", "throttle_connections_per_sec")
    common = HostgroupAttributes(**{name: getattr(proxy, name) for name in options})
    named = {row.hostgroup_id for row in config.servers}
    named.update(row.default_hostgroup for row in config.mysql_users)
    named.update(hostgroup for pair in pairs(config) for hostgroup in pair)
    found = dict.fromkeys(sorted(named), common)
    for row in config.mysql_hostgroup_attributes:
        given = {name: getattr(row, name) for name in options if name in row.model_fields_set}
        found[row.hostgroup_id] = replace(
            common,
            multiplex=row.multiplex,
            init_connect=row.init_connect,
            ignored_variables=row.ignored_variables,
            **given,
        )
    return found


def user_limits(config: Config) -> dict[bytes, int]:
    """Connections to backends that each user may have: max_connections of its backend row."""
    rows = config.mysql_users
    return {
        row.username.encode(): row.max_connections for row in rows if row.active and row.backend
    }


def users(config: Config, protocol: Protocol) -> UserTable:
    """The accounts clients log in with: the active frontend rows of [[mysql_users]].

    A row of the same name that is valid towards backends only says what opens backends."""
    towards_backends = {
        row.username: row for row in config.mysql_users if row.active and row.backend
    }
    accounts = []
    for row in config.mysql_users:
        if not (row.active and row.frontend):
            continue
        secret = protocol.secret(row.password or "")
        other = towards_backends.get(row.username, row)
        opens = secret if other is row else protocol.secret(other.password)
        accounts.append(
            Account(
                username=row.username.encode(),
                secret=secret,
                default_schema=(row.default_schema or "").encode(),
                hostgroup=row.default_hostgroup,
                max_connections=row.max_connections,
                require_tls=bool(row.use_ssl),
                plugin=_plugin(row.attributes),
                credential=opens.credential,
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
