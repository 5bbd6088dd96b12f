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
from hproxy.config.section import (
    AdminOptions,
    DaemonOptions,
    HealthOptions,
    LogFormat,
    LoggingOptions,
    LogLevel,
    ProxyOptions,
    ServerOptions,
    TlsOptions,
)
from hproxy.config.table import MysqlServer, MysqlUser, ServerStatus
from hproxy.errors import ConfigError, ConfigFinding

__all__ = [
    "AdminOptions",
    "Config",
    "DaemonOptions",
    "HealthOptions",
    "LogFormat",
    "LogLevel",
    "LoggingOptions",
    "MysqlServer",
    "MysqlUser",
    "ProxyOptions",
    "ServerOptions",
    "ServerStatus",
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

    @property
    def servers(self) -> tuple[MysqlServer, ...]:
        """All backends: those of `proxy.backends` (hostgroup 0) first, then [[mysql_servers]]."""
        short = (MysqlServer.from_address(parse_backend(text)) for text in self.proxy.backends)
        return (*short, *self.mysql_servers)

    @property
    def auth_mode(self) -> Literal["relay", "table"]:
        """`proxy.auth`, or what follows from there being users or not."""
        return self.proxy.auth or ("table" if self.mysql_users else "relay")

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

    @model_validator(mode="after")
    def _across(self) -> Config:
        items = [*_mode_items(self), *_server_items(self), *_user_items(self)]
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
    seen: dict[str, int] = {}
    for index, row in enumerate(config.mysql_users):
        if row.username in seen:
            yield Refusal(
                f"user {row.username!r} is there already",
                f"first given as mysql_users[{seen[row.username]}]",
                (f"mysql_users[{index}].username",),
            )
        else:
            seen[row.username] = index
    if config.auth_mode == "table" and not any(
        row.active and row.frontend for row in config.mysql_users
    ):
        yield Refusal(
            'auth "table" needs at least one active user',
            'add [[mysql_users]], or auth = "relay"',
            ("proxy.auth", "mysql_users"),
        )
