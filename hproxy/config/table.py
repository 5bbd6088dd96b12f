# SPDX-License-Identifier: Apache-2.0
"""Rows of the admin tables that a file may hold: servers, users, and what is said of hostgroups.

Rules stand in `rule`, hostgroups with roles in `hostgroup`, peers and programs in `service`.

Columns, defaults and ranges are ProxySQL's, so that a row means the same in the file, on the
admin port and in the tools that write it. Columns it stores as 0 or 1 are booleans here; a
file may say 1 or true.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, model_validator

from hproxy.config.address import MAX_PORT, Address, AddressError, parse_backend
from hproxy.config.option import OptionModel, Refusal, Whole, live

__all__ = [
    "MysqlHostgroupAttributes",
    "MysqlReplicationHostgroup",
    "MysqlServer",
    "MysqlUser",
    "ReadOnlyCheck",
    "ServerStatus",
    "json_or_empty",
    "json_text",
    "upper",
]

ServerStatus = Literal["ONLINE", "SHUNNED", "OFFLINE_SOFT", "OFFLINE_HARD"]
ReadOnlyCheck = Literal[
    "read_only",
    "innodb_read_only",
    "super_read_only",
    "read_only|innodb_read_only",
    "read_only&innodb_read_only",
]
MAX_INT32 = 2**31 - 1
ISOLATION_LEVELS = ("READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE")


def upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def json_text(value: object) -> object:
    # A TOML file can say it as a table or a list; the column holds text.
    return json.dumps(value) if isinstance(value, dict | list) else value


def json_or_empty(text: str) -> str:
    try:
        valid = not text or isinstance(json.loads(text), dict)
    except ValueError:
        valid = False
    if not valid:
        raise Refusal("must be a JSON object or empty")
    return text


def _user_attributes(text: str) -> str:
    found = json.loads(text) if text else {}
    level = found.get("default-transaction_isolation")
    if level is not None and str(level).upper() not in ISOLATION_LEVELS:
        raise Refusal("has no such default-transaction_isolation", ", ".join(ISOLATION_LEVELS))
    second = found.get("additional_password")
    if second is not None and not isinstance(second, str):
        raise Refusal("has an additional_password that is no text")
    return text


def _hostgroup_settings(text: str) -> str:
    version = json.loads(text).get("proxy_protocol", 0) if text else 0
    if version not in (0, 1, 2) or isinstance(version, bool):
        raise Refusal("has a proxy_protocol that does not exist", "0 (none), 1 or 2")
    return text


def _names_or_empty(text: str) -> str:
    try:
        names = json.loads(text) if text else []
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise Refusal("must be a JSON array of names or empty", 'like ["sql_mode"]')
    return text


class MysqlServer(OptionModel):
    """One row of mysql_servers: a backend as a member of a hostgroup."""

    hostgroup_id: Annotated[
        Whole,
        live(
            "Hostgroup it belongs to; `hostgroup` is accepted too.",
            ge=0,
            le=MAX_INT32,
            validation_alias=AliasChoices("hostgroup_id", "hostgroup"),
        ),
    ] = 0
    hostname: Annotated[str, live("Host name, IP address, or socket path (then port is 0).")]
    port: Annotated[Whole, live("TCP port.", ge=0, le=MAX_PORT)] = 3306
    gtid_port: Annotated[
        Whole, live("Port of its GTID reporter; 0 is none.", ge=0, le=MAX_PORT, acts=False)
    ] = 0
    status: Annotated[
        ServerStatus, BeforeValidator(upper), live("ONLINE, or why it gets no new sessions.")
    ] = "ONLINE"
    weight: Annotated[Whole, live("Its share of new sessions.", ge=0, le=10_000_000)] = 1
    compression: Annotated[
        bool, live("Compress connections to it, with zstd if it can, else zlib.")
    ] = False
    max_connections: Annotated[
        Whole, live("Connections the proxy opens to it at most.", ge=0, le=MAX_INT32)
    ] = 1000
    max_replication_lag: Annotated[
        Whole,
        live(
            "A replica further behind gets no queries; 0 is any lag.",
            ge=0,
            le=126_144_000,
            unit="seconds",
        ),
    ] = 0
    use_ssl: Annotated[bool, live("TLS to it is required, whatever tls.backend says.")] = False
    max_latency_ms: Annotated[
        Whole,
        live("A backend that pings slower is avoided; 0 is any.", ge=0, le=MAX_INT32),
    ] = 0
    comment: Annotated[str, live("A remark.")] = ""

    @property
    def address(self) -> Address:
        return parse_backend(_address_text(self.hostname, self.port))

    @model_validator(mode="after")
    def _address(self) -> MysqlServer:
        try:
            parse_backend(_address_text(self.hostname, self.port))
        except AddressError as error:
            key = "port" if self.hostname and not self.port else "hostname"
            raise Refusal(str(error), keys=(key,)) from None
        if self.gtid_port and self.gtid_port == self.port:
            raise Refusal("must differ from port", "0 is none", ("gtid_port",))
        return self

    @classmethod
    def from_address(cls, address: Address) -> MysqlServer:
        """The row that `proxy.backends` is shorthand for, without a limit of its own."""
        if address.path is not None:
            return cls(hostname=address.path, port=0, max_connections=MAX_INT32)
        return cls(hostname=address.host, port=address.port, max_connections=MAX_INT32)


def _address_text(hostname: str, port: int) -> str:
    if hostname.startswith("/"):
        return hostname
    if not hostname:
        raise AddressError("is empty")
    if hostname.startswith("["):
        return f"{hostname}:{port}"
    return f"[{hostname}]:{port}" if ":" in hostname else f"{hostname}:{port}"


class MysqlUser(OptionModel):
    """One row of mysql_users: an account clients log in with, and the one used on backends."""

    username: Annotated[str, live("Account name.", min_length=1, max_length=128)]
    password: Annotated[
        str,
        live("Clear text, '*' and 40 hex digits, or a caching_sha2_password hash.", repr=False),
    ] = ""
    active: Annotated[bool, live("Whether the row counts.")] = True
    use_ssl: Annotated[bool, live("The client must use TLS.")] = False
    default_hostgroup: Annotated[Whole, live("Hostgroup of its sessions.", ge=0, le=MAX_INT32)] = 0
    default_schema: Annotated[str | None, live("Schema when the client names none.")] = None
    schema_locked: Annotated[bool, live("The session stays in its schema.")] = False
    transaction_persistent: Annotated[
        bool, live("A transaction stays in the hostgroup it began in.")
    ] = True
    fast_forward: Annotated[
        bool, live("Its sessions keep one backend connection, and no statement is looked at.")
    ] = False
    backend: Annotated[bool, live("The row is what opens connections to backends.")] = True
    frontend: Annotated[bool, live("The row is valid for clients.")] = True
    max_connections: Annotated[
        Whole,
        live("Clients logged in with it at once, and connections to backends.", ge=0, le=MAX_INT32),
    ] = 10_000
    attributes: Annotated[
        str,
        BeforeValidator(json_text),
        AfterValidator(json_or_empty),
        AfterValidator(_user_attributes),
        live(
            'JSON object or empty. auth_plugin ("client_ed25519") chooses the plugin, '
            "additional_password is a second password that is as good, and "
            'default-transaction_isolation ("READ-COMMITTED") what sessions begin with.'
        ),
    ] = ""
    comment: Annotated[str, live("A remark.")] = ""


class MysqlReplicationHostgroup(OptionModel):
    """One row of mysql_replication_hostgroups: a writer hostgroup and the one its reads go to."""

    writer_hostgroup: Annotated[Whole, live("Hostgroup that takes writes.", ge=0, le=MAX_INT32)]
    reader_hostgroup: Annotated[
        Whole,
        live("Hostgroup for reads of users whose hostgroup is the writer.", ge=0, le=MAX_INT32),
    ]
    check_type: Annotated[
        ReadOnlyCheck,
        BeforeValidator(_lower),
        live("Variable that tells a writer from a reader."),
    ] = "read_only"
    comment: Annotated[str, live("A remark.")] = ""

    @model_validator(mode="after")
    def _differ(self) -> MysqlReplicationHostgroup:
        if self.reader_hostgroup == self.writer_hostgroup:
            raise Refusal("must differ from writer_hostgroup", keys=("reader_hostgroup",))
        return self


class MysqlHostgroupAttributes(OptionModel):
    """One row of mysql_hostgroup_attributes: what holds for one hostgroup alone."""

    hostgroup_id: Annotated[
        Whole,
        live(
            "Hostgroup it is about; `hostgroup` is accepted too.",
            ge=0,
            le=MAX_INT32,
            validation_alias=AliasChoices("hostgroup_id", "hostgroup"),
        ),
    ]
    max_num_online_servers: Annotated[
        Whole, live("Servers of it that may be online.", ge=0, le=1_000_000)
    ] = 1_000_000
    autocommit: Annotated[
        Whole,
        live("Autocommit on its connections; -1 leaves it as it is.", ge=-1, le=1, acts=False),
    ] = -1
    free_connections_pct: Annotated[
        Whole,
        live(
            "As proxy.free_connections_pct, which holds without it.",
            ge=0,
            le=100,
            unit="percent",
        ),
    ] = 10
    init_connect: Annotated[str, live("Statement run on each connection that is opened to it.")] = (
        ""
    )
    multiplex: Annotated[
        bool, live("Whether its connections are shared; false keeps one per session.")
    ] = True
    connection_warming: Annotated[
        bool, live("As proxy.connection_warming, which holds without it.")
    ] = False
    throttle_connections_per_sec: Annotated[
        Whole,
        live(
            "As proxy.throttle_connections_per_sec, which holds without it.",
            ge=1,
            le=1_000_000,
            unit="per second",
        ),
    ] = 1_000_000
    ignore_session_variables: Annotated[
        str,
        BeforeValidator(json_text),
        AfterValidator(_names_or_empty),
        live("JSON array of variables that are not carried over to its connections, or empty."),
    ] = ""
    hostgroup_settings: Annotated[
        str,
        BeforeValidator(json_text),
        AfterValidator(json_or_empty),
        AfterValidator(_hostgroup_settings),
        live(
            'JSON object or empty; {"proxy_protocol": 2} sends a PROXY header of that version to '
            "its servers."
        ),
    ] = ""
    servers_defaults: Annotated[
        str,
        BeforeValidator(json_text),
        AfterValidator(json_or_empty),
        live("JSON object or empty: columns of servers found later.", acts=False),
    ] = ""
    comment: Annotated[str, live("A remark.")] = ""

    @property
    def ignored_variables(self) -> frozenset[str]:
        """`ignore_session_variables`, parsed; names in lower case."""
        text = self.ignore_session_variables
        return frozenset(name.lower() for name in json.loads(text)) if text else frozenset()

    @property
    def proxy_protocol(self) -> int:
        """Version of the PROXY header its servers get, from `hostgroup_settings`; 0 is none."""
        text = self.hostgroup_settings
        return int(json.loads(text).get("proxy_protocol", 0)) if text else 0
