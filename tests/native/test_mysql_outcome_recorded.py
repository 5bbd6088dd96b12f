# SPDX-License-Identifier: Apache-2.0
"""Statements that are logged, or slow, are told of once, when they were answered; no others are."""

from __future__ import annotations

import pytest

from hproxy._native.decision import Decision
from hproxy._native.mysql_outcome import Watch
from hproxy._native.statistics import DigestCounters
from tests.native.multiplex_rig import FLAGS, TOO_LONG, Pooled
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import packet
from tests.native.test_mysql_tracked import answered

LOGGED = 1 << 29
LIMIT = 65_536
SELECT = b"\x03SELECT 1"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])


@pytest.fixture
def logging(monkeypatch: pytest.MonkeyPatch) -> Pooled:
    """A rig in which INSERTs are logged, and statements with effects."""
    monkeypatch.setitem(FLAGS, b"INSERT", FLAGS[b"INSERT"] | LOGGED)
    monkeypatch.setitem(FLAGS, b"SET", FLAGS[b"SET"] | LOGGED)
    return Pooled()


def test_only_what_is_logged(logging: Pooled) -> None:
    ann = logging.login()
    answered(logging, ann, SELECT, ROWS)
    assert logging.slow.about("recorded") == []
    insert = b"\x03INSERT INTO t VALUES (1)"
    assert answered(logging, ann, insert, OK) == OK
    assert logging.slow.about("recorded") == [(insert, None, 0, False)]
    answered(logging, ann, SELECT, ROWS)
    assert logging.slow.count("recorded") == 1


def test_errors_and_statements_with_effects(logging: Pooled) -> None:
    ann = logging.login()
    insert, setting = b"\x03INSERT 1", b"\x03SET x = 1"
    answered(logging, ann, insert, framed([err(1062)]))
    answered(logging, ann, setting, OK)
    assert [payload for payload, *_ in logging.slow.about("recorded")] == [insert, setting]
    told = [what for what, _ in logging.slow.told]
    assert told.index("finished") > told.index("recorded")  # its connection was still in hand


def test_in_a_transaction_and_after_a_refusal(logging: Pooled) -> None:
    ann = logging.login()
    answered(logging, ann, b"\x03BEGIN", framed([ok(status=3)]))
    answered(logging, ann, b"\x03INSERT 2", framed([ok(status=3)]))
    answered(logging, ann, b"\x03INSERT 3", OK)
    payloads = [payload for payload, *_ in logging.slow.about("recorded")]
    assert payloads == [b"\x03INSERT 2", b"\x03INSERT 3"]


def test_a_long_text_is_cut(logging: Pooled) -> None:
    ann = logging.login()
    text = b"\x03INSERT " + b"x" * 200_000
    ann.pour(packet(text), logging.backends[0].peer)
    logging.backends[0].say(OK)
    ((payload, *_),) = logging.slow.about("recorded")
    assert text.startswith(payload)
    assert len(payload) <= LIMIT


def test_executions(logging: Pooled) -> None:
    ann = logging.login()
    statement = ann.prepared(flags=1 | LOGGED)
    command = b"\x17" + statement.client_id.to_bytes(4, "little") + b"\0\1\0\0\0"
    answered(logging, ann, command, ROWS)
    ((_, told, rows, slow),) = logging.slow.about("recorded")
    assert (told, rows, slow) == (statement, 1, False)


def test_slow_ones_are_counted_and_told() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.watch = watch = Watch()
    answered(rig, ann, SELECT, ROWS)
    assert watch.slow == 0
    watch.slow_ns = 1
    answered(rig, ann, SELECT, ROWS)
    assert (watch.slow, rig.slow.count("recorded")) == (1, 0)
    watch.tell = True
    answered(rig, ann, SELECT, ROWS)
    assert (watch.slow, rig.slow.about("recorded")) == (2, [(SELECT, None, 1, True)])
    watch.slow_ns = 3_600_000_000_000
    answered(rig, ann, SELECT, ROWS)
    assert watch.slow == 2
    assert ann.session.like(None).watch is watch


def test_the_flag() -> None:
    rig = Pooled()
    assert Decision(LOGGED, rig.group, None, DigestCounters(), 0, b"").flags == LOGGED


BLOCKED = 1 << 28


def test_what_is_forbidden_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its length, and if it was prepared before."""
    monkeypatch.setitem(FLAGS, b"UPDATE", BLOCKED)
    rig = Pooled()
    ann = rig.login()
    ann.ask(b"\x03UPDATE t", SELECT)
    assert ann.heard() == framed([TOO_LONG])
    assert rig.backends[0].heard() == packet(SELECT)
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS
    statement = ann.prepared(flags=BLOCKED)
    head = b"\x17" + statement.client_id.to_bytes(4, "little") + b"\0\1\0\0\0"
    for command in (head, head + bytes(300_000), b"\xfa" + head[1:]):
        ann.pour(packet(command), rig.backends[0].peer)
        assert ann.heard() == framed([TOO_LONG])
    assert ann.held() is None
    ann.ask(SELECT)
    assert rig.backends[0].heard() == packet(SELECT)
