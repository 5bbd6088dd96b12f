# SPDX-License-Identifier: Apache-2.0
"""Variables of what faces backends: connecting, the pool, shunning, transactions, encryption."""

from __future__ import annotations

from hproxy.config.proxysql.variable import Variable, flag, number, text

__all__ = ["BACKEND"]

DAY_MS = 24 * 3600 * 1000

BACKEND: tuple[Variable, ...] = (
    number(
        "mysql-connect_timeout_server",
        1000,
        10,
        120_000,
        "One try to reach a backend, TCP and login together, in milliseconds.",
        option="proxy.connect_timeout_ms",
    ),
    number(
        "mysql-connect_timeout_server_max",
        10_000,
        10,
        3_600_000,
        "A statement's wait for a connection before error 9001, in milliseconds.",
        option="proxy.connect_timeout_max_ms",
    ),
    number(
        "mysql-query_retries_on_failure",
        1,
        0,
        1000,
        "Times a statement is sent again when its connection broke before any answer and "
        "repeating is safe.",
        option="proxy.query_retries_on_failure",
    ),
    number(
        "mysql-shun_on_failures",
        5,
        0,
        10_000_000,
        "Connect errors within one second after which a backend is shunned.",
        option="proxy.shun_on_failures",
    ),
    number(
        "mysql-shun_recovery_time_sec",
        10,
        0,
        2_147_483,
        "A shunned backend is not tried again for this long, in seconds.",
        option="proxy.shun_recovery_time_sec",
    ),
    number(
        "mysql-unshun_algorithm",
        0,
        0,
        1,
        "A backend that returns does so in one hostgroup (0) or in all it is in (1).",
    ),
    number(
        "mysql-free_connections_pct",
        10,
        0,
        100,
        "Idle connections kept to a backend, in percent of its max_connections.",
        option="proxy.free_connections_pct",
    ),
    number(
        "mysql-connection_max_age_ms",
        0,
        0,
        DAY_MS,
        "An idle connection older than this is closed, in milliseconds; 0 is never.",
        option="proxy.connection_max_age_ms",
    ),
    flag(
        "mysql-connection_warming",
        False,
        "Keep free_connections_pct open to each backend, wanted yet or not.",
        option="proxy.connection_warming",
    ),
    number(
        "mysql-ping_interval_server_msec",
        10_000,
        1000,
        7 * DAY_MS,
        "An idle connection is pinged when it was silent for this long, in milliseconds.",
        option="proxy.ping_interval_server_msec",
    ),
    number(
        "mysql-ping_timeout_server",
        200,
        10,
        600_000,
        "A ping without an answer for this long closes the connection, in milliseconds.",
        option="proxy.ping_timeout_server",
    ),
    number(
        "mysql-throttle_connections_per_sec_to_hostgroup",
        1_000_000,
        1,
        100_000_000,
        "Connections opened to one hostgroup per second at most.",
        option="proxy.throttle_connections_per_sec",
    ),
    flag(
        "mysql-multiplexing",
        True,
        "Whether sessions share backend connections; false keeps one for each session.",
    ),
    number(
        "mysql-max_transaction_idle_time",
        4 * 3_600_000,
        1000,
        20 * DAY_MS,
        "A client silent within a transaction for longer is closed, in milliseconds.",
    ),
    number(
        "mysql-max_transaction_time",
        4 * 3_600_000,
        1000,
        20 * DAY_MS,
        "A client whose transaction lasts longer is closed, in milliseconds.",
    ),
    flag(
        "mysql-kill_backend_connection_when_disconnect",
        True,
        "End the running query on the backend when its client is gone.",
        option="proxy.kill_query_on_disconnect",
    ),
    number(
        "mysql-default_max_latency_ms",
        1000,
        0,
        20 * DAY_MS,
        "A backend whose ping takes longer is avoided, in milliseconds; max_latency_ms of its "
        "row, if not 0, holds instead.",
    ),
    text("mysql-init_connect", "", "Statement run on each connection that is opened."),
    text(
        "mysql-ssl_p2s_ca",
        "",
        "Authorities for backends (PEM file, or folder).",
        option="tls.backend_ca",
    ),
    text(
        "mysql-ssl_p2s_cert",
        "",
        "Certificate shown to backends (PEM file).",
        option="tls.backend_cert",
    ),
    text("mysql-ssl_p2s_key", "", "Its private key (PEM file).", option="tls.backend_key"),
)
