# SPDX-License-Identifier: Apache-2.0
"""System and user variables of one session: what @@name says and what SET does; pure."""

from __future__ import annotations

from collections.abc import Mapping

from hproxy.admin.lexer import Kind, Token
from hproxy.admin.model import Value
from hproxy.errors import AdminError

__all__ = ["Variables"]

COLLATION = "utf8mb4_general_ci"

# What clients and frameworks ask for. Those of CONSTANT cannot be set.
DEFAULTS: dict[str, Value] = {
    "auto_increment_increment": 1,
    "auto_increment_offset": 1,
    "autocommit": 1,
    "big_tables": 0,
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_database": "utf8mb4",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": COLLATION,
    "collation_database": COLLATION,
    "collation_server": COLLATION,
    "default_storage_engine": "SQLite",
    "div_precision_increment": 4,
    "foreign_key_checks": 1,
    "group_concat_max_len": 1024,
    "init_connect": "",
    "innodb_lock_wait_timeout": 5,
    "interactive_timeout": 28800,
    "long_query_time": 10.0,
    "lower_case_table_names": 0,
    "max_allowed_packet": 64 << 20,
    "last_insert_id": 0,
    "max_connections": 1000,
    "max_execution_time": 0,
    "net_buffer_length": 16384,
    "net_read_timeout": 30,
    "net_write_timeout": 60,
    "optimizer_switch": "",
    "profiling": 0,
    "query_cache_size": 0,
    "query_cache_type": 0,
    "session_track_schema": 1,
    "sql_auto_is_null": 0,
    "sql_log_bin": 0,
    "sql_mode": "STRICT_TRANS_TABLES",
    "sql_notes": 1,
    "sql_quote_show_create": 1,
    "sql_safe_updates": 0,
    "sql_select_limit": 2**63 - 1,
    "sql_warnings": 0,
    "time_zone": "SYSTEM",
    "timestamp": 0.0,
    "transaction_isolation": "REPEATABLE-READ",
    "transaction_read_only": 0,
    "unique_checks": 1,
    "wait_timeout": 28800,
}
CONSTANT: dict[str, Value] = {
    "error_count": 0,
    "character_set_system": "utf8mb3",
    "have_openssl": "NO",
    "have_ssl": "DISABLED",
    "hostname": "",
    "innodb_read_only": 0,
    "license": "Apache-2.0",
    "log_bin": 0,
    "performance_schema": 0,
    "port": 0,
    "protocol_version": 10,
    "pseudo_thread_id": 0,
    "read_only": 0,
    "server_id": 1,
    "super_read_only": 0,
    "system_time_zone": "UTC",
    "version": "",
    "version_comment": "",
    "version_compile_machine": "any",
    "version_compile_os": "any",
    "warning_count": 0,
}
# Shown as ON and OFF, and set so as well.
SWITCHES = frozenset(
    {
        "autocommit",
        "big_tables",
        "foreign_key_checks",
        "innodb_read_only",
        "log_bin",
        "performance_schema",
        "profiling",
        "read_only",
        "session_track_schema",
        "sql_auto_is_null",
        "sql_log_bin",
        "sql_notes",
        "sql_quote_show_create",
        "sql_safe_updates",
        "sql_warnings",
        "super_read_only",
        "transaction_read_only",
        "unique_checks",
    }
)
PAIRS = {
    "identity": "last_insert_id",
    "tx_isolation": "transaction_isolation",
    "tx_read_only": "transaction_read_only",
}
WORDS: Mapping[str, Value] = {"ON": 1, "TRUE": 1, "OFF": 0, "FALSE": 0}
SCOPES = ("global.", "session.", "local.", "persist.")


class Variables:
    """One session's; `facts` says what this server, and this session, are."""

    def __init__(self, facts: Mapping[str, Value]) -> None:
        self._constant = CONSTANT | dict(facts)
        self._set: dict[str, Value] = {}
        self._user: dict[str, Value] = {}

    def clear(self) -> None:
        """As at the start."""
        self._set.clear()
        self._user.clear()

    def look_up(self, token: Token) -> Value:
        """The value of an @x or @@x. Raises AdminError (1193)."""
        if token.kind is Kind.USER_VARIABLE:
            return self._user.get(token.value)
        return self.get(_without_scope(token.value))

    def get(self, name: str) -> Value:
        """The value of a system variable. Raises AdminError (1193)."""
        name = PAIRS.get(name, name)
        for values in (self._set, self._constant, DEFAULTS):
            if name in values:
                return values[name]
        raise AdminError(f"Unknown system variable '{name}'", number=1193, sqlstate=b"HY000")

    def set(self, name: str, value: Value) -> None:
        """Set a system variable; None is its default. Raises AdminError (1193, 1238)."""
        name = PAIRS.get(_without_scope(name), _without_scope(name))
        self.get(name)
        if name in self._constant:
            raise AdminError(
                f"Variable '{name}' is a read only variable", number=1238, sqlstate=b"HY000"
            )
        if isinstance(value, str) and name in SWITCHES:
            value = WORDS.get(value.upper(), value)
        if name in SWITCHES and value not in (0, 1, None):
            raise AdminError(
                f"Variable '{name}' can't be set to the value of '{value!s}'",
                number=1231,
                sqlstate=b"42000",
            )
        if value is None:
            self._set.pop(name, None)
        else:
            self._set[name] = value

    def set_user(self, name: str, value: Value) -> None:
        """Set an @x."""
        self._user[name] = value

    def set_names(self, charset: str, collation: str | None) -> None:
        """SET NAMES."""
        for part in ("client", "connection", "results"):
            self._set[f"character_set_{part}"] = charset
        self._set["collation_connection"] = collation or f"{charset}_general_ci"

    def listing(self) -> list[tuple[str, str]]:
        """All of them as SHOW VARIABLES prints them."""
        names = sorted({*DEFAULTS, *self._constant})
        return [(name, self._shown(name)) for name in names]

    def _shown(self, name: str) -> str:
        value = self.get(name)
        if name in SWITCHES:
            return "ON" if value else "OFF"
        return str(value)


def _without_scope(name: str) -> str:
    name = name.lower()
    for scope in SCOPES:
        name = name.removeprefix(scope)
    return name
