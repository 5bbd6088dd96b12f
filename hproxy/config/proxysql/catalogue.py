# SPDX-License-Identifier: Apache-2.0
"""Every table of the admin databases, by name.

    database        tables                          kept
    main            CONFIG_TABLES                   the memory layer, edited
                    RUNTIME_TABLES                  what acts now, read only
                    MAIN_TABLES                     others of main, read only
    disk            CONFIG_TABLES, DISK_TABLES      the saved configuration
    stats           STATS_TABLES                    counters, read when asked for
    monitor         MONITOR_TABLES                  logs of probes
    stats_history   HISTORY_TABLES                  samples over time, on disk

Tables of ProxySQL for PostgreSQL, ClickHouse, LDAP and core dumps are left out: nothing here
would ever fill or read them.
"""

from __future__ import annotations

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.catalogue_logs import HISTORY_TABLES, MONITOR_TABLES
from hproxy.config.proxysql.catalogue_stats import STATS_TABLES
from hproxy.config.proxysql.table import Table, table

__all__ = [
    "CONFIG_TABLES",
    "DISK_TABLES",
    "HISTORY_TABLES",
    "MAIN_TABLES",
    "MONITOR_TABLES",
    "RUNTIME_TABLES",
    "SECRET_COLUMNS",
    "STATS_TABLES",
    "find",
]

# Columns that hold passwords; they are never shown in diffs, histories and logs.
SECRET_COLUMNS = frozenset({("mysql_users", "password"), ("mysql_users", "attributes")})

RUNTIME_TABLES: dict[str, Table] = {
    f"runtime_{name}": made.renamed(f"runtime_{name}") for name, made in CONFIG_TABLES.items()
}

MAIN_TABLES: dict[str, Table] = {
    made.name: made
    for made in (
        table(
            "main",
            "mysql_collations",
            """
Id INTEGER NOT NULL PRIMARY KEY
Collation VARCHAR NOT NULL
Charset VARCHAR NOT NULL
`Default` VARCHAR NOT NULL
""",
        ),
        table(
            "main",
            "runtime_checksums_values",
            """
name VARCHAR NOT NULL
version INT NOT NULL
epoch INT NOT NULL
checksum VARCHAR NOT NULL
PRIMARY KEY (name)
""",
        ),
        # Ours: every change of the running or saved configuration, by whom, and how to go back.
        table(
            "main",
            "hproxy_config_history",
            """
version INTEGER NOT NULL PRIMARY KEY
changed_at VARCHAR NOT NULL
username VARCHAR NOT NULL
client VARCHAR NOT NULL
module VARCHAR NOT NULL
action VARCHAR NOT NULL
statement VARCHAR NOT NULL
diff VARCHAR NOT NULL
""",
        ),
    )
}

# Only on disk: what belongs to the file and not to the configuration.
DISK_TABLES: dict[str, Table] = {
    "global_settings": CONFIG_TABLES["global_variables"].renamed("global_settings", "disk")
}


def find(name: str, schema: str = "") -> Table:
    """The table of that name, in any case; without a schema the first that has one.

    Raises KeyError."""
    wanted = name.lower()
    for tables in (CONFIG_TABLES, RUNTIME_TABLES, MAIN_TABLES):
        if schema in ("", "main") and wanted in tables:
            return tables[wanted]
    if schema == "disk":
        return (CONFIG_TABLES | DISK_TABLES)[wanted].renamed(wanted, "disk")
    for tables in (STATS_TABLES, MONITOR_TABLES, HISTORY_TABLES):
        made = tables.get(wanted)
        if made is not None and schema in ("", made.schema):
            return made
    raise KeyError(name)
