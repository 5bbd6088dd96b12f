# SPDX-License-Identifier: Apache-2.0
"""Answers of Galera nodes, recorded from MariaDB and Percona XtraDB Cluster."""

from __future__ import annotations

import pytest

from hproxy.health.galera import galera_answer
from hproxy.health.members import State
from tests.support.health import show

STATUS = {
    "wsrep_local_state": "4",
    "wsrep_local_recv_queue": "0",
    "wsrep_cluster_status": "Primary",
}
MARIADB = {
    "read_only": "OFF",
    "wsrep_desync": "OFF",
    "wsrep_reject_queries": "NONE",
    "wsrep_sst_donor_rejects_queries": "OFF",
}
PERCONA = {**MARIADB, "pxc_maint_mode": "DISABLED"}


@pytest.mark.parametrize("variables", [MARIADB, PERCONA])
def test_synced(variables: dict[str, str]) -> None:
    answer = galera_answer(show(STATUS), show(variables))
    assert answer.state is State.WRITABLE
    assert answer.primary_partition
    assert answer.pxc_maint_mode == "DISABLED"


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"wsrep_cluster_status": "non-Primary"}, State.OFFLINE),
        ({"wsrep_cluster_status": "Disconnected"}, State.OFFLINE),
        ({"wsrep_local_state": "1"}, State.OFFLINE),
        ({"wsrep_local_state": "3"}, State.OFFLINE),
        ({"wsrep_local_state": "2"}, State.WRITABLE),
        ({"wsrep_local_state": "2", "wsrep_sst_donor_rejects_queries": "ON"}, State.OFFLINE),
        ({"wsrep_desync": "ON"}, State.OFFLINE),
        ({"wsrep_reject_queries": "ALL"}, State.OFFLINE),
        ({"wsrep_reject_queries": "ALL_KILL"}, State.OFFLINE),
        ({"pxc_maint_mode": "MAINTENANCE"}, State.OFFLINE),
        ({"pxc_maint_mode": "SHUTDOWN"}, State.OFFLINE),
        ({"read_only": "ON"}, State.READING),
    ],
)
def test_states(changed: dict[str, str], state: State) -> None:
    said = STATUS | PERCONA | changed
    status = {name: said[name] for name in STATUS}
    variables = {name: said[name] for name in PERCONA}
    assert galera_answer(show(status), show(variables)).state is state


def test_queue() -> None:
    status = STATUS | {"wsrep_local_recv_queue": "17"}
    assert galera_answer(show(status), show(MARIADB)).wsrep_local_recv_queue == 17


def test_a_server_without_galera() -> None:
    assert galera_answer([], show({"read_only": "OFF"})).state is State.OFFLINE
