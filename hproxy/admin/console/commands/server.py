# SPDX-License-Identifier: Apache-2.0
"""Variables of a MySQL server that clients ask any server for, and no table here has.

They answer SELECT @@name, and SHOW VARIABLES where it names what it wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMENT", "variables"]

COMMENT = "(ProxySQL Admin Module)"

FIXED = {
    "auto_increment_increment": "1",
    "autocommit": "1",
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": "utf8mb4_general_ci",
    "collation_database": "utf8_general_ci",
    "collation_server": "utf8mb4_general_ci",
    "gtid_mode": "OFF",
    "hostname": "hproxy",
    "init_connect": "",
    "interactive_timeout": "28800",
    "license": "Apache-2.0",
    "lower_case_table_names": "0",
    "net_write_timeout": "60",
    "performance_schema": "0",
    "query_cache_size": "0",
    "query_cache_type": "OFF",
    "sql_mode": "NO_BACKSLASH_ESCAPES",
    "system_time_zone": "UTC",
    "time_zone": "SYSTEM",
    "transaction_isolation": "SERIALIZABLE",
    "transaction_read_only": "0",
    "tx_isolation": "SERIALIZABLE",
    "tx_read_only": "0",
    "version_comment": COMMENT,
    "wait_timeout": "28800",
}


def variables(session: ConsoleSession) -> dict[str, str]:
    """All of them, as they are now; flags are 0 or 1."""
    console = session.console
    return FIXED | {
        "max_allowed_packet": console.values.text("mysql-max_allowed_packet"),
        "read_only": str(int(console.read_only)),
        "version": console.version,
    }
