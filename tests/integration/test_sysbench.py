# SPDX-License-Identifier: Apache-2.0
"""sysbench's OLTP workloads through the proxy, without one error.

The default run covers every workload, both ways of preparing, both servers, both auth modes
and each number of threads with each workload; `-m full` runs every combination.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from itertools import product

import pytest

from tests.conftest import running
from tests.integration.conftest import Fleet, direct
from tests.integration.route import Route
from tests.support.server import Server

WORKLOADS = (
    "oltp_point_select",
    "oltp_read_only",
    "oltp_read_write",
    "oltp_write_only",
    "oltp_update_index",
    "oltp_insert",
    "oltp_delete",
)
PREPARING = ("disable", "auto")
THREADS = (1, 8, 64)
ROUTES = tuple(product(("mariadb", "mysql"), ("relay", "table", "multiplex")))
TABLES, ROWS = 4, 5000
RUN_S = 2
TIMEOUT_S = 60

Combination = tuple[str, str, int, tuple[str, str]]

ALL: tuple[Combination, ...] = tuple(product(WORKLOADS, PREPARING, THREADS, ROUTES))


def covering() -> tuple[Combination, ...]:
    """Each workload with each number of threads once; the rest turns at its own pace."""
    return tuple(
        (workload, PREPARING[(w + t) % 2], threads, ROUTES[(w + 2 * t) % len(ROUTES)])
        for w, workload in enumerate(WORKLOADS)
        for t, threads in enumerate(THREADS)
    )


def named(combination: Combination) -> str:
    workload, preparing, threads, (server, auth) = combination
    how = "text" if preparing == "disable" else "prepared"
    return f"{workload.removeprefix('oltp_')}-{how}-{threads}-{server}-{auth}"


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """A database of its own on both servers."""
    name = f"it_{secrets.token_hex(6)}"
    servers = [running("mariadb"), running("mysql")]
    for server in servers:
        direct(server, f"CREATE DATABASE {name}")
    yield name
    for server in servers:
        direct(server, f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def prepared() -> set[tuple[str, str]]:
    """Which servers have the tables already."""
    return set()


def sysbench(way: Route | Server, schema: str, *arguments: str) -> str:
    """What it says, run through a proxy or directly."""
    server = way if isinstance(way, Server) else way.server
    done = subprocess.run(
        [
            "sysbench",
            "--db-driver=mysql",
            f"--mysql-host={way.host}",
            f"--mysql-port={way.port}",
            f"--mysql-user={server.user}",
            f"--mysql-password={server.password}",
            f"--mysql-db={schema}",
            f"--tables={TABLES}",
            f"--table-size={ROWS}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FATAL" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def run(fleet: Fleet, schema: str, prepared: set[tuple[str, str]], chosen: Combination) -> None:
    workload, preparing, threads, (name, auth) = chosen
    server = running(name)
    route = Route(server, auth, fleet.get(server, auth))
    if (name, schema) not in prepared:
        sysbench(route, schema, "oltp_read_write", "prepare")
        prepared.add((name, schema))
    before = deadlocks(route)
    said = sysbench(
        route,
        schema,
        workload,
        f"--db-ps-mode={preparing}",
        f"--threads={threads}",
        f"--time={RUN_S}",
        "run",
    )
    found = {
        what: int(number)
        for what, number in re.findall(r"(total|ignored errors|reconnects):\s+(\d+)", said)
    }
    assert found["reconnects"] == 0, said
    assert found["total"] > threads, said
    # Transactions of many threads do meet: what the server itself calls a deadlock is no fault.
    assert found["ignored errors"] <= deadlocks(route) - before, said


def deadlocks(route: Route) -> int:
    """Those the server has counted since its start."""
    if route.is_mariadb:
        ((_, count),) = direct(route.server, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    else:
        ((count,),) = direct(
            route.server,
            "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'",
        )
    return int(count)


@pytest.mark.parametrize("chosen", covering(), ids=named)
def test_workload(
    fleet: Fleet, schema: str, prepared: set[tuple[str, str]], chosen: Combination
) -> None:
    run(fleet, schema, prepared, chosen)


@pytest.mark.full
@pytest.mark.parametrize("chosen", ALL, ids=named)
def test_every_combination(
    fleet: Fleet, schema: str, prepared: set[tuple[str, str]], chosen: Combination
) -> None:
    run(fleet, schema, prepared, chosen)


def test_the_default_run_covers_everything() -> None:
    chosen = covering()
    assert {(c[0], c[2]) for c in chosen} == set(product(WORKLOADS, THREADS))
    assert {(c[0], c[1]) for c in chosen} == set(product(WORKLOADS, PREPARING))
    assert {(c[3], c[1]) for c in chosen} == set(product(ROUTES, PREPARING))
    assert {(c[3], c[2]) for c in chosen} == set(product(ROUTES, THREADS))
