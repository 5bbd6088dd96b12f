# SPDX-License-Identifier: Apache-2.0
"""Finding a connection: attach, wait, be granted one, align it, keep it, give it back."""

from __future__ import annotations

import gc

import pytest

from hproxy._native.mysql_multiplex import Multiplexed
from tests.native.multiplex_rig import LATE, Pooled
from tests.native.responses import columns, eof, framed, ok
from tests.native.rig import BAD_CLIENT, packet
from tests.support.chopper import Chop

SELECT = b"\x03SELECT 1"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])
IN_TRANSACTION = framed([ok(status=3)])
PING = b"\x0e"


def test_a_session_has_a_connection_for_the_time_of_a_statement(chop: Chop) -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    assert (ann.state, ann.held(), backend.free) == ("idle", None, True)
    for piece in chop(packet(SELECT)):
        ann.send(piece)
    assert (ann.state, ann.held(), backend.free) == ("response", backend.connection, False)
    assert backend.heard() == packet(SELECT)
    for piece in chop(ROWS):
        assert ann.held() is backend.connection
        backend.say(piece)
    assert ann.heard() == ROWS
    assert (ann.state, ann.held(), backend.free) == ("idle", None, True)
    assert (ann.session.commands, backend.connection.uses) == (1, 1)
    assert rig.slow.told == [("decide", b"SELECT 1")]
    assert rig.conserved()
    assert rig.over()


def test_a_half_command_takes_no_connection() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.send(packet(SELECT)[:-1])
    assert (ann.state, ann.held(), rig.backends[0].free) == ("idle", None, True)
    ann.end()
    assert rig.slow.about("left") == []


def test_a_decision_is_asked_for_once() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    for number, client in enumerate((ann, bob, ann)):
        client.ask(b"\x03SELECT c FROM t WHERE id = %d" % number)
        rig.backends[0].heard()
        rig.backends[0].say(ROWS)
        assert client.heard() == ROWS
    assert rig.slow.count("decide") == 1
    assert (rig.decisions.hits, rig.decisions.misses) == (2, 1)
    decision = ann.session.answered_decision
    assert decision is not None
    assert (decision.counters.count, decision.counters.rows_sent) == (3, 3)
    assert decision.counters.bytes_out == 3 * len(ROWS)


def test_accounts_do_not_share_decisions() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    bob.session.set_salt(12345)
    for client in (ann, bob):
        client.ask(SELECT)
        rig.backends[0].say(ROWS)
    assert rig.slow.count("decide") == 2


def test_pipelined_commands_are_served_one_at_a_time(chop: Chop) -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    commands = [b"\x03SELECT %d" % number for number in range(5)]
    for piece in chop(b"".join(map(packet, commands))):
        ann.send(piece)
    for command in commands:
        assert backend.heard() == packet(command)
        backend.say(ROWS)
        assert ann.heard() == ROWS
    assert (ann.state, ann.session.commands) == ("idle", 5)
    assert rig.conserved()


@pytest.mark.parametrize("where", ["idle", "pinned", "response", "waiting", "slow", "gather"])
def test_a_client_may_leave_at_any_time(where: str) -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    rig.slow.on_align = lambda session, pooled: None
    if where == "pinned":
        ann.ask(b"\x03BEGIN")
        rig.backends[0].say(IN_TRANSACTION)
    elif where == "response":
        ann.ask(SELECT)
    elif where == "waiting":
        bob.ask(SELECT)
        ann.ask(SELECT)
    elif where == "slow":
        ann.session.settings = object()
        ann.ask(SELECT)
    elif where == "gather":
        ann.send(packet(b"\x03" + b"x" * 100_000)[:60_000])
    assert ann.state == ("idle" if where == "pinned" else where)
    ann.end()
    assert ann.state == "closed"
    held = where in ("pinned", "response", "slow")
    assert rig.slow.about("left") == ([where == "pinned"] if held else [])
    assert rig.slow.count("closed") == 1
    assert rig.server.opened == (0 if held else 1)
    assert rig.over()


@pytest.mark.parametrize("where", ["idle", "pinned", "refused"])
def test_quit_ends_a_session(where: str) -> None:
    rig = Pooled()
    ann = rig.login()
    if where == "pinned":
        ann.ask(b"\x03BEGIN")
        rig.backends[0].say(IN_TRANSACTION)
        ann.heard()
    elif where == "refused":
        ann.session.refuse_next(LATE)
    ann.ask(b"\x01")
    assert ann.state == "closed"
    assert ann.heard() == b""
    assert ann.peer.ended
    assert rig.slow.told[-1] == ("closed", "quit")
    assert rig.slow.about("left") == ([True] if where == "pinned" else [])
    assert rig.over()


def test_quit_behind_a_command_waits_for_its_answer() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT, b"\x01")
    assert ann.state == "response"
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS
    assert (ann.state, rig.backends[0].free) == ("closed", True)
    assert rig.over()


def test_a_command_out_of_order_ends_the_session() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.send(packet(SELECT, 5))
    assert ann.heard() == framed([BAD_CLIENT])
    assert (ann.state, rig.backends[0].free) == ("closed", True)


def test_a_ping_needs_no_connection() -> None:
    rig = Pooled(0)
    ann = rig.login()
    ann.ask(PING, PING)
    assert ann.heard() == OK * 2
    assert (ann.session.commands, rig.slow.told) == (2, [])


def test_a_ping_goes_to_the_connection_that_is_held() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(b"\x03BEGIN")
    rig.backends[0].heard()
    rig.backends[0].say(IN_TRANSACTION)
    ann.heard()
    ann.ask(PING)
    assert rig.backends[0].heard() == packet(PING)
    rig.backends[0].say(IN_TRANSACTION)
    assert ann.heard() == IN_TRANSACTION


def test_an_idle_client_is_timed_out() -> None:
    rig = Pooled()
    ann = rig.login(idle_timeout=1e-9)
    rig.reactor.poll()
    rig.reactor.sweep()
    assert rig.slow.told == [("timed out", "idle"), ("closed", "timed out")]
    assert ann.state == "closed"


def test_preparing_on_a_connection_is_not_idling() -> None:
    rig = Pooled()
    rig.slow.on_prepare = lambda session, pooled, statement: None
    ann = rig.login(idle_timeout=1e-9)
    ann.prepared()
    ann.ask(b"\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00")
    assert ann.state == "slow"
    rig.reactor.sweep()
    assert rig.slow.count("timed out") == 0


def test_nothing_is_kept_of_what_is_over() -> None:
    rig = Pooled(2)
    ours: set[int] = set()
    for _ in range(3):
        for _ in range(4):
            rig.login().ask(SELECT)
        for backend in rig.backends * 2:
            backend.say(ROWS)
        while rig.clients:
            client = rig.clients.pop()
            assert client.heard() == ROWS
            ours.add(id(client.session))
            client.end()
    client = rig.login()
    gc.collect()
    left = {id(each) for each in gc.get_objects() if isinstance(each, Multiplexed)}
    assert ours & left <= {id(client.session)}
    assert rig.conserved()
    assert rig.over()
