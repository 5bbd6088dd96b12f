# SPDX-License-Identifier: Apache-2.0
"""The port: what it tells of a worker, what it changes, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntFlag
from typing import Any, NamedTuple

import pytest

from hproxy.config.address import Address
from hproxy.errors import AdminError
from hproxy.runtime.port import BackendRow, Port
from hproxy.topology import Backend, Health, Status, Topology

NOW = 100.0

WRITER = Backend("db1", 3306, hostgroup=10, max_connections=50)
BOTH = Backend("db1", 3306, hostgroup=20, weight=5)
READER = Backend("::1", 3307, hostgroup=20)
SOCKET = Backend("", 3306, path="/run/db.sock", hostgroup=30)


def topology() -> Topology:
    return Topology((WRITER, BOTH, READER, SOCKET), recovery_sec=10.0)


def port(made: Topology, **sources: Any) -> Port:
    return Port(made, clock=lambda: NOW, **sources)


def pool(hostgroup: int, backend: object, user: str | bytes, **counts: int) -> Mapping[str, Any]:
    return {"hostgroup": hostgroup, "backend": backend, "user": user, **counts}


def pools() -> Iterable[Mapping[str, Any]]:
    yield pool(20, BOTH, b"app", used=4, free=1)
    yield pool(10, "db1:3306", "web", used=2, free=3, waiting=7)
    yield pool(10, "db1:3306", "app", used=1, free=0, opened=9)


# -- backends -----------------------------------------------------------------


def test_backends() -> None:
    made = topology()
    made.failed(READER, "refused", NOW - 4)
    made.reserve(WRITER)
    rows = port(made, pools=pools).backends()
    assert rows[0] == BackendRow(
        hostgroup=10,
        host="db1",
        port=3306,
        status="ONLINE",
        weight=1,
        max_connections=50,
        connections=1,
        used=3,
        free=3,
        failures=0,
        shunned_for=0.0,
        last_error="",
    )
    assert (rows[1].hostgroup, rows[1].weight, rows[1].used, rows[1].free) == (20, 5, 4, 1)
    assert (rows[2].status, rows[2].failures, rows[2].last_error) == ("SHUNNED", 1, "refused")
    assert (rows[2].shunned_for, rows[2].used) == (6.0, 0)
    assert (rows[3].host, rows[3].port) == ("/run/db.sock", 0)
    assert len(rows) == 4


def test_backends_of_one_hostgroup() -> None:
    view = port(topology())
    assert [row.host for row in view.backends(20)] == ["db1", "::1"]
    assert view.backends(99) == ()


def test_what_is_offline_is_not_shunned_for_a_while() -> None:
    made = topology()
    made.health[READER] = Health(Status.OFFLINE_SOFT, NOW + 5, 1, "refused")
    assert port(made).backends(20)[1].shunned_for == 0.0


def test_a_status_in_one_hostgroup_or_all() -> None:
    made = topology()
    view = port(made)
    assert view.set_status(20, "db1:3306", "offline_soft") == 1
    assert (made.status(BOTH), made.status(WRITER)) == (Status.OFFLINE_SOFT, Status.ONLINE)
    assert view.set_status(None, "DB1", Status.OFFLINE_SOFT) == 1
    assert made.status(WRITER) is Status.OFFLINE_SOFT
    assert view.set_status(None, "db1", "OFFLINE_SOFT") == 0
    assert view.set_status(None, "db1", " Online ") == 2


@pytest.mark.parametrize(
    ("backend", "address"),
    [
        (READER, "[::1]:3307"),
        (READER, Address("::1", 3307)),
        (SOCKET, "/run/db.sock"),
        (SOCKET, "unix:/run/db.sock"),
    ],
)
def test_every_notation_of_an_address(backend: Backend, address: str | Address) -> None:
    made = topology()
    assert port(made).set_status(backend.hostgroup, address, "OFFLINE_HARD") == 1
    assert made.status(backend) is Status.OFFLINE_HARD


def test_shunned_by_the_operator_ends_by_the_clock() -> None:
    made = topology()
    view = port(made)
    view.set_status(10, "db1", "SHUNNED")
    assert view.backends(10)[0].shunned_for == 10.0


@pytest.mark.parametrize(
    ("hostgroup", "address", "status", "code", "text"),
    [
        (
            10,
            "db9",
            "ONLINE",
            "admin.backend",
            "admin statement refused: no such backend (backend=db9:3306, "
            "hint=backends are db1:3306, [::1]:3307, /run/db.sock)",
        ),
        (
            30,
            "db1",
            "ONLINE",
            "admin.backend",
            "admin statement refused: the backend is not in this hostgroup (backend=db1:3306, "
            "hostgroup=30, hint=it is in hostgroup 10, 20)",
        ),
        (
            None,
            "db1",
            "DOWN",
            "admin.status",
            "admin statement refused: no such status (status=DOWN, "
            "hint=one of ONLINE, SHUNNED, OFFLINE_SOFT, OFFLINE_HARD)",
        ),
        (
            None,
            "db1:x",
            "ONLINE",
            "admin.address",
            "admin statement refused: the address port 'x' is not a number from 0 to 65535 "
            "(backend=db1:x, hint=write HOST:PORT)",
        ),
        (
            None,
            "",
            "ONLINE",
            "admin.address",
            "admin statement refused: the address is empty (backend=, hint=write HOST:PORT)",
        ),
    ],
)
def test_refusals(hostgroup: int | None, address: str, status: str, code: str, text: str) -> None:
    made = topology()
    with pytest.raises(AdminError) as caught:
        port(made).set_status(hostgroup, address, status)
    assert (caught.value.full_code, str(caught.value)) == (code, text)
    assert set(made.health.values()) == {Health()}


def test_a_worker_without_backends_says_so() -> None:
    with pytest.raises(AdminError, match="there are none"):
        port(Topology(())).set_status(None, "db1", "ONLINE")


# -- pools, sessions, digests -------------------------------------------------


def test_pools_by_hostgroup_backend_and_user() -> None:
    view = port(topology(), pools=pools)
    rows = view.pools()
    assert [(row["hostgroup"], row["backend"], row["user"]) for row in rows] == [
        (10, "db1:3306", "app"),
        (10, "db1:3306", "web"),
        (20, "db1:3306", "app"),
    ]
    assert (rows[0]["opened"], rows[0]["waiting"], rows[1]["waiting"]) == (9, 0, 7)
    assert [row["used"] for row in view.pools(hostgroup=10)] == [1, 2]
    assert [row["used"] for row in view.pools(user="app")] == [1, 4]
    assert view.pools(hostgroup=20, user="web") == ()


def test_pins_by_reason() -> None:
    pins = [
        {"session": 1, "reason": "TEMP_TABLE"},
        {"session": 2, "reason": "TRANSACTION"},
        {"session": 3, "reason": "TRANSACTION"},
    ]
    view = port(topology(), pins=lambda: pins)
    assert view.pins() == tuple(pins)
    assert [row["session"] for row in view.pins("TRANSACTION")] == [2, 3]
    assert view.pins("USER_LOCK") == ()
    assert list(view.pin_counts().items()) == [("TRANSACTION", 2), ("TEMP_TABLE", 1)]


class Reason(IntFlag):
    TEMP_TABLE = 2


class Pinned(NamedTuple):
    reason: Reason
    statement: bytes


def test_constants_and_bytes_are_told_as_text() -> None:
    pinned = Pinned(Reason.TEMP_TABLE, b"create temporary table t\xff")
    view = port(topology(), pins=lambda: [pinned])
    wanted = {"reason": "TEMP_TABLE", "statement": "create temporary table t\ufffd"}
    assert view.pins("TEMP_TABLE") == (wanted,)
    assert view.pin_counts() == {"TEMP_TABLE": 1}


class Digest(NamedTuple):
    key: str
    count_star: int


def test_digests_as_named_tuples() -> None:
    view = port(topology(), digests=lambda: [Digest("SELECT ?", 3)])
    assert view.digests() == ({"key": "SELECT ?", "count_star": 3},)


def test_rows_are_copies() -> None:
    row = {"session": 1, "reason": "TRANSACTION"}
    view = port(topology(), pins=lambda: [row])
    (told,) = view.pins()
    row["reason"] = "TEMP_TABLE"
    assert told["reason"] == "TRANSACTION"


def test_a_worker_that_has_none_of_these() -> None:
    view = port(topology())
    assert (view.pools(), view.pins(), view.pin_counts(), view.digests()) == ((), (), {}, ())
