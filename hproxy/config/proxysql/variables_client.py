# SPDX-License-Identifier: Apache-2.0
"""Variables of what faces clients: listeners, login, limits, packets, encryption, the firewall."""

from __future__ import annotations

from hproxy.config.proxysql.variable import Variable, choice, flag, number, text

__all__ = ["CLIENT"]

DAY_MS = 24 * 3600 * 1000

CLIENT: tuple[Variable, ...] = (
    text(
        "mysql-interfaces",
        "0.0.0.0:6033",
        "Addresses clients connect to, separated by ';'. Ports open and close at once; sessions "
        "that are there stay.",
        form="interfaces",
        option="server.listen_addr",
    ),
    number(
        "mysql-max_connections",
        10_000,
        1,
        1_000_000,
        "Clients served at once; one more is refused with error 1040.",
        option="server.max_connections",
    ),
    number(
        "mysql-connect_timeout_client",
        10_000,
        500,
        3_600_000,
        "Time a client has to log in, in milliseconds.",
        option="proxy.login_timeout_ms",
    ),
    number(
        "mysql-wait_timeout",
        8 * 3_600_000,
        0,
        20 * DAY_MS,
        "A client silent for longer is closed, in milliseconds; 0 is never.",
        option="proxy.idle_timeout_sec",
        scale=0.001,
    ),
    number(
        "mysql-max_allowed_packet",
        64 << 20,
        8192,
        1 << 30,
        "Largest packet taken, in bytes.",
        option="proxy.max_allowed_packet",
    ),
    text(
        "mysql-server_version",
        "",
        "Server version in the greeting; empty is the backend's. ProxySQL announces 8.0.11.",
        option="proxy.server_version",
        form="version",
    ),
    choice(
        "mysql-default_authentication_plugin",
        ("mysql_native_password", "caching_sha2_password"),
        "Plugin named in the greeting.",
        option="proxy.default_auth_plugin",
    ),
    flag("mysql-have_ssl", True, 'Whether clients are offered TLS; false is tls.client = "off".'),
    flag(
        "mysql-have_compress",
        True,
        "Whether clients are offered compression; false empties proxy.compression.",
    ),
    number(
        "mysql-protocol_compression_level",
        3,
        1,
        9,
        "How hard to compress, both sides.",
        option="proxy.compression_level",
    ),
    flag(
        "mysql-use_tcp_keepalive",
        True,
        "TCP keep-alive probes, both sides; false is proxy.tcp_keepalive_sec = 0.",
    ),
    number(
        "mysql-tcp_keepalive_time",
        120,
        0,
        7200,
        "Silence before the first probe, in seconds; 0 is off.",
        option="proxy.tcp_keepalive_sec",
    ),
    flag(
        "mysql-enable_load_data_local_infile",
        True,
        "Whether LOAD DATA LOCAL INFILE is let through; refused with error 1047 otherwise. "
        "ProxySQL's default is false.",
    ),
    number(
        "mysql-client_host_cache_size",
        0,
        0,
        1 << 20,
        "Client addresses whose failed logins are counted; 0 counts none.",
    ),
    number(
        "mysql-client_host_error_counts",
        0,
        0,
        1 << 20,
        "Failed logins in a row after which an address is refused; 0 is never.",
    ),
    text(
        "mysql-proxy_protocol_networks",
        "",
        "Networks whose clients may begin with a PROXY protocol header; `*` is all.",
        form="networks",
        option="proxy.proxy_protocol_networks",
    ),
    flag(
        "mysql-firewall_whitelist_enabled",
        False,
        "Whether the whitelist tables decide which statements pass.",
    ),
    text(
        "mysql-firewall_whitelist_errormsg",
        "Firewall blocked this query",
        "What a client whose statement was stopped is told.",
    ),
    number(
        "mysql-show_processlist_extended",
        0,
        0,
        2,
        "Whether extended_info of stats_mysql_processlist is filled: 0 no, 1 JSON, 2 indented.",
    ),
    flag(
        "mysql-session_idle_show_processlist",
        True,
        "Whether idle sessions are in stats_mysql_processlist.",
    ),
    number(
        "mysql-processlist_max_query_length",
        2 << 20,
        1024,
        32 << 20,
        "Characters of a statement that stats_mysql_processlist shows.",
    ),
)
