# SPDX-License-Identifier: Apache-2.0
"""The exposition: names, labels and values, as a parser of Prometheus reads them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hproxy.telemetry.metrics import exposition
from hproxy.telemetry.metrics_table import TOTALS
from hproxy.telemetry.reading import (
    HostgroupReading,
    ProcessReading,
    Reading,
    ServerReading,
    Times,
)
from hproxy.telemetry.summing import summed

TIMES = Times((1, 0, 0, 2, *([0] * 15), 3), 31.5)
PHASES = {
    "queue": Times((0, 0, 1, 3, *([0] * 16)), 0.5),
    "first_byte": TIMES,
    "answer": TIMES,
    "total": TIMES,
}
READING = Reading(
    totals={"Questions": 42, "Backend_query_time_nsec": 1_500_000_000, "Stmt_Cached": 3},
    memory={"jemalloc_resident": 1000},
    version="1.2.3",
    servers=(
        ServerReading(0, "db1:3306", "ONLINE", 2, 3, 5, 1, 40, 100, 200, 350),
        ServerReading(1, "db1:3306", "OFFLINE_SOFT", 0, 0, 0, 0, 0, 0, 0, 0),
    ),
    hostgroups=(HostgroupReading(0, 41, 4, 0.5, 1, PHASES),),
    errors={(0, "db1", 3306, 1062): 7},
    pins={"TRANSACTION": 2},
    retries=1,
    max_connections=100,
    wait_timeout_ms=1000,
    commands={3: Times((1, *([0] * 19)), 0.000_01)},
    processes=(ProcessReading("worker", 0, 1 << 20, 1 << 24, 1.5, 12),),
)

# B.8 of the field study: what is drawn by the dashboards that exist.
WANTED = """
access_denied_max_connections_total access_denied_max_user_connections_total
access_denied_wrong_password_total active_transactions automatic_detected_sql_injection_total
aws_aurora_replicas_skipped_during_query_total backend_lagging_during_query_total
backend_offline_during_query_total backend_query_time_seconds_total client_connections_connected
client_connections_non_idle client_connections_hostgroup_locked client_connections_total
client_host_error_killed_connections_total com_autocommit_total com_commit_cnt_total
com_rollback_total com_backend_change_user_total com_backend_init_db_total
com_backend_set_names_total com_backend_stmt_total com_frontend_init_db_total
com_frontend_set_names_total com_frontend_stmt_total com_frontend_use_db_total connpool_conns
connpool_conns_latency_us connpool_conns_queries_total connpool_conns_status connpool_conns_total
connpool_data_bytes_total connpool_get_conn_failure_total connpool_get_conn_success_total
connpool_get_conn_success_immediate_total connpool_memory_bytes fds_in_use
generated_error_packets_total jemalloc_bytes max_connect_timeouts_total mirror_concurrency
myhgm_myconnpool_destroy_total myhgm_myconnpool_get_total myhgm_myconnpool_push_total
mysql_error_total mysql_killed_backend_connections_total mysql_killed_backend_queries_total
mysql_listener_paused mysql_max_connections mysql_monitor_connect_check_total
mysql_monitor_ping_check_total mysql_monitor_read_only_check_total
mysql_monitor_replication_lag_check_total mysql_thread_workers mysql_wait_timeout
queries_backends_bytes_total queries_frontends_bytes_total query_cache_bytes_total
query_cache_count_get_total query_cache_memory_bytes query_processor_time_seconds_total
questions_total server_connections_connected server_connections_total servers_table_version_total
slow_queries_total sqlite3_memory_bytes stmt_cached stmt_client_active stmt_server_active
uptime_seconds_total version_info connpool_acquisitions_total connpool_waits_total
connpool_wait_time_seconds_total connpool_waiters
"""


def samples() -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(exposition(READING)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_names_that_dashboards_ask_for_are_there() -> None:
    assert {f"proxysql_{name}" for name in WANTED.split()} <= set(samples())


def test_totals_are_scaled_and_labelled() -> None:
    found = samples()
    assert found["proxysql_questions_total"] == {(): 42}
    assert found["proxysql_backend_query_time_seconds_total"] == {(): 1.5}
    assert found["proxysql_jemalloc_bytes"][(("type", "resident"),)] == 1000
    assert set(found["proxysql_com_backend_stmt_total"]) == {
        (("op", "prepare"),), (("op", "execute"),), (("op", "close"),),
    }  # fmt: skip


def test_servers_have_endpoint_and_hostgroup() -> None:
    found = samples()
    at = (("endpoint", "db1:3306"), ("hostgroup", "0"))
    other = (("endpoint", "db1:3306"), ("hostgroup", "1"))
    assert found["proxysql_connpool_conns"][(*at, ("status", "used"))] == 2
    assert found["proxysql_connpool_conns"][(*at, ("status", "free"))] == 3
    assert found["proxysql_connpool_conns_total"][(*at, ("status", "err"))] == 1
    assert found["proxysql_connpool_conns_queries_total"] == {at: 40, other: 0}
    assert found["proxysql_connpool_conns_status"] == {at: 1, other: 3}
    assert found["proxysql_connpool_data_bytes_total"][(*at, ("traffic_flow", "recv"))] == 200


def test_times_of_a_hostgroup_are_a_histogram() -> None:
    found = samples()
    cells = found["hproxy_query_duration_seconds_bucket"]
    assert cells[(("hostgroup", "0"), ("le", "1e-05"))] == 1
    assert cells[(("hostgroup", "0"), ("le", "0.0001"))] == 3
    assert cells[(("hostgroup", "0"), ("le", "10.0"))] == 3
    assert cells[(("hostgroup", "0"), ("le", "+Inf"))] == 6
    assert found["hproxy_query_duration_seconds_sum"] == {(("hostgroup", "0"),): 31.5}


def test_phases_of_a_hostgroup() -> None:
    found = samples()
    cells = found["hproxy_phase_duration_seconds_bucket"]
    at = (("hostgroup", "0"),)
    # 41 connections were given out, 4 of them after a wait.
    assert cells[(*at, ("le", "1e-05"), ("phase", "queue"))] == 37
    assert found["hproxy_phase_duration_seconds_count"][(*at, ("phase", "queue"))] == 41
    assert found["hproxy_phase_duration_seconds_count"][(*at, ("phase", "connect"))] == 0
    assert found["hproxy_phase_duration_seconds_sum"][(*at, ("phase", "total"))] == 31.5


def test_what_haentgls_dashboard_reads() -> None:
    found = samples()
    (who,) = found["proxy_process_mem_rss_bytes"]
    assert found["proxy_process_mem_rss_bytes"] == {who: 1 << 20}
    assert found["proxy_process_cpu_seconds_total"] == {who: 1.5}
    assert found["proxy_max_connections"] == {who: 100}
    assert {"proxy_curr_connections", "proxy_process_cpu_core_num"} <= set(found)
    assert who[0][0] == "node_name"
    latency = found["proxy_com_latency_bucket"]
    assert latency[(("le", "0.01"), who[0], ("proxy_com", "ComQuery"))] == 1
    assert found["proxy_com_latency_sum"][(who[0], ("proxy_com", "ComQuery"))] == 0.01  # ms


def test_readings_of_workers_are_summed() -> None:
    both = summed([READING, READING])
    assert both.totals["Questions"] == 84
    assert both.totals["Stmt_Cached"] == 3
    assert (both.servers[0].used, both.servers[0].latency_us) == (4, 350)
    assert both.hostgroups[0].phases["total"].cells[3] == 4
    assert (both.hostgroups[0].acquired, both.hostgroups[0].wait_seconds) == (82, 1.0)
    assert both.errors == {(0, "db1", 3306, 1062): 14}
    assert (both.max_connections, both.descriptors, both.retries) == (100, 24, 2)
    assert both.commands[3].seconds == 0.000_02
    assert summed([READING]) == READING
    with pytest.raises(ValueError, match="no reading"):
        summed([])


def test_the_worst_that_a_worker_sees_of_a_server_is_shown() -> None:
    shunned = replace(READING, servers=(replace(READING.servers[0], status="SHUNNED"),))
    assert summed([READING, shunned]).servers[0].status == "SHUNNED"
    assert summed([shunned, READING]).servers[0].status == "SHUNNED"


def test_errors_and_pins() -> None:
    found = samples()
    key = (("code", "1062"), ("endpoint", "db1:3306"), ("hostgroup", "0"))
    assert found["proxysql_mysql_error_total"] == {key: 7}
    assert found["hproxy_pins"] == {(("reason", "TRANSACTION"),): 2}


def test_every_number_of_the_table_is_read_from_a_name_that_is_made() -> None:
    """A slip in the table would be a metric that is 0 for ever."""
    folder = Path(__file__).parents[3] / "hproxy/runtime/tables"
    made = set(re.findall(r"[A-Za-z_0-9]+", (folder / "totals.py").read_text()))
    made |= set(re.findall(r"[A-Za-z_0-9]+", (folder / "memory.py").read_text()))
    made |= {f"jemalloc_{name}" for name in ("resident", "active", "allocated")}
    made |= {f"jemalloc_{name}" for name in ("mapped", "metadata", "retained")}
    assert {total.source for total in TOTALS} <= made
