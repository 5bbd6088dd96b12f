# SPDX-License-Identifier: Apache-2.0
"""One peer that is asked: what is kept of its answers, and what of nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from hproxy.config.proxysql.cluster import PULLS
from hproxy.control.cluster.decision import Checksum
from hproxy.control.cluster.peer import CHECKSUMS, OVERALL, STATISTICS, Peer
from hproxy.errors import BackendProtocolError

ACCOUNT = ("peer", "secret")
ROW = {"name": "mysql_users", "version": "2", "epoch": "7", "checksum": "0xB"}
OURS = {"mysql_users": Checksum(2, 5, "0xA")}


class FakeProbe:
    """Answers by the statement's text."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.clean = True
        self.cuts = 0

    async def ask(self, sql: str) -> Any:
        self.asked.append(sql)
        if sql.startswith("PROXYSQL"):
            return []
        return self.answers[sql]

    def cut(self) -> None:
        self.cuts += 1


def peer_of(probe: FakeProbe) -> tuple[Peer, list[tuple[Any, ...]]]:
    dialled: list[tuple[Any, ...]] = []

    async def dial(*where: Any) -> Any:
        dialled.append(where)
        return probe

    return Peer("10.0.0.1", 6032, dial, lambda: 5.0, "PROXYSQL CLUSTER_NODE_UUID u"), dialled


def look(peer: Peer, account: tuple[str, str] = ACCOUNT, **more: Any) -> None:
    asyncio.run(peer.look(account, OURS, 100, statistics=more.get("statistics", False)))


def usual(*rows: Mapping[str, Any], overall: str = "1") -> FakeProbe:
    return FakeProbe({OVERALL: [{"CHECKSUM": overall}], CHECKSUMS: list(rows)})


def test_a_look_says_who_we_are_and_reads_what_changed() -> None:
    probe = usual(ROW)
    peer, dialled = peer_of(probe)
    look(peer)
    assert dialled == [("10.0.0.1", 6032, False, *ACCOUNT)]
    assert probe.asked == ["PROXYSQL CLUSTER_NODE_UUID u", OVERALL, CHECKSUMS]
    assert peer.seen["mysql_users"].now == Checksum(2, 7, "0xB")
    assert peer.seen["mysql_users"].diff_check == 1
    look(peer)
    assert probe.asked[3:] == [OVERALL]
    assert peer.seen["mysql_users"].diff_check == 2
    probe.answers[OVERALL] = [{"CHECKSUM": "2"}]
    probe.answers[CHECKSUMS] = []
    look(peer)
    assert peer.seen == {}
    assert peer.versions == 2


def test_statistics_are_read_when_asked_for() -> None:
    probe = usual()
    peer, _ = peer_of(probe)
    probe.answers[STATISTICS] = [
        {"Variable_Name": "ProxySQL_Uptime", "Variable_Value": "17"},
        {"Variable_Name": "Questions", "Variable_Value": "4"},
    ]
    look(peer, statistics=True)
    assert list(peer.metrics.counts.values()) == [17, 4, 0, 0]


def test_another_account_is_another_connection() -> None:
    probe = usual()
    peer, dialled = peer_of(probe)
    look(peer)
    look(peer, ("peer", "another"))
    assert len(dialled) == 2
    assert probe.cuts == 1
    probe.clean = False
    look(peer, ("peer", "another"))
    assert len(dialled) == 3


@pytest.mark.parametrize(
    "answers",
    [
        {OVERALL: []},
        {OVERALL: [{"CHECKSUM": None}]},
        {OVERALL: [{"a": "1", "b": "2"}]},
        {CHECKSUMS: [ROW | {"version": "many"}]},
        {CHECKSUMS: [ROW | {"epoch": "-1"}]},
        {CHECKSUMS: [ROW | {"epoch": str(2**63)}]},
    ],
)
def test_nonsense_is_an_error(answers: Mapping[str, Any]) -> None:
    probe = usual(ROW)
    probe.answers |= answers
    peer, _ = peer_of(probe)
    with pytest.raises((BackendProtocolError, ValueError)):
        look(peer)


def test_names_and_checksums_of_nobody_are_not_kept() -> None:
    rows: list[Mapping[str, Any]] = [
        ROW | {"name": "pgsql_users"},
        ROW | {"name": None},
        ROW | {"checksum": None},
    ]
    peer, _ = peer_of(usual(*rows, ROW | {"checksum": "0x" + "A" * 100}))
    look(peer)
    assert peer.seen == {}


def test_rows_are_as_our_tables_have_them() -> None:
    probe = usual(ROW)
    peer, _ = peer_of(probe)
    (asked,) = PULLS["mysql_users"]
    probe.answers[asked.statement] = [
        {"username": "u", "password": "p", "default_hostgroup": "3", "strange": "x"}
    ]
    look(peer)
    tables = asyncio.run(peer.pull("mysql_users"))
    (row,) = tables["mysql_users"]
    assert (row["username"], row["default_hostgroup"], row["active"]) == ("u", 3, 1)
    assert "strange" not in row
    probe.answers[asked.statement] = [{"username": "u", "default_hostgroup": "three"}]
    with pytest.raises(ValueError, match="three"):
        asyncio.run(peer.pull("mysql_users"))
