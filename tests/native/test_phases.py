# SPDX-License-Identifier: Apache-2.0
"""Phases of statements: twenty cells, and what of a statement falls where."""

from __future__ import annotations

from time import sleep

from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.decision import Decision
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.phases import PHASES, PhaseTable, cell_of
from tests.native.multiplex_rig import Pooled
from tests.native.responses import columns, eof, framed, ok

LIMITS = [step * 10**power for power in range(4, 11) for step in (1, 2, 5)][:19]
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
MS = 1_000_000


@given(st.integers(0, 2**64 - 1) | st.sampled_from(LIMITS).flatmap(
    lambda limit: st.sampled_from([limit - 1, limit, limit + 1])))  # fmt: skip
def test_a_time_falls_into_the_first_cell_that_holds_it(ns: int) -> None:
    assert cell_of(ns) == next((at for at, limit in enumerate(LIMITS) if ns <= limit), 19)


def test_a_table_has_a_row_per_hostgroup() -> None:
    table = PhaseTable()
    row = table.ensure(7)
    assert table.ensure(7) is row
    row.queued(3 * MS)
    row.connected(10**12)
    told = row.read()
    assert tuple(told) == PHASES
    assert told["queue"] == ((*[0] * 8, 1, *[0] * 11), 3 * MS)
    assert told["connect"] == ((*[0] * 19, 1), 10**12)
    assert told["total"] == ((0,) * 20, 0)
    assert table.read_commands() == {}


def test_a_statement_is_timed_from_its_arrival_to_its_answers_end() -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    ann.ask(b"\x03SELECT 1")
    sleep(0.02)
    backend.say(ROWS[:7])
    sleep(0.03)
    backend.say(ROWS[7:])
    told = rig.times.rows[0].read()
    first, answer, total = (told[name][1] for name in ("first_byte", "answer", "total"))
    assert 20 * MS <= first <= answer - 30 * MS
    assert answer <= total < 1000 * MS
    assert [sum(told[name][0]) for name in PHASES] == [0, 0, 1, 1, 1]
    assert rig.times.read_commands() == {3: told["total"]}


def test_a_wait_is_in_the_queue_and_in_the_total() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    ann.ask(b"\x03SELECT 1")
    bob.ask(b"\x03SELECT 1")
    sleep(0.02)
    rig.backends[0].say(ROWS)
    rig.backends[0].say(ROWS)
    assert bob.state == "idle"
    told = rig.times.rows[0].read()
    assert sum(told["queue"][0]) == 1
    assert told["queue"][1] >= 20 * MS
    assert told["total"][1] >= told["answer"][1] + 20 * MS


def test_what_the_driver_looked_at_is_timed_from_its_arrival() -> None:
    rig = Pooled()
    ann = rig.login()

    def think(session: Multiplexed, payload: bytes, decision: Decision | None) -> None:
        sleep(0.02)
        rig.slow.relayed(session, payload, decision)

    rig.slow.on_statement = think
    ann.ask(b"\x03SET x = 1")
    rig.backends[0].say(framed([ok()]))
    told = rig.times.rows[0].read()
    assert told["total"][1] >= told["answer"][1] + 20 * MS


def test_what_no_backend_answered_is_not_timed() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(b"\x0e")
    assert ann.heard()
    assert rig.times.read_commands() == {}
