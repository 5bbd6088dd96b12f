# SPDX-License-Identifier: Apache-2.0
"""The counters' tables have the columns that exporters name."""

from __future__ import annotations

import pytest

from hproxy.config.proxysql.catalogue_stats import STATS_TABLES

NAMED = {
    "stats_mysql_connection_pool": "hostgroup srv_host srv_port status ConnUsed ConnFree ConnOK "
    "ConnERR MaxConnUsed Queries Queries_GTID_sync Bytes_data_sent Bytes_data_recv Latency_us",
    "stats_mysql_query_digest": "hostgroup schemaname username client_address digest digest_text "
    "count_star first_seen last_seen sum_time min_time max_time sum_rows_affected sum_rows_sent",
    "stats_mysql_commands_counters": "Command Total_Time_us Total_cnt cnt_100us cnt_500us cnt_1ms "
    "cnt_5ms cnt_10ms cnt_50ms cnt_100ms cnt_500ms cnt_1s cnt_5s cnt_10s cnt_INFs",
    "stats_mysql_users": "username frontend_connections frontend_max_connections",
    "stats_proxysql_servers_metrics": "hostname port weight comment response_time_ms Uptime_s "
    "last_check_ms Queries Client_Connections_connected Client_Connections_created",
    "stats_hproxy_pins": "session user db hostgroup srv_host srv_port reason since since_s "
    "statement hint",
    "stats_hproxy_decisions": "username schemaname digest digest_text hostgroup reader_hostgroup "
    "rule_ids actions hits",
}


@pytest.mark.parametrize("name", NAMED)
def test_columns_and_their_order(name: str) -> None:
    assert " ".join(STATS_TABLES[name].names) == NAMED[name]
