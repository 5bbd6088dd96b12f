# SPDX-License-Identifier: Apache-2.0
"""The whole configuration as one frozen model, and the checks that need more than one section.

`Config` is what the program runs on; `load.load_config` makes one out of file, environment and
flags. Sections are declared in `section`, table rows in `table`, `rule`, `hostgroup` and
`service`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from hproxy.config.address import Address, parse_backend, parse_listen
from hproxy.config.hostgroup import (
    MysqlAwsAuroraHostgroup,
    MysqlGaleraHostgroup,
    MysqlGroupReplicationHostgroup,
)
from hproxy.config.http import HttpOptions
from hproxy.config.option import OptionModel, Refusal, Refusals, detail_of, is_live
from hproxy.config.proxy import ProxyOptions, SessionMode
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.variables import VARIABLES, find_variable
from hproxy.config.rule import (
    MysqlFirewallRule,
    MysqlFirewallSqliFingerprint,
    MysqlFirewallUser,
    MysqlQueryRule,
    MysqlQueryRuleFastRouting,
)
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
from hproxy.config.service import (
    MysqlServerSslParams,
    ProxysqlServer,
    RestapiRoute,
    SchedulerJob,
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
    "HttpOptions",
    "LogFormat",
    "LogLevel",
    "LoggingOptions",
    "MysqlAwsAuroraHostgroup",
    "MysqlFirewallRule",
    "MysqlFirewallSqliFingerprint",
    "MysqlFirewallUser",
    "MysqlGaleraHostgroup",
    "MysqlGroupReplicationHostgroup",
    "MysqlHostgroupAttributes",
    "MysqlQueryRule",
    "MysqlQueryRuleFastRouting",
    "MysqlReplicationHostgroup",
    "MysqlServer",
    "MysqlServerSslParams",
    "MysqlUser",
    "ProxyOptions",
    "ProxysqlServer",
    "RestapiRoute",
    "SchedulerJob",
    "ServerOptions",
    "ServerStatus",
    "SessionMode",
    "TlsOptions",
]

# The list of servers each mode reads, for "at least one" and "that key is not for this mode".
ENDPOINT_KEYS = {"mysql": "backends", "redis": "cluster_nodes", "mongodb": "mongos_endpoints"}


# The one variable that is an option and remembered besides, while that option is 0.
REMEMBERED = "mysql-tcp_keepalive_time"


def _variables(prefix: str) -> BeforeValidator:
    """Checks a table of variables without their prefix; numbers and flags become text."""

    def checked(value: object) -> object:
        if not isinstance(value, Mapping):
            raise Refusal("must be a table of names and values")
        found: dict[str, str] = {}
        items: list[Refusal] = []
        for name, given in value.items():
            try:
                variable = find_variable(f"{prefix}-{name}")
                if variable.option and variable.name != REMEMBERED:
                    raise Refusal(f"is {variable.option}", "a file may say either")
                text = str(given).lower() if isinstance(given, bool) else str(given)
                # What is there by default stands, the version too, which cannot be set.
                checked = text if text == variable.default else variable.check(text)
                found[variable.name.partition("-")[2]] = checked
            except Refusal as refusal:
                hint = refusal.hint.replace(f" {prefix}-", " ")
                items.append(Refusal(refusal.message, hint, (f"{prefix}_variables.{name}",)))
        if items:
            raise Refusals(items)
        return found

    return BeforeValidator(checked)


class Config(OptionModel):
    """Everything an operator can say, with every default filled in."""

    server: Annotated[ServerOptions, Field(description="The process.")] = ServerOptions()
    proxy: Annotated[ProxyOptions, Field(description="Protocol and sessions.")] = ProxyOptions()
    tls: Annotated[TlsOptions, Field(description="Encryption.")] = TlsOptions()
    health: Annotated[HealthOptions, Field(description="Probes.")] = HealthOptions()
    logging: Annotated[LoggingOptions, Field(description="Log.")] = LoggingOptions()
    admin: Annotated[AdminOptions, Field(description="Operators' ports.")] = AdminOptions()
    http: Annotated[HttpOptions, Field(description="HTTP API.")] = HttpOptions()
    mysql_servers: Annotated[tuple[MysqlServer, ...], Field(description="Backends.")] = ()
    mysql_users: Annotated[tuple[MysqlUser, ...], Field(description="Accounts.")] = ()
    mysql_replication_hostgroups: Annotated[
        tuple[MysqlReplicationHostgroup, ...], Field(description="Writers and their readers.")
    ] = ()
    mysql_hostgroup_attributes: Annotated[
        tuple[MysqlHostgroupAttributes, ...], Field(description="Options of single hostgroups.")
    ] = ()
    mysql_group_replication_hostgroups: Annotated[
        tuple[MysqlGroupReplicationHostgroup, ...], Field(description="Groups.")
    ] = ()
    mysql_galera_hostgroups: Annotated[
        tuple[MysqlGaleraHostgroup, ...], Field(description="Galera clusters.")
    ] = ()
    mysql_aws_aurora_hostgroups: Annotated[
        tuple[MysqlAwsAuroraHostgroup, ...], Field(description="Aurora clusters.")
    ] = ()
    mysql_servers_ssl_params: Annotated[
        tuple[MysqlServerSslParams, ...], Field(description="TLS towards single servers.")
    ] = ()
    mysql_query_rules: Annotated[
        tuple[MysqlQueryRule, ...], Field(description="What happens to which statements.")
    ] = ()
    mysql_query_rules_fast_routing: Annotated[
        tuple[MysqlQueryRuleFastRouting, ...], Field(description="Hostgroups by user and schema.")
    ] = ()
    mysql_firewall_whitelist_users: Annotated[
        tuple[MysqlFirewallUser, ...], Field(description="What the firewall does for whom.")
    ] = ()
    mysql_firewall_whitelist_rules: Annotated[
        tuple[MysqlFirewallRule, ...], Field(description="Statements that may pass.")
    ] = ()
    mysql_firewall_whitelist_sqli_fingerprints: Annotated[
        tuple[MysqlFirewallSqliFingerprint, ...], Field(description="Suspicions that are none.")
    ] = ()
    proxysql_servers: Annotated[tuple[ProxysqlServer, ...], Field(description="Peers.")] = ()
    scheduler: Annotated[tuple[SchedulerJob, ...], Field(description="Programs to run.")] = ()
    restapi_routes: Annotated[tuple[RestapiRoute, ...], Field(description="REST calls.")] = ()
    # Variables without an option of their own, without the prefix; `proxysql.binding` puts the
    # others where they belong before anything is validated.
    mysql_variables: Annotated[dict[str, str], _variables("mysql")] = Field(
        default_factory=dict, description="Variables mysql-*."
    )
    admin_variables: Annotated[dict[str, str], _variables("admin")] = Field(
        default_factory=dict, description="Variables admin-*.", repr=False
    )

    _notes: tuple[ConfigFinding, ...] = PrivateAttr(default=())

    @property
    def servers(self) -> tuple[MysqlServer, ...]:
        """All backends: those of `proxy.backends` (hostgroup 0) first, then [[mysql_servers]]."""
        short = (MysqlServer.from_address(parse_backend(text)) for text in self.proxy.backends)
        return (*short, *self.mysql_servers)

    @property
    def http_listens(self) -> tuple[Address, ...]:
        """Where the HTTP API listens; empty for nowhere.

        Who wants no admin port has not asked for another one either."""
        older = self.admin.http_address
        if "address" in self.http.model_fields_set or (older is None and self.admin.listens):
            return self.http.listens
        return (
            () if older is None else tuple(parse_listen(text) for text in older.split(";") if text)
        )

    @property
    def operated(self) -> bool:
        """Whether operators have a port: what they change can be saved."""
        return bool(self.admin.listens or self.http_listens)

    @property
    def served_hostgroups(self) -> frozenset[int]:
        """Those that have servers, or get them from monitors: a pair's other half, a cluster's."""
        found = {row.hostgroup_id for row in self.servers}
        if not self.proxy.monitor_username:
            return frozenset(found)
        groups = [
            {row.writer_hostgroup, row.reader_hostgroup}
            for row in self.mysql_replication_hostgroups
        ]
        groups += [
            {row.writer_hostgroup, row.backup_writer_hostgroup, row.reader_hostgroup}
            for row in (*self.mysql_group_replication_hostgroups, *self.mysql_galera_hostgroups)
            if row.active
        ]
        return frozenset(found.union(*(group for group in groups if group & found)))

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
        """What is allowed, and most likely not meant; and what of a file was left out."""
        return (*self._notes, *_doubts(self))

    @property
    def notes(self) -> tuple[ConfigFinding, ...]:
        """What whoever read the file has left out."""
        return self._notes

    def noted(self, notes: Iterable[ConfigFinding]) -> Config:
        """The same, with notes of whoever read the file."""
        config = self.model_copy()
        config._notes = tuple(notes)
        return config

    @model_validator(mode="after")
    def _across(self, info: ValidationInfo) -> Config:
        # On the admin port, and in a file that leaves it to the admin port (a proxysql.cnf, or
        # one that names the port), there may be no backend and no user yet, or none any more.
        named = "address" in self.admin.model_fields_set and bool(self.admin.listens)
        live = is_live(info) or named
        items = [
            *_mode_items(self, live),
            *_server_items(self),
            *_user_items(self, live),
            *_unique_items(self),
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
        elif isinstance(value, dict):
            kind = name.partition("_")[0]
            known = ((key, VARIABLES[f"{kind}-{key}"]) for key in value)
            # Programs write all of them into a file, most as they are anyway.
            yield from (
                f"{prefix}{name}.{key}"
                for key, variable in known
                if variable.acts == "ignored"
                and variable.check(str(value[key])) != variable.default
            )
        elif detail_of(type(model), name).get("acts") is False:
            yield f"{prefix}{name}"


def _mode_items(config: Config, live: bool) -> Iterator[Refusal]:
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
    elif not live:
        yield from _backend_items(config)


def _backend_items(config: Config) -> Iterator[Refusal]:
    if not config.servers:
        yield Refusal(
            "there is no backend to connect to",
            "give --backend HOST:PORT, proxy.backends or [[mysql_servers]]; or --admin HOST:PORT, "
            "and add rows of mysql_servers there",
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


def _user_items(config: Config, live: bool) -> Iterator[Refusal]:
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
    if not live:
        yield from _login_items(config)
    if config.proxy.session_mode == "multiplex" and config.auth_mode == "relay":
        yield Refusal(
            'needs auth "table"',
            "in relay mode the proxy knows no password to open connections with: add "
            '[[mysql_users]], or session_mode = "session"',
            ("proxy.session_mode", "proxy.auth", "mysql_users"),
        )


def _login_items(config: Config) -> Iterator[Refusal]:
    """Clients must be able to log in, and the proxy on their behalf, when it knows them."""
    if config.auth_mode == "relay":
        return
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


def _unique_items(config: Config) -> Iterator[Refusal]:
    """The keys of the admin tables hold in the file as well."""
    for name, table in CONFIG_TABLES.items():
        if name in ("mysql_servers", "mysql_users", "global_variables"):
            continue  # those have checks of their own, or are not rows
        rows = getattr(config, name)
        for columns in table.unique_keys if len(rows) > 1 else ():
            seen: dict[tuple[object, ...], int] = {}
            for index, row in enumerate(rows):
                key = tuple(getattr(row, column) for column in columns)
                first = seen.setdefault(key, index)
                if first != index:
                    yield Refusal(
                        f"{_named(columns, key)} is there already",
                        f"first given as {name}[{first}]",
                        (f"{name}[{index}].{columns[0]}",),
                    )


def _named(columns: tuple[str, ...], key: tuple[object, ...]) -> str:
    if len(columns) == 1 and "hostgroup" in columns[0]:
        return f"hostgroup {key[0]}"
    pairs = zip(columns, key, strict=True)
    return ", ".join(f"{column} {value!r}" for column, value in pairs)


def _doubts(config: Config) -> Iterator[ConfigFinding]:
    """What leaves nobody to serve or to serve with, hostgroups without servers, what is unused."""
    if config.mysql_replication_hostgroups and config.session_mode == "session":
        yield ConfigFinding(
            source="",
            key="mysql_replication_hostgroups",
            message='reads are not sent to readers in session_mode "session"',
            hint='it takes session_mode = "multiplex"',
        )
    pairs = {(p.writer_hostgroup, p.reader_hostgroup) for p in config.mysql_replication_hostgroups}
    for index, pair in enumerate(config.mysql_replication_hostgroups):
        if (pair.reader_hostgroup, pair.writer_hostgroup) in pairs:
            yield ConfigFinding(
                source="",
                key=f"mysql_replication_hostgroups[{index}]",
                message=f"hostgroups {pair.writer_hostgroup} and {pair.reader_hostgroup} are each "
                "the other's readers: servers would move back and forth with every check",
                hint="delete one of the two rows",
            )
    if config.proxy.mode == "mysql":
        nobody = [*_backend_items(config), *_login_items(config)]
        yield from (ConfigFinding("", x.keys[0], x.message, None, x.hint) for x in nobody)
    filled = config.served_hostgroups
    told: set[tuple[str, int]] = set()
    for table, index, column, hostgroup in _destinations(config):
        # Of thousands of rules that go nowhere, the first says it.
        if hostgroup not in filled and (table, hostgroup) not in told:
            told.add((table, hostgroup))
            yield _without_servers(f"{table}[{index}].{column}", hostgroup)


def _destinations(config: Config) -> Iterator[tuple[str, int, str, int]]:
    """Table, row and column of every hostgroup that is referred to, and the hostgroup."""
    for index, pair in enumerate(config.mysql_replication_hostgroups):
        for column in ("writer_hostgroup", "reader_hostgroup"):
            yield "mysql_replication_hostgroups", index, column, getattr(pair, column)
    for index, row in enumerate(config.mysql_hostgroup_attributes):
        yield "mysql_hostgroup_attributes", index, "hostgroup_id", row.hostgroup_id
    for index, user in enumerate(config.mysql_users if config.auth_mode == "table" else ()):
        if user.active:
            yield "mysql_users", index, "default_hostgroup", user.default_hostgroup
    for index, rule in enumerate(config.mysql_query_rules):
        for column in ("destination_hostgroup", "mirror_hostgroup"):
            hostgroup = getattr(rule, column)
            if rule.active and hostgroup is not None:
                yield "mysql_query_rules", index, column, hostgroup
    for index, way in enumerate(config.mysql_query_rules_fast_routing):
        yield (
            "mysql_query_rules_fast_routing",
            index,
            "destination_hostgroup",
            way.destination_hostgroup,
        )


def _without_servers(key: str, hostgroup: int) -> ConfigFinding:
    return ConfigFinding(
        source="",
        key=key,
        message="no server is in this hostgroup",
        value=str(hostgroup),
        hint=f"add a row of mysql_servers with hostgroup_id = {hostgroup}",
    )
