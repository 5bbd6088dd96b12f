# SPDX-License-Identifier: Apache-2.0
"""Metrics of the processes themselves, and those haentgl has of them.

hproxy_process_*{role,slot}             each process
process_*                               all together, by the names Prometheus' clients have
proxy_process_*{node_name}              haentgl's: all together
proxy_max_connections, proxy_curr_connections{node_name}
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hproxy.telemetry.reading import Reading

__all__ = ["families"]


def families(reading: Reading) -> Iterator[Metric]:
    """All of them."""
    yield from _each(reading)
    resident = sum(process.resident for process in reading.processes)
    virtual = sum(process.virtual for process in reading.processes)
    spent = sum(process.cpu_seconds for process in reading.processes)
    yield CounterMetricFamily("process_cpu_seconds", "User and system, of all processes.", spent)
    yield GaugeMetricFamily("process_resident_memory_bytes", "Of all processes.", resident)
    yield GaugeMetricFamily("process_virtual_memory_bytes", "Of all processes.", virtual)
    yield GaugeMetricFamily("process_open_fds", "Of all processes.", reading.descriptors)
    yield from _haentgl(reading, resident, virtual, spent)


def _each(reading: Reading) -> Iterator[Metric]:
    labels = ["role", "slot"]
    resident = GaugeMetricFamily("hproxy_process_resident_bytes", "Bytes in memory.", labels=labels)
    spent = CounterMetricFamily("hproxy_process_cpu_seconds", "User and system.", labels=labels)
    descriptors = GaugeMetricFamily("hproxy_process_fds", "Open descriptors.", labels=labels)
    restarts = CounterMetricFamily(
        "hproxy_process_restarts", "Times that its place was taken by a new one.", labels=labels
    )
    for process in reading.processes:
        who = [process.role, str(process.slot)]
        resident.add_metric(who, process.resident)
        spent.add_metric(who, process.cpu_seconds)
        descriptors.add_metric(who, process.descriptors)
        restarts.add_metric(who, process.restarts)
    yield from (resident, spent, descriptors, restarts)


def _haentgl(reading: Reading, resident: int, virtual: int, spent: float) -> Iterator[Metric]:
    """By its names; where those end in _total, its type is a gauge all the same."""
    connected = reading.totals.get("Client_Connections_connected", 0)
    for name, text, value in (
        ("process_mem_rss_bytes", "Bytes in memory.", resident),
        ("process_mem_virtual_bytes", "Bytes of address space.", virtual),
        ("process_cpu_core_num", "Cores of the machine.", os.cpu_count() or 1),
        ("process_cpu_seconds_total", "User and system.", spent),
        ("max_connections", "Clients that may be connected.", reading.max_connections),
        ("curr_connections", "Clients that are connected.", connected),
    ):
        family = GaugeMetricFamily(f"proxy_{name}", text, labels=["node_name"])
        family.add_metric([socket.gethostname()], value)
        yield family
