# SPDX-License-Identifier: Apache-2.0
"""What query rules leave in a decision, as compiled code carries it out."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy._native.decision import Decision, Tally
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.statistics import DigestCounters
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.refusal import read_error
from tests.native.multiplex_rig import Client, Pooled
from tests.native.responses import columns, eof, err, framed
from tests.native.rig import packet

ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
BY_TEXT, BY_CHANCE = 1 << 25, 1 << 26


class Rules:
    """Puts what a test wants into each decision."""

    def __init__(self, rig: Pooled, **columns: Any) -> None:
        self.rig = rig
        self.columns = columns
        self.more = 0
        self.asked: list[bytes] = []
        self.tally = Tally((1, 2))
        rig.slow.decide = self.decide  # type: ignore[method-assign]
        rig.slow.decide_text = self.decide_text  # type: ignore[attr-defined]

    def make(self, flags: int) -> Decision:
        return Decision(
            flags, self.rig.group, None, DigestCounters(), flags, b"", tally=self.tally,
            **self.columns,
        )  # fmt: skip

    def decide(self, session: Multiplexed, text: bytes) -> Decision:
        self.rig.slow.tell("decide", text)
        return self.make(self.more)

    def decide_text(self, session: Multiplexed, text: bytes) -> Decision:
        self.asked.append(text)
        return self.make(0)


def run(rig: Pooled, client: Client, sql: bytes, answer: bytes = ROWS) -> None:
    client.ask(b"\x03" + sql)
    assert rig.backends[0].heard() == packet(b"\x03" + sql)
    rig.backends[0].say(answer)
    client.heard()


def test_hits_are_counted() -> None:
    rig = Pooled()
    rules = Rules(rig)
    ann = rig.login()
    for number in range(5):
        run(rig, ann, b"SELECT %d" % number)
    assert rig.slow.count("decide") == 1
    assert rules.tally.count == 5
    [decision] = rig.decisions.entries()
    assert decision.uses == 5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"SELECT 1", b"/* hostgroup=1 */ SELECT 1", False),
        (b"/* hostgroup=2 */ SELECT 1", b"/* hostgroup=1 */ SELECT 1", False),
        (b"/* hostgroup=1 */ SELECT 1", b"SELECT /* hostgroup=1 */ 2", True),
        (b"SELECT 1", b"/* trace='00-1';x=2 */ SELECT 1", True),
        (b"SELECT 1", b"/* a=1; MIRROR =3 */ SELECT 1", False),
        (b"SELECT 1", b"/* hostgroup */ SELECT 1", True),
        (b"SELECT 1", b"/* hostgroups=1 */ SELECT 1", True),
        (b"SELECT 1", b"/*=;=;; =*/ SELECT 1", True),
        (b"SELECT 1", b"/*" + b" " * 1100 + b"hostgroup=1*/ SELECT 1", True),
    ],
)
def test_hints_are_decided_for_themselves(one: bytes, other: bytes, same: bool) -> None:
    rig = Pooled()
    ann = rig.login()
    for _ in range(2):
        run(rig, ann, one)
        run(rig, ann, other)
    assert rig.slow.count("decide") == (1 if same else 2)


def test_each_text_for_itself() -> None:
    rig = Pooled()
    rules = Rules(rig)
    rules.more = BY_TEXT
    ann = rig.login()
    for number in (1, 2, 1, 2, 3):
        run(rig, ann, b"SELECT %d" % number)
    assert rig.slow.count("decide") == 1
    assert rules.asked == [b"SELECT 1", b"SELECT 2", b"SELECT 3"]
    long = b"SELECT '%s'" % (b"x" * 9000)
    run(rig, ann, long)
    run(rig, ann, long)
    assert rules.asked[3:] == [long, long]
    assert rules.tally.count == 7
    assert rig.decisions.texts is not None
    rig.decisions.clear()
    assert len(rig.decisions.texts) == 0


def test_lots_are_drawn_each_time() -> None:
    rig = Pooled()
    rules = Rules(rig)
    rules.more = BY_TEXT | BY_CHANCE
    ann = rig.login()
    for _ in range(3):
        run(rig, ann, b"SELECT 1")
    assert rules.asked == [b"SELECT 1"] * 3


def test_prepared_statements_draw_again() -> None:
    rig = Pooled()
    ann = rig.login()
    statement = ann.prepared()
    statement.decision = Decision(BY_CHANCE, rig.group, None, DigestCounters(), 0, b"")
    statement.salt = ann.session.salt
    ann.ask(b"\x17" + statement.client_id.to_bytes(4, "little") + b"\x00\x01\x00\x00\x00")
    assert rig.slow.count("decide again") == 1


def test_the_flag_of_what_follows() -> None:
    rig = Pooled()
    rules = Rules(rig, next_flag=3)
    ann, bob = rig.login(), rig.login()
    before = ann.session.salt
    run(rig, ann, b"SELECT 1")
    assert (ann.session.flag_in, bob.session.flag_in) == (3, 0)
    assert ann.session.salt != before
    run(rig, ann, b"SELECT 1")
    run(rig, ann, b"SELECT 1")
    assert rig.slow.count("decide") == 2
    ann.session.set_salt(99)
    assert ann.session.salt not in (99, before)
    ann.session.begin_with_flag(0)
    assert ann.session.salt == 99
    rules.columns = {"next_flag": 0}


def test_the_connection_is_kept_as_rules_say() -> None:
    rig = Pooled()
    rules = Rules(rig, multiplex=0)
    ann = rig.login()
    run(rig, ann, b"SELECT 1")
    assert ann.held() is not None
    assert ann.session.pins == int(Pin.NO_MULTIPLEX)
    rules.columns = {"multiplex": 1}
    run(rig, ann, b"SELECT a FROM t")
    assert ann.held() is None
    assert ann.session.pins == 0


def test_an_answer_that_is_late_and_one_that_is_not() -> None:
    rig = Pooled()
    Rules(rig, time_limit=1e-9)
    rig.slow.timed_out = lambda session: rig.slow.tell("timed out")  # type: ignore[method-assign]
    ann = rig.login()
    ann.ask(b"\x03SELECT SLEEP(9)")
    rig.reactor.sweep()
    assert rig.slow.count("timed out") == 1
    assert ann.state == "response"
    ann.session.expired = True
    rig.backends[0].say(framed([err(1317)]))
    [answer] = [ann.heard()]
    assert read_error(answer[4:]) == (
        1907, "Query execution was interrupted, query_timeout exceeded",
    )  # fmt: skip
    assert answer[3] == 1
    assert not ann.session.expired
    rig.reactor.sweep()
    assert rig.slow.count("timed out") == 1, "idle: no limit is left"


def test_an_answer_is_captured() -> None:
    rig = Pooled()
    ann = rig.login()
    rig.slow.on_statement = lambda session, payload, decision: None
    for limit, expected in ((1 << 20, ROWS), (len(ROWS), ROWS), (len(ROWS) - 1, None)):
        ann.session.fast_lane = False
        ann.ask(b"\x03SELECT 1")
        ann.session.captured = bytearray()
        ann.session.capture_limit = limit
        ann.session.submit(b"\x03SELECT 1", rig.slow.decision(b"SELECT 1"))
        rig.backends[0].heard()
        rig.backends[0].say(ROWS[:9])
        rig.backends[0].say(ROWS[9:])
        assert ann.heard() == ROWS
        captured = getattr(ann.session, "captured", b"")
        assert captured == expected
        ann.session.captured = None


def test_what_was_rewritten_is_not_captured() -> None:
    rig = Pooled()
    ann = rig.login()
    rig.slow.on_statement = lambda session, payload, decision: None
    ann.session.fast_lane = False
    ann.ask(b"\x03SELECT 1")
    ann.session.captured = bytearray()
    ann.session.capture_limit = 1000
    ann.session.submit(b"\x03SELECT 1", rig.slow.decision(b"SELECT 1"))
    rig.backends[0].heard()
    rig.backends[0].say(framed([err(1064)]))
    assert getattr(ann.session, "captured", b"") is None


def test_a_result_is_told_again() -> None:
    rig = Pooled()
    ann = rig.login()
    rig.slow.on_statement = lambda session, payload, decision: None
    ann.session.fast_lane = False
    with pytest.raises(ValueError, match="cannot recall"):
        ann.session.recall(ROWS, 1)
    serial = ann.session.context_serial
    ann.ask(b"\x03SELECT 1")
    ann.session.noted(rig.slow.decision(b"SELECT 1"))
    assert getattr(ann.session, "decision", None) is not None
    ann.session.recall(ROWS, 7)
    assert ann.heard() == ROWS
    assert (ann.state, ann.session.decision, ann.held()) == ("idle", None, None)
    assert (ann.session.found_rows, ann.session.row_count) == (7, -1)
    assert ann.session.restated
    assert ann.session.context_serial == serial + 1
    assert rig.backends[0].heard() == b""


def test_noted_for_what_does_not_run() -> None:
    rig = Pooled()
    ann = rig.login()
    rig.slow.on_statement = lambda session, payload, decision: None
    ann.session.fast_lane = False
    ann.ask(b"\x03SELECT 1")
    decision = rig.slow.decision(b"SELECT 1")
    ann.session.noted(decision, False)
    assert (ann.session.decision, decision.uses) == (None, 1)
