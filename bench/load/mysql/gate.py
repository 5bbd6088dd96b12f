# SPDX-License-Identifier: Apache-2.0
"""The gate CI holds hproxy to: ratios to HAProxy in the same run, with generous margins.

The aims are much closer (budgets.py); a shared two-core machine only lets gross mistakes be told
from noise. CPU per query is taken as the median. What strangers on the machine can only worsen,
p99 and rates, is taken from the best round of each target.

No limit is in microseconds: the same machine was seen to take three times as long for a query from
one day to the next, HAProxy's as well. User time is held against HAProxy's whole CPU time of a
query, because HAProxy's user time alone is too few ticks of 10 ms to divide by.
"""

from bench.load.mysql.limits import Limit
from bench.load.sample import DIRECT, HAPROXY, HPROXY, HPROXY_SESSION
from bench.load.summary import Summary

# What is measured for it, with how much patience.
WORKLOADS = ("point_select", "many", "connect", "large", "idle")
THREADS = 8
ROUNDS = 3
ROUND_S = 3.0
IDLE = 1000
ATTEMPTS = 3  # a workload that fails is measured anew before it counts

KIB = 1024


def _cpu(one: Summary) -> float | None:
    return one.cpu_us


def _best_p99(one: Summary) -> float | None:
    return one.best_p99_ms


def _best_rate(one: Summary) -> float:
    return one.best_rate


def _user(one: Summary) -> float | None:
    return one.user_us


def _user_share(target: str, bound: float) -> Limit:
    what = "user time per query / HAProxy's CPU time"
    return Limit("point_select", target, what, _user, bound, HAPROXY, share_of=_cpu)


def _queries(target: str) -> list[Limit]:
    return [
        Limit("point_select", target, "CPU per query / HAProxy", _cpu, 1.6, HAPROXY),
        Limit("point_select", target, "p99 / HAProxy", _best_p99, 2.0, HAPROXY),
        Limit(
            "large", target, "bytes per second / HAProxy", _best_rate, 0.7, HAPROXY, at_most=False
        ),
    ]


LIMITS = (
    *_queries(HPROXY),
    *_queries(HPROXY_SESSION),
    # On a quiet machine 0.10 and 0.18, on a slow and busy one 0.18 and 0.26 were seen.
    _user_share(HPROXY_SESSION, 0.25),
    # What multiplexing adds: on-CPU time, which is exact where user time is sampled. Python in the
    # way of a query would add half as much again.
    Limit("point_select", HPROXY, "CPU per query / hproxy-session", _cpu, 1.3, HPROXY_SESSION),
    _user_share(HPROXY, 0.35),
    Limit("many", HPROXY, "queries per second / direct", _best_rate, 0.7, DIRECT, at_most=False),
    Limit(
        "connect", HPROXY, "logins per second / HAProxy", _best_rate, 0.5, HAPROXY, at_most=False
    ),
    Limit(
        "idle",
        HPROXY,
        "KiB of each client",
        lambda one: None if one.rss_bytes_per_client is None else one.rss_bytes_per_client / KIB,
        16.0,
    ),
)
