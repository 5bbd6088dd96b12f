# SPDX-License-Identifier: Apache-2.0
"""The variables that say what is counted, and how: given to those who count.

mysql-query_digests, its options, mysql-commands_stats         decisions are made anew
mysql-client_host_*                                            at once
"""

from __future__ import annotations

from hproxy.config.proxysql.values import Values
from hproxy.session.ruling import decide_anew
from hproxy.session.services import Services
from hproxy.telemetry.digest_form import DigestForm

__all__ = ["follow_values"]

DECIDED = {
    "mysql-query_digests",
    "mysql-query_digests_track_hostname",
    "mysql-query_digests_max_digest_length",
    "mysql-query_digests_lowercase",
    "mysql-query_digests_no_digits",
    "mysql-query_digests_replace_null",
    "mysql-commands_stats",
}
"""What decisions rest on."""

ALL = DECIDED | {
    "mysql-client_host_cache_size",
    "mysql-client_host_error_counts",
}


def follow_values(services: Services, values: Values) -> None:
    """Count as `values` say, now and after every change of them."""
    _count_as_told(services, values)

    def changed(names: set[str]) -> None:
        if names & ALL:
            _count_as_told(services, values)
        if names & DECIDED and services.multiplex is not None:
            decide_anew(services)

    values.on_change.append(changed)


def _count_as_told(services: Services, values: Values) -> None:
    """As `values` are now."""
    services.count_digests = values.flag("mysql-query_digests")
    services.count_commands = values.flag("mysql-commands_stats")
    services.track_hosts = values.flag("mysql-query_digests_track_hostname")
    services.digest_form = DigestForm(
        longest=values.number("mysql-query_digests_max_digest_length"),
        lowercase=values.flag("mysql-query_digests_lowercase"),
        no_digits=values.flag("mysql-query_digests_no_digits"),
        replace_null=values.flag("mysql-query_digests_replace_null"),
    )
    services.hosts.configure(
        values.number("mysql-client_host_cache_size"),
        values.number("mysql-client_host_error_counts"),
    )
