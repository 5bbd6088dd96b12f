# SPDX-License-Identifier: Apache-2.0
"""Numbers of a worker as Prometheus reads them: ProxySQL's names and labels, and some of our own.

    Reading (plain numbers, taken at scrape time) ──> families ──> exposition: text
                                                        ├ TOTALS: a number, a metric
                                                        ├ here: a row per server, hostgroup, error
                                                        ├ metrics_times: histograms
                                                        └ metrics_process: processes, haentgl's

Nothing is registered, nothing is kept between scrapes, and nothing of this runs for a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from hproxy.telemetry import metrics_process, metrics_times
from hproxy.telemetry.metrics_table import TOTALS, Total
from hproxy.telemetry.reading import HostgroupReading, Reading, ServerReading

__all__ = ["HostgroupReading", "Reading", "ServerReading", "exposition", "families"]

STATUSES = {"ONLINE": 1, "SHUNNED": 2, "OFFLINE_SOFT": 3, "OFFLINE_HARD": 4,
            "SHUNNED_REPLICATION_LAG": 5}  # fmt: skip


class _Collector:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        return families(self._reading)


def exposition(reading: Reading) -> str:
    """The text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(reading))
    return generate_latest(registry).decode()


def families(reading: Reading) -> Iterator[Metric]:
    """Every metric with its samples."""
    yield from _totals(reading)
    yield from _servers(reading.servers)
    yield from _hostgroups(reading.hostgroups)
    yield from _others(reading)
    yield from metrics_times.families(reading)
    yield from metrics_process.families(reading)


def _totals(reading: Reading) -> Iterator[Metric]:
    """Rows of TOTALS that share a name are one family."""
    by_name: dict[str, list[Total]] = {}
    for total in TOTALS:
        by_name.setdefault(total.name, []).append(total)
    for name, rows in by_name.items():
        labels = [label for label, _ in rows[0].labels]
        made = _family(rows[0].kind, f"proxysql_{name}", rows[0].text, labels)
        for row in rows:
            source = reading.memory if row.source in reading.memory else reading.totals
            value = source.get(row.source, 0) * row.scale
            made.add_metric([value for _, value in row.labels], value)
        yield made


def _family(
    kind: str, name: str, text: str, labels: list[str]
) -> CounterMetricFamily | GaugeMetricFamily:
    made = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    return made(name, text, labels=labels)


def _servers(servers: Iterable[ServerReading]) -> Iterator[Metric]:
    place = ["endpoint", "hostgroup"]
    prefix = "proxysql_connpool"
    open_now = GaugeMetricFamily(
        f"{prefix}_conns", "Backend connections, free or used.", labels=[*place, "status"]
    )
    latency = GaugeMetricFamily(
        f"{prefix}_conns_latency_us", "Time of the last ping, in microseconds.", labels=place
    )
    queries = CounterMetricFamily(
        f"{prefix}_conns_queries", "Statements that the server answered.", labels=place
    )
    status = GaugeMetricFamily(
        f"{prefix}_conns_status",
        "1 ONLINE, 2 SHUNNED, 3 OFFLINE_SOFT, 4 OFFLINE_HARD, 5 SHUNNED_REPLICATION_LAG.",
        labels=place,
    )
    opened = CounterMetricFamily(
        f"{prefix}_conns", "Connections that were opened, or could not be.",
        labels=[*place, "status"],
    )  # fmt: skip
    data = CounterMetricFamily(
        f"{prefix}_data_bytes", "Bytes of statements and their answers.",
        labels=[*place, "traffic_flow"],
    )  # fmt: skip
    for server in servers:
        at = [server.endpoint, str(server.hostgroup)]
        open_now.add_metric([*at, "used"], server.used)
        open_now.add_metric([*at, "free"], server.free)
        latency.add_metric(at, server.latency_us)
        queries.add_metric(at, server.queries)
        status.add_metric(at, STATUSES.get(server.status, 0))
        opened.add_metric([*at, "ok"], server.ok)
        opened.add_metric([*at, "err"], server.failed)
        data.add_metric([*at, "sent"], server.sent)
        data.add_metric([*at, "recv"], server.received)
    yield from (open_now, latency, queries, status, opened, data)


def _hostgroups(hostgroups: Iterable[HostgroupReading]) -> Iterator[Metric]:
    labels = ["protocol", "hostgroup"]
    acquired = CounterMetricFamily(
        "proxysql_connpool_acquisitions", "Connections given to statements.", labels=labels
    )
    waits = CounterMetricFamily(
        "proxysql_connpool_waits", "Statements that had to wait for one.", labels=labels
    )
    seconds = CounterMetricFamily(
        "proxysql_connpool_wait_time_seconds", "Time they waited.", labels=labels
    )
    waiters = GaugeMetricFamily(
        "proxysql_connpool_waiters", "Statements that wait now.", labels=labels
    )
    for row in hostgroups:
        at = ["mysql", str(row.hostgroup)]
        acquired.add_metric(at, row.acquired)
        waits.add_metric(at, row.waits)
        seconds.add_metric(at, row.wait_seconds)
        waiters.add_metric(at, row.waiters)
    yield from (acquired, waits, seconds, waiters)


def _others(reading: Reading) -> Iterator[Metric]:
    errors = CounterMetricFamily(
        "proxysql_mysql_error", "Errors that backends gave.",
        labels=["hostgroup", "endpoint", "code"],
    )  # fmt: skip
    for (hostgroup, host, port, code), count in reading.errors.items():
        errors.add_metric([str(hostgroup), f"{host}:{port}", str(code)], count)
    version = GaugeMetricFamily(
        "proxysql_version_info", "The version, as a label.", labels=["version"]
    )
    version.add_metric([reading.version], 1)
    pins = GaugeMetricFamily(
        "hproxy_pins", "Sessions that keep their backend connection, by reason.",
        labels=["reason"],
    )  # fmt: skip
    for reason, count in sorted(reading.pins.items()):
        pins.add_metric([reason], count)
    yield from (errors, version, pins)
    yield CounterMetricFamily(
        "hproxy_retries", "Statements sent again, unseen by the client.", reading.retries
    )
    yield GaugeMetricFamily(
        "proxysql_mysql_max_connections", "Clients that may be connected.",
        reading.max_connections,
    )  # fmt: skip
    yield GaugeMetricFamily(
        "proxysql_mysql_wait_timeout", "Milliseconds after which idle clients are let go.",
        reading.wait_timeout_ms,
    )  # fmt: skip
    yield GaugeMetricFamily("proxysql_fds_in_use", "Open descriptors.", reading.descriptors)
