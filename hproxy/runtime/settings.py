# SPDX-License-Identifier: Apache-2.0
"""From the configuration model to what sessions, pools, topology and accounts are made of."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from hproxy.auth import Account
from hproxy.auth.guard import Buckets, Guard
from hproxy.config.proxysql.rows import rows_in, variables_of
from hproxy.config.schema import Config
from hproxy.config.table import MysqlUser
from hproxy.errors import ConfigError, ConfigFinding
from hproxy.net.proxy_protocol import Networks
from hproxy.net.tls import write_private
from hproxy.pool import PoolSettings
from hproxy.protocols.base import Protocol
from hproxy.routing.firewall import Firewall
from hproxy.routing.rules import RuleSet
from hproxy.session.services import Settings
from hproxy.telemetry.journal import JournalOptions
from hproxy.topology import Backend, Health, HostgroupAttributes, HostgroupTable, Status

__all__ = [
    "backends",
    "firewall",
    "guard",
    "health",
    "hostgroups",
    "journal",
    "max_latency",
    "pairs",
    "pool",
    "rsa_key",
    "rules",
    "settings",
    "statuses",
    "tolerated",
    "user_limits",
    "users",
]

# zstd packs better in less time; MariaDB has zlib only.
HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
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
        proxy_networks=Networks(proxy.proxy_protocol_networks) or None,
        proxy_header_timeout=proxy.proxy_protocol_timeout_ms / 1000,
        proxy_versions={
            row.hostgroup_id: row.proxy_protocol
            for row in config.mysql_hostgroup_attributes
            if row.proxy_protocol
        },
    )


def journal(config: Config, folder: Path) -> JournalOptions:
    """What is logged of statements and clients; files with relative names are in `folder`."""
    proxy = config.proxy
    return JournalOptions(
        folder=folder,
        eventslog_filename=proxy.eventslog_filename,
        eventslog_filesize=proxy.eventslog_filesize,
        eventslog_default_log=proxy.eventslog_default_log,
        eventslog_format=proxy.eventslog_format,
        slowlog_filename=proxy.slowlog_filename,
        slowlog_filesize=proxy.slowlog_filesize,
        long_query_time=proxy.long_query_time / 1000,
        auditlog_filename=proxy.auditlog_filename,
        auditlog_filesize=proxy.auditlog_filesize,
    )


def firewall(config: Config) -> Firewall:
    """Who may run what. Raises ConfigError."""
    values = variables_of(config)
    try:
        return Firewall.compile(
            rows_in(config, "mysql_firewall_whitelist_users"),
            rows_in(config, "mysql_firewall_whitelist_rules"),
            enabled=values["mysql-firewall_whitelist_enabled"] == "true",
            errormsg=values["mysql-firewall_whitelist_errormsg"],
        )
    except ValueError as error:
        raise ConfigError(str(error), key="mysql_firewall_whitelist_rules") from None


def guard(config: Config, buckets: Buckets | None = None) -> Guard:
    """Limits failed logins, in buckets of its own if there are no `buckets`."""
    return Guard(
        time.monotonic,
        per_host=config.proxy.login_failures_per_host,
        per_account=config.proxy.login_failures_per_account,
        buckets=buckets,
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
                max_replication_lag=row.max_replication_lag,
                max_latency_ms=row.max_latency_ms,
            )
        )
    return tuple(found)


def statuses(config: Config) -> dict[Backend, Status]:
    """What the configuration says of each backend."""
    rows = zip(backends(config), config.servers, strict=True)
    return {backend: Status(row.status) for backend, row in rows}


def health(config: Config) -> dict[Backend, Health]:
    """The status each backend starts with."""
    return {backend: Health(status=status) for backend, status in statuses(config).items()}


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


def tolerated(config: Config) -> int:
    """Connect failures within a second that have no consequence."""
    return max(0, config.proxy.shun_on_failures - 1)


def max_latency(config: Config) -> int:
    """Milliseconds a ping may take to a backend without a limit of its own."""
    return int(variables_of(config)["mysql-default_max_latency_ms"])


def returns_everywhere(config: Config) -> bool:
    """Whether a server that returns does so in all hostgroups."""
    return variables_of(config)["mysql-unshun_algorithm"] == "1"


def rules(config: Config) -> RuleSet:
    """Query rules. Raises ConfigError with what is wrong with each."""
    values = variables_of(config)
    found = RuleSet.compile(
        rows_in(config, "mysql_query_rules"),
        rows_in(config, "mysql_query_rules_fast_routing"),
        int(values["mysql-query_processor_regex"]),
        int(values["mysql-query_processor_iterations"]),
    )
    if found.bad:
        raise ConfigError(
            findings=[
                ConfigFinding(f"mysql_query_rules ({bad.rule_id})", bad.column, bad.reason)
                for bad in found.bad
            ]
        )
    return found


def hostgroups(config: Config) -> HostgroupTable:
    """Attributes of hostgroups.

    A column that its row does not give has the value of the option of [proxy]."""
    proxy = config.proxy
    options = ("free_connections_pct", "connection_warming", "throttle_connections_per_sec")
    values = variables_of(config)
    shared = values["mysql-multiplexing"] == "true"
    common = HostgroupAttributes(
        multiplex=shared,
        init_connect=values["mysql-init_connect"],
        **{name: getattr(proxy, name) for name in options},
    )
    found = HostgroupTable(common=common)
    for row in config.mysql_hostgroup_attributes:
        given = {name: getattr(row, name) for name in options if name in row.model_fields_set}
        found[row.hostgroup_id] = replace(
            common,
            multiplex=row.multiplex and shared,
            init_connect=row.init_connect or common.init_connect,
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


def users(config: Config, protocol: Protocol) -> list[Account]:
    """The accounts clients log in with: the active frontend rows of [[mysql_users]].

    A row of the same name that is valid towards backends only says what opens backends."""
    towards_backends = {
        row.username: row for row in config.mysql_users if row.active and row.backend
    }
    accounts = []
    for row in config.mysql_users:
        if not (row.active and row.frontend):
            continue
        plugin = _attribute(row, "auth_plugin")
        secret = protocol.secret(row.password or "").under(plugin.encode())
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
                plugin=plugin or None,
                transaction_persistent=row.transaction_persistent,
                additional=_additional(row, protocol),
                isolation=_attribute(row, "default-transaction_isolation").upper().encode(),
                fast_forward=row.fast_forward,
                credential=opens.credential,
                separate=other is not row,
            )
        )
    return accounts


def _attribute(row: MysqlUser, name: str) -> str:
    """A text in the attributes column, like `{"auth_plugin": "client_ed25519"}`; "" for none."""
    found = json.loads(row.attributes) if row.attributes else {}
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _additional(row: MysqlUser, protocol: Protocol) -> Any:
    """The second password of an account; in the forms of the first, or a hash in hex digits."""
    text = _attribute(row, "additional_password")
    if not text:
        return None
    secret = protocol.secret(text)
    if secret.is_clear and HEX.fullmatch(text):
        inner = protocol.secret(f"0x{text}")
        return secret if inner.is_clear else inner
    return secret


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
