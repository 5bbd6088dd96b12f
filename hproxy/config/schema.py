# SPDX-License-Identifier: Apache-2.0
"""The whole configuration as one frozen model, and the checks that need more than one section.

`Config` is what the program runs on; `load.load_config` makes one out of file, environment and
flags. Sections are declared in `section`, table rows in `table`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from hproxy.config.address import parse_backend
from hproxy.config.option import OptionModel, Refusal, Refusals, detail_of
from hproxy.config.proxy import ProxyOptions, SessionMode
from hproxy.config.section import (
    AdminOptions,
    DaemonOptions,
    HealthOptions,
    LogFormat,
    LoggingOptions,
    LogLevel,
    ServerOptions,
    TlsOptions,
)
from hproxy.config.table import (
    MysqlHostgroupAttributes,
    MysqlReplicationHostgroup,
    MysqlServer,
    MysqlUser,
    ServerStatus,
)
from hproxy.errors import ConfigError, ConfigFinding

__all__ = [
    "AdminOptions",
    "Config",
    "DaemonOptions",
    "HealthOptions",
    "LogFormat",
    "LogLevel",
    "LoggingOptions",
    "MysqlHostgroupAttributes",
    "MysqlReplicationHostgroup",
    "MysqlServer",
    "MysqlUser",
    "ProxyOptions",
    "ServerOptions",
    "ServerStatus",
    "SessionMode",
    "TlsOptions",
]

# The list of servers each mode reads, for "at least one" and "that key is not for this mode".
ENDPOINT_KEYS = {"mysql": "backends", "redis": "cluster_nodes", "mongodb": "mongos_endpoints"}


class Config(OptionModel):
    """Everything an operator can say, with every default filled in."""

    server: Annotated[ServerOptions, Field(description="The process.")] = ServerOptions()
    proxy: Annotated[ProxyOptions, Field(description="Protocol and sessions.")] = ProxyOptions()
    tls: Annotated[TlsOptions, Field(description="Encryption.")] = TlsOptions()
    health: Annotated[HealthOptions, Field(description="Probes.")] = HealthOptions()
    logging: Annotated[LoggingOptions, Field(description="Log.")] = LoggingOptions()
    admin: Annotated[AdminOptions, Field(description="Operators' ports.")] = AdminOptions()
    mysql_servers: Annotated[tuple[MysqlServer, ...], Field(description="Backends.")] = ()
    mysql_users: Annotated[tuple[MysqlUser, ...], Field(description="Accounts.")] = ()
    mysql_replication_hostgroups: Annotated[
        tuple[MysqlReplicationHostgroup, ...], Field(description="Writers and their readers.")
    ] = ()
    mysql_hostgroup_attributes: Annotated[
        tuple[MysqlHostgroupAttributes, ...], Field(description="Options of single hostgroups.")
    ] = ()

    @property
    def servers(self) -> tuple[MysqlServer, ...]:
        """All backends: those of `proxy.backends` (hostgroup 0) first, then [[mysql_servers]]."""
        short = (MysqlServer.from_address(parse_backend(text)) for text in self.proxy.backends)
        return (*short, *self.mysql_servers)

    @property
    def auth_mode(self) -> Literal["relay", "table"]:
        """`proxy.auth`, or what follows from there being users or not."""
        return self.proxy.auth or ("table" if self.mysql_users else "relay")

    @property
    def session_mode(self) -> SessionMode:
        """`proxy.session_mode`, or what follows from who checks passwords."""
        return self.proxy.session_mode or ("multiplex" if self.auth_mode == "table" else "session")

    def require_runnable(self) -> None:
        """Raise ConfigError when this version cannot serve what the configuration asks for."""
        if self.proxy.mode != "mysql":
            finding = ConfigFinding(
                source="",
                key="proxy.mode",
                message=f'"{self.proxy.mode}" is not yet supported in this version',
                hint='it serves mode = "mysql"',
            )
            raise ConfigError(findings=[finding])

    def dormant_keys(self) -> tuple[str, ...]:
        """Keys that were given and are accepted, but take effect only in a later version."""
        return tuple(_dormant(self, ""))

    def warnings(self) -> tuple[ConfigFinding, ...]:
        """What is allowed, and most likely not meant."""
        return tuple(_doubts(self))

    @model_validator(mode="after")
    def _across(self) -> Config:
        items = [
            *_mode_items(self),
            *_server_items(self),
            *_user_items(self),
            *_hostgroup_items(self),
        ]
        if items:
            raise Refusals(items)
        return self


def _dormant(model: BaseModel, prefix: str) -> Iterator[str]:
    for name in type(model).model_fields:
        if name not in model.model_fields_set:
            continue
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _dormant(value, f"{prefix}{name}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, row in enumerate(value):
                yield from _dormant(row, f"{prefix}{name}[{index}].")
        elif detail_of(type(model), name).get("acts") is False:
            yield f"{prefix}{name}"


def _mode_items(config: Config) -> Iterator[Refusal]:
    """Keys of another mode than the one chosen, and the need of at least one server."""
    proxy = config.proxy
    for name in sorted(proxy.model_fields_set):
        belongs = detail_of(ProxyOptions, name).get("mode", proxy.mode)
        if belongs != proxy.mode:
            hint = f"proxy.{ENDPOINT_KEYS[proxy.mode]}" if name in ENDPOINT_KEYS.values() else ""
            yield Refusal(
                f'is for mode "{belongs}", and the mode is "{proxy.mode}"',
                f"did you mean {hint}?" if hint else "",
                (f"proxy.{name}", "proxy.mode"),
            )
    if proxy.mode != "mysql":
        name = ENDPOINT_KEYS[proxy.mode]
        if not getattr(proxy, name):
            yield Refusal(
                f'mode "{proxy.mode}" needs at least one',
                f'{name} = ["HOST:PORT"]',
                (f"proxy.{name}", "proxy.mode"),
            )
    elif not proxy.backends and not config.mysql_servers:
        yield Refusal(
            "there is no backend to connect to",
            "give --backend HOST:PORT, proxy.backends or [[mysql_servers]]",
            ("proxy.backends", "mysql_servers", "proxy.mode"),
        )


def _server_items(config: Config) -> Iterator[Refusal]:
    seen: dict[tuple[int, str, int], str] = {}
    shorthand = len(config.proxy.backends)
    for index, row in enumerate(config.servers):
        where = (
            f"proxy.backends[{index}]"
            if index < shorthand
            else f"mysql_servers[{index - shorthand}]"
        )
        identity = (row.hostgroup_id, row.hostname.lower(), row.port)
        if identity in seen:
            yield Refusal(
                f"{row.address} is in hostgroup {row.hostgroup_id} already",
                f"first given as {seen[identity]}",
                (where,),
            )
        else:
            seen[identity] = where


def _user_items(config: Config) -> Iterator[Refusal]:
    """ProxySQL's keys: a name has one row with each value of frontend, and of backend."""
    seen: dict[tuple[str, str, bool], int] = {}
    for index, row in enumerate(config.mysql_users):
        keys = [(row.username, side, getattr(row, side)) for side in ("frontend", "backend")]
        first = next((seen[key] for key in keys if key in seen), None)
        if first is not None:
            yield Refusal(
                f"user {row.username!r} is there already",
                f"first given as mysql_users[{first}]",
                (f"mysql_users[{index}].username",),
            )
        else:
            seen.update(dict.fromkeys(keys, index))
    if config.auth_mode == "table":
        yield from _login_items(config)
    if config.proxy.session_mode == "multiplex" and config.auth_mode == "relay":
        yield Refusal(
            'needs auth "table"',
            "in relay mode the proxy knows no password to open connections with: add "
            '[[mysql_users]], or session_mode = "session"',
            ("proxy.session_mode", "proxy.auth", "mysql_users"),
        )


def _login_items(config: Config) -> Iterator[Refusal]:
    """Clients must be able to log in, and the proxy on their behalf."""
    clients = [
        (index, row) for index, row in enumerate(config.mysql_users) if row.active and row.frontend
    ]
    if not clients:
        yield Refusal(
            'auth "table" needs at least one active user',
            'add [[mysql_users]], or auth = "relay"',
            ("proxy.auth", "mysql_users"),
        )
    opening = {row.username for row in config.mysql_users if row.active and row.backend}
    for index, row in clients:
        if row.username not in opening:
            yield Refusal(
                f"no active row of user {row.username!r} is valid towards backends",
                "leave backend at 1, or add a row with frontend = 0",
                (f"mysql_users[{index}].backend",),
            )


# A hostgroup may stand once in each of these columns, as in ProxySQL's keys.
UNIQUE_HOSTGROUPS = (
    ("mysql_replication_hostgroups", "writer_hostgroup"),
    ("mysql_replication_hostgroups", "reader_hostgroup"),
    ("mysql_hostgroup_attributes", "hostgroup_id"),
)


def _hostgroup_items(config: Config) -> Iterator[Refusal]:
    for table, column in UNIQUE_HOSTGROUPS:
        seen: dict[int, int] = {}
        for index, row in enumerate(getattr(config, table)):
            hostgroup = getattr(row, column)
            if hostgroup in seen:
                yield Refusal(
                    f"hostgroup {hostgroup} is there already",
                    f"first given as {table}[{seen[hostgroup]}]",
                    (f"{table}[{index}].{column}",),
                )
            else:
                seen[hostgroup] = index


def _doubts(config: Config) -> Iterator[ConfigFinding]:
    """References to hostgroups that no server is in, and what the session mode leaves unused."""
    if config.mysql_replication_hostgroups and config.session_mode == "session":
        yield ConfigFinding(
            source="",
            key="mysql_replication_hostgroups",
            message='reads are not sent to readers in session_mode "session"',
            hint='it takes session_mode = "multiplex"',
        )
    filled = {row.hostgroup_id for row in config.servers}
    for index, pair in enumerate(config.mysql_replication_hostgroups):
        for column in ("writer_hostgroup", "reader_hostgroup"):
            if getattr(pair, column) not in filled:
                yield _without_servers(
                    f"mysql_replication_hostgroups[{index}].{column}", getattr(pair, column)
                )
    for index, row in enumerate(config.mysql_hostgroup_attributes):
        if row.hostgroup_id not in filled:
            yield _without_servers(
                f"mysql_hostgroup_attributes[{index}].hostgroup_id", row.hostgroup_id
            )
    users = config.mysql_users if config.auth_mode == "table" else ()
    for index, user in enumerate(users):
        if user.active and user.default_hostgroup not in filled:
            yield _without_servers(
                f"mysql_users[{index}].default_hostgroup", user.default_hostgroup
            )


def _without_servers(key: str, hostgroup: int) -> ConfigFinding:
    return ConfigFinding(
        source="",
        key=key,
        message="no server is in this hostgroup",
        value=str(hostgroup),
        hint=f"add [[mysql_servers]] with hostgroup_id = {hostgroup}",
    )
