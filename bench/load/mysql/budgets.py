# SPDX-License-Identifier: Apache-2.0
"""The aims hproxy is built for, and what has to be measured to see whether it keeps them.

They are meant for a quiet machine and full rounds; on a shared one a line that fails says nothing.
"""

from bench.load.mysql.limits import Limit
from bench.load.sample import DIRECT, HAPROXY, HPROXY, MYSQLROUTER, PROXYSQL
from bench.load.summary import Summary

WORKLOADS = (
    "point_select",
    "point_select_prepared",
    "read_only",
    "read_write",
    "read_write_prepared",
    "many",
    "connect",
    "large",
    "latency",
    "idle",
)
THREADS = (8, 64)
IDLE = 9_800

KIB = 1024


def _cpu(one: Summary) -> float | None:
    return one.cpu_us


def _rate(one: Summary) -> float:
    return one.rate


def _p50(one: Summary) -> float | None:
    return one.p50_ms


def _p99(one: Summary) -> float | None:
    return one.p99_ms


def _at_least(workload: str, what: str, bound: float, against: str) -> Limit:
    optional = against == PROXYSQL
    what = f"{what} / {against}"
    return Limit(workload, HPROXY, what, _rate, bound, against, at_most=False, optional=optional)


LIMITS = (
    Limit("point_select", HPROXY, "CPU / haproxy", _cpu, 1.10, HAPROXY),
    Limit("point_select", HPROXY, "CPU / proxysql", _cpu, 1.0, PROXYSQL, optional=True),
    Limit("point_select", HPROXY, "CPU / mysqlrouter", _cpu, 1.0, MYSQLROUTER, optional=True),
    Limit("point_select", HPROXY, "user µs", lambda one: one.user_us, 3.0),
    _at_least("many", "queries/s", 1.2, DIRECT),
    _at_least("connect", "logins/s", 1.0, HAPROXY),
    _at_least("connect", "logins/s", 1.0, PROXYSQL),
    _at_least("connect", "logins/s", 1.1, DIRECT),
    Limit("connect", HPROXY, "CPU µs per login", _cpu, 72.0),
    _at_least("large", "bytes/s", 0.95, HAPROXY),
    Limit(
        "idle",
        HPROXY,
        "KiB of each client",
        lambda one: None if one.rss_bytes_per_client is None else one.rss_bytes_per_client / KIB,
        8.0,
    ),
    Limit("latency", HPROXY, "p50 / haproxy", _p50, 1.1, HAPROXY),
    Limit("latency", HPROXY, "p99 / haproxy", _p99, 1.1, HAPROXY),
)
