# SPDX-License-Identifier: Apache-2.0
"""Which sessions end because of their transaction, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from hproxy.config.proxysql.values import Values
from hproxy.session.limits import TransactionLimits
from hproxy.session.registry import Registry
from hproxy.telemetry.counters import Counters
from tests.support.worker import Journal

LONG, IDLE = "mysql-max_transaction_time", "mysql-max_transaction_idle_time"


@dataclass
class FakeSession:
    transaction_since: float = 10.0
    in_transaction: bool = True
    state: str = "idle"
    commands: int = 1
    ended: list[str] = field(default_factory=list)
    held: Any = None

    def fail(self, packet: bytes, reason: str) -> None:
        assert packet == b"told"
        self.ended.append(reason)


class World:
    def __init__(self) -> None:
        self.variables = Values()
        self.registry, self.log, self.counters = Registry(), Journal(), Counters()
        self.tasks = SimpleNamespace(spawn=self._spawn)
        self.protocol = SimpleNamespace(error_packet=lambda error: b"told")
        self.settings = SimpleNamespace(kill_on_disconnect=True)
        self.orphans: list[Any] = []
        self.limits = TransactionLimits(self, self.orphans.append)  # type: ignore[arg-type]

    def _spawn(self, work: Any, name: str) -> None:
        assert name.startswith("orphan")

    def session(self, **facts: Any) -> FakeSession:
        connection = self.registry.enter("10.0.0.1:1", self.log)
        connection.session = session = FakeSession(**facts)
        return session


@pytest.fixture
def world() -> World:
    return World()


def test_as_long_as_it_may(world: World) -> None:
    world.variables.update({LONG: "5000"})
    long, short, none = world.session(), world.session(transaction_since=14.0), world.session()
    none.transaction_since, none.in_transaction = 0.0, False
    world.limits.look(14.9)
    assert long.ended == []
    world.limits.look(15.0)
    assert (long.ended, short.ended, none.ended) == (["transaction too long"], [], [])
    (line,) = world.log.told("transaction too long")
    assert (line["code"], line["lasts_ms"]) == ("client.transaction_time", 5000)
    assert world.counters.killed_connections == 1
    assert world.orphans == []


def test_what_it_runs_is_killed(world: World) -> None:
    world.variables.update({LONG: "1000"})
    session = world.session(state="response")
    world.limits.look(12.0)
    assert session.ended == ["transaction too long"]
    assert len(world.orphans) == 1


def test_silence_begins_when_it_is_seen_and_ends_with_a_command(world: World) -> None:
    world.variables.update({IDLE: "2000"})
    session, busy = world.session(), world.session(state="response")
    world.limits.look(100.0)
    world.limits.look(101.9)
    session.commands += 1
    world.limits.look(102.0)
    world.limits.look(103.9)
    assert session.ended == []
    world.limits.look(104.0)
    assert (session.ended, busy.ended) == (["idle in a transaction"], [])
    (line,) = world.log.told("idle in a transaction")
    assert (line["code"], line["silent_ms"]) == ("client.transaction_idle", 2000)


def test_another_transaction_is_another_silence(world: World) -> None:
    world.variables.update({IDLE: "2000"})
    session = world.session()
    world.limits.look(100.0)
    session.in_transaction, session.transaction_since = False, 0.0
    world.limits.look(101.0)
    session.in_transaction, session.transaction_since = True, 101.5
    world.limits.look(102.5)
    assert session.ended == []


def test_looks_as_often_as_limits_ask(world: World) -> None:
    assert world.limits.pause == 5.0
    world.variables.update({LONG: "1000"})
    assert world.limits.pause == 0.25
    world.variables.update({IDLE: "8000"})
    assert world.limits.pause == 0.25
    world.variables.update({LONG: "14400000"})
    assert world.limits.pause == 2.0
