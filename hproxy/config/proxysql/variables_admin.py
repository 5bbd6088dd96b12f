# SPDX-License-Identifier: Apache-2.0
"""Variables of the admin server: who may log in where, what it keeps, how strict it is."""

from __future__ import annotations

from hproxy.config.proxysql.variable import Variable, flag, number, text

__all__ = ["ADMIN"]

_CHECKSUMS = ("mysql_query_rules", "mysql_servers", "mysql_users")
_CHECKSUM_VARIABLES = ("mysql_variables", "admin_variables")
_COPIED = (*_CHECKSUMS, "proxysql_servers", *_CHECKSUM_VARIABLES)
_SAMPLES = {
    "mysql_connections": "mysql_connections",
    "mysql_connection_pool": "history_stats_mysql_connection_pool",
    "mysql_query_cache": "mysql_query_cache",
    "system_cpu": "system_cpu",
    "system_memory": "system_memory",
}

ADMIN: tuple[Variable, ...] = (
    text(
        "admin-admin_credentials",
        "admin:admin",
        "Accounts that may do everything: user:password, several with ';'. A user named admin "
        "may log in from this machine only.",
        option="admin.credentials",
        form="accounts",
        secret=True,
    ),
    text(
        "admin-stats_credentials",
        "stats:stats",
        "Accounts that may only read statistics.",
        option="admin.stats_credentials",
        form="accounts",
        secret=True,
    ),
    text(
        "admin-mysql_ifaces",
        "0.0.0.0:6032",
        "Addresses of the admin port, separated by ';'; empty is none. hproxy's default is this "
        "machine only.",
        form="interfaces",
        option="admin.address",
    ),
    flag("admin-read_only", False, "Whether statements that would change anything are refused."),
    flag(
        "admin-strict",
        True,
        "A wrong value is refused when it is written. false is ProxySQL's way: it is taken, and "
        "set back without an error when it is loaded.",
    ),
    *(
        flag(
            f"admin-checksum_{module}",
            True,
            f"Whether runtime_checksums_values has a checksum of {module}.",
        )
        for module in (*_CHECKSUMS, *_CHECKSUM_VARIABLES)
    ),
    *(
        number(
            f"admin-stats_{what}",
            60,
            0,
            300,
            f"Time between rows of stats_history.{table}, in seconds; 0 is never.",
        )
        for what, table in _SAMPLES.items()
    ),
    number(
        "admin-stats_mysql_query_digest_to_disk",
        0,
        0,
        86_400,
        "Time between copies of stats_mysql_query_digest to history_mysql_query_digest, in "
        "seconds; 0 is never.",
    ),
    text(
        "admin-cluster_username",
        "",
        "Account that peers of proxysql_servers are asked with, and that asks here; it has to be "
        "in admin-admin_credentials, too. Empty: nobody is asked.",
    ),
    flag(
        "admin-restapi_enabled",
        False,
        "Whether programs of restapi_routes answer HTTP requests, and /metrics is there as well.",
    ),
    number(
        "admin-restapi_port",
        6070,
        0,
        65_535,
        "Port of that on 127.0.0.1: nobody is asked for a password. 0 is any.",
    ),
    text("admin-cluster_password", "", "Its password.", secret=True),
    number(
        "admin-cluster_check_interval_ms",
        1000,
        10,
        300_000,
        "Time between looks at the checksums of a peer.",
    ),
    number(
        "admin-cluster_check_status_frequency",
        10,
        0,
        10_000,
        "With every so many looks the statistics of a peer are read, too; 0 is never.",
    ),
    *(
        number(
            f"admin-cluster_{module}_diffs_before_sync",
            3,
            0,
            1000,
            f"How many looks in a row a peer's {module} have to differ before they are copied; "
            "0 is never.",
        )
        for module in _COPIED
    ),
    *(
        flag(
            f"admin-cluster_{module}_save_to_disk",
            True,
            f"Whether {module} that were copied from a peer are saved to disk as well.",
        )
        for module in _COPIED
    ),
)
