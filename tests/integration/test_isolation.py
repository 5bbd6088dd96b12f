# SPDX-License-Identifier: Apache-2.0
"""Sessions that share backend connections never see each other: every frame is as if held alone.

Random scripts of everything that changes a session, many sessions at a time, each held twice:
directly and through the proxy. tests/torture has the scripts; `python -m tests.torture` plays them
for as long as wanted and prints the shortest script that differs.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.conftest import ProxyFactory
from tests.support.proxy import Proxy
from tests.support.server import Server
from tests.torture.campaign import Plan
from tests.torture.stage import Stage, staged
from tests.torture.verdict import verdict

CAPABILITY_SETS = (
    frozenset[str](),
    frozenset({"DEPRECATE_EOF"}),
    frozenset({"SESSION_TRACK"}),
    frozenset({"DEPRECATE_EOF", "SESSION_TRACK", "MULTI_STATEMENTS"}),
    frozenset({"DEPRECATE_EOF", "FOUND_ROWS", "MULTI_STATEMENTS"}),
)


@pytest.fixture
def stage(server: Server) -> Iterator[Stage]:
    with staged(server, f"tz{secrets.token_hex(3)}") as stage:
        yield stage


def multiplexing(proxy: ProxyFactory, server: Server, connections: int = 1000) -> Proxy:
    row = {"hostname": server.host, "port": server.port, "max_connections": connections}
    return proxy(
        server,
        "table",
        proxy={"backends": [], "session_mode": "multiplex"},
        mysql_servers=[row],
    )


def test_the_scripts_are_steady(stage: Stage) -> None:
    """Held directly both times: what differs then is the scripts' fault."""
    plan = Plan(seed=11, steps=1500, sessions=20)
    assert verdict(stage, plan, (stage.server.host, stage.server.port)) == ""


def test_a_connection_for_everybody(proxy: ProxyFactory, stage: Stage) -> None:
    running = multiplexing(proxy, stage.server)
    seed = {"mariadb": 32, "mysql": 36}[stage.server.name]
    plan = Plan(seed=seed, steps=15_000, sessions=20)
    assert verdict(stage, plan, (running.host, running.port)) == ""


def test_few_connections_for_many(proxy: ProxyFactory, stage: Stage) -> None:
    running = multiplexing(proxy, stage.server, 10)
    seed = {"mariadb": 21, "mysql": 23}[stage.server.name]
    plan = Plan(seed=seed, steps=1200, sessions=30, hold=4)
    assert verdict(stage, plan, (running.host, running.port)) == ""


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("connections", "plan"),
    [
        (1000, Plan(seed=12, steps=30_000, sessions=20)),
        (5, Plan(seed=13, steps=2500, sessions=30, hold=4)),
    ],
    ids=["everybody", "few"],
)
def test_longer_plays(proxy: ProxyFactory, stage: Stage, connections: int, plan: Plan) -> None:
    """Still find differences: docs/protocols/mysql-multiplexing.md, what cannot be followed."""
    running = multiplexing(proxy, stage.server, connections)
    assert verdict(stage, plan, (running.host, running.port)) == ""


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("hold", [0, 4], ids=["all", "few"])
def test_a_hundred_thousand_steps(proxy: ProxyFactory, stage: Stage, hold: int) -> None:
    running = multiplexing(proxy, stage.server, hold + 1 if hold else 1000)
    plan = Plan(seed=100 + hold, steps=100_000, sessions=40, hold=hold)
    assert verdict(stage, plan, (running.host, running.port)) == ""


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("agreed", CAPABILITY_SETS, ids=lambda names: "+".join(sorted(names)))
def test_every_set_of_capabilities(
    proxy: ProxyFactory, stage: Stage, agreed: frozenset[str]
) -> None:
    running = multiplexing(proxy, stage.server, 9)
    plan = Plan(seed=200, steps=20_000, sessions=40, hold=8, capabilities=agreed)
    assert verdict(stage, plan, (running.host, running.port)) == ""


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_campaigns_at_the_same_time(proxy: ProxyFactory, server: Server) -> None:
    """Statements of several clients under way at once: queues, and races for connections."""
    campaigns, hold = 4, 3
    running = multiplexing(proxy, server, campaigns * (hold + 1))
    command = [
        *(sys.executable, "-m", "tests.torture", "--server", server.name, "--steps", "25000"),
        *("--proxy", f"{running.host}:{running.port}", "--hold", str(hold)),
    ]
    processes = [
        subprocess.Popen(
            [*command, "--seed", str(300 + i)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for i in range(campaigns)
    ]
    told = [process.communicate()[0].decode("utf-8", "replace") for process in processes]
    assert [process.returncode for process in processes] == [0] * campaigns, "\n".join(told)
