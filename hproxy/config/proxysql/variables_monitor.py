# SPDX-License-Identifier: Apache-2.0
"""Variables of the monitors: which probes run, how often, and what makes a backend fail."""

from __future__ import annotations

from hproxy.config.proxysql.variable import Variable, flag, number, text

__all__ = ["MONITOR"]

WEEK_MS = 7 * 24 * 3600 * 1000
TEN_MIN_MS = 600_000


def _interval(what: str, default: int, doc: str, low: int = 100) -> Variable:
    return number(f"mysql-monitor_{what}", default, low, WEEK_MS, f"{doc}, in milliseconds.")


def _timeout(what: str, default: int, doc: str, low: int = 100) -> Variable:
    return number(f"mysql-monitor_{what}", default, low, TEN_MIN_MS, f"{doc}, in milliseconds.")


MONITOR: tuple[Variable, ...] = (
    flag("mysql-monitor_enabled", True, "Whether backends are probed at all."),
    text(
        "mysql-monitor_username",
        "monitor",
        "Account of the probes. hproxy's default is none.",
        option="proxy.monitor_username",
    ),
    text(
        "mysql-monitor_password",
        "monitor",
        "Its password. hproxy's default is none.",
        option="proxy.monitor_password",
        secret=True,
    ),
    _interval("history", 7_200_000, "How long the logs of probes are kept", 1000),
    _interval("connect_interval", 120_000, "Time between connect probes of one backend"),
    _timeout("connect_timeout", 600, "A connect probe without an answer for this long failed"),
    number(
        "mysql-monitor_ping_interval",
        8000,
        100,
        WEEK_MS,
        "Time between pings of one backend, in milliseconds.",
        option="health.interval_sec",
        scale=0.001,
    ),
    number(
        "mysql-monitor_ping_timeout",
        1000,
        100,
        TEN_MIN_MS,
        "A ping without an answer for this long failed, in milliseconds.",
        option="health.timeout_sec",
        scale=0.001,
    ),
    number(
        "mysql-monitor_ping_max_failures",
        3,
        1,
        1000,
        "Failed pings in a row that shun a backend and cut its connections.",
        option="health.failure_threshold",
    ),
    _interval("read_only_interval", 1000, "Time between looks at read_only"),
    _timeout("read_only_timeout", 800, "Such a look without an answer for this long failed"),
    number(
        "mysql-monitor_read_only_max_timeout_count",
        3,
        1,
        1_000_000,
        "Looks without an answer in a row after which a backend counts as read-only.",
    ),
    flag(
        "mysql-monitor_writer_is_also_reader",
        True,
        "Whether a writer is a member of the reader hostgroup too.",
    ),
    _interval("replication_lag_interval", 10_000, "Time between looks at the replication lag"),
    _timeout("replication_lag_timeout", 1000, "Such a look without an answer failed after this"),
    number(
        "mysql-monitor_replication_lag_count",
        1,
        1,
        10,
        "Looks in a row above max_replication_lag that shun a replica.",
    ),
    text(
        "mysql-monitor_replication_lag_use_percona_heartbeat",
        "",
        "Table of pt-heartbeat the lag is read from, as schema.table; empty asks the server.",
    ),
    number(
        "mysql-monitor_slave_lag_when_null",
        60,
        0,
        604_800,
        "Lag of a replica that does not replicate, in seconds.",
    ),
    _interval("groupreplication_healthcheck_interval", 5000, "Time between looks at a group"),
    _timeout("groupreplication_healthcheck_timeout", 800, "Such a look failed after this"),
    number(
        "mysql-monitor_groupreplication_healthcheck_max_timeout_count",
        3,
        1,
        10,
        "Failed looks in a row that take a member out.",
    ),
    number(
        "mysql-monitor_groupreplication_max_transactions_behind_count",
        3,
        1,
        10,
        "Looks in a row above max_transactions_behind that shun a member.",
    ),
    number(
        "mysql-monitor_groupreplication_max_transactions_behind_for_read_only",
        1,
        0,
        2,
        "Who is shunned for being behind: 0 nobody that is read-only, 1 only those, 2 all.",
    ),
    _interval("galera_healthcheck_interval", 5000, "Time between looks at a Galera node", 50),
    _timeout("galera_healthcheck_timeout", 800, "Such a look failed after this", 50),
    number(
        "mysql-monitor_galera_healthcheck_max_timeout_count",
        3,
        1,
        10,
        "Failed looks in a row that take a node out.",
    ),
    number(
        "mysql-monitor_threads_max",
        128,
        4,
        1024,
        "Twice the number of probes that run at once.",
    ),
    number(
        "mysql-monitor_local_dns_cache_ttl",
        300_000,
        0,
        WEEK_MS,
        "How long the address of a backend's name is kept, in milliseconds; 0 keeps none.",
    ),
    number(
        "mysql-monitor_local_dns_cache_refresh_interval",
        60_000,
        0,
        WEEK_MS,
        "Time between looks at whether names have new addresses, in milliseconds; 0 is never.",
    ),
    flag(
        "mysql-monitor_wait_timeout",
        True,
        "Whether probes set a wait_timeout that fits their interval on their connections.",
    ),
)
