# SPDX-License-Identifier: Apache-2.0
"""A session that takes a connection for a statement, waits for one, and gives it back."""

from __future__ import annotations

from hproxy._native.pool import BackendConnection, Group, Server
from tests.native.multiplex_rig import FULL, LATE, Pooled
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import packet

SELECT = b"\x03SELECT 1"
OTHER = b"\x03SELECT name FROM t"
INSERT = b"\x03INSERT INTO t VALUES (1)"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])
IN_TRANSACTION = framed([ok(status=3)])
PING = b"\x0e"


def split() -> tuple[Pooled, list[BackendConnection]]:
    rig = Pooled()
    rig.slow.reader = Group("readers", rig.slow, 10)
    bucket = rig.slow.reader.add(Server("db2", 1))
    rig.backends.append(rig.connect(bucket))
    return rig, [backend.connection for backend in rig.backends]


def test_the_connection_used_last_is_used_next() -> None:
    rig = Pooled(3)
    ann = rig.login()
    for _ in range(5):
        ann.ask(SELECT)
        rig.backends[2].say(ROWS)
        assert ann.heard() == ROWS
    assert [backend.connection.uses for backend in rig.backends] == [0, 0, 5]


def test_who_waits_is_served_in_turn() -> None:
    rig = Pooled()
    clients = [rig.login() for _ in range(4)]
    backend = rig.backends[0]
    commands = [b"\x03SELECT %d" % number for number in range(4)]
    for client, command in zip(clients, commands, strict=True):
        client.ask(command)
    assert [client.state for client in clients] == ["response", "waiting", "waiting", "waiting"]
    assert (rig.group.waiting, rig.group.waited, rig.server.waiting) == (3, 3, 3)
    assert rig.conserved()
    for client, command in zip(clients, commands, strict=True):
        assert backend.heard() == packet(command)
        backend.say(ROWS)
        assert client.heard() == ROWS
    assert rig.conserved()
    assert rig.slow.count("grow") == 0
    assert rig.over()


def test_who_leaves_is_passed_over() -> None:
    rig = Pooled()
    ann, bob, cat = rig.login(), rig.login(), rig.login()
    for client in (ann, bob, cat):
        client.ask(SELECT)
    bob.end()
    assert rig.group.waiting == 1
    assert ("client lost", "waiting") in rig.slow.told
    rig.backends[0].say(ROWS)
    assert (ann.state, bob.state, cat.state) == ("idle", "closed", "response")
    rig.backends[0].say(ROWS)
    assert rig.conserved()
    assert rig.slow.count("left") == 0


def test_who_comes_back_stands_behind_the_others() -> None:
    rig = Pooled()
    ann, bob, cat = rig.login(), rig.login(), rig.login()
    for client in (ann, bob, cat):
        client.ask(SELECT)
    bob.session.refuse(LATE)
    assert bob.heard() == framed([LATE])
    bob.ask(SELECT)
    assert bob.state == "waiting"
    rig.backends[0].say(ROWS)
    assert (bob.state, cat.state) == ("waiting", "response")
    rig.backends[0].say(ROWS)
    rig.backends[0].say(ROWS)
    assert bob.heard() == ROWS
    assert rig.conserved()


def test_a_new_connection_goes_to_who_waits() -> None:
    rig = Pooled(0)
    ann = rig.login()
    rig.server.limit = 1
    ann.ask(SELECT)
    assert (ann.state, rig.slow.count("grow")) == ("waiting", 1)
    backend = rig.connect()
    rig.backends.append(backend)
    assert ann.held() is backend.connection
    assert backend.heard() == packet(SELECT)
    backend.say(ROWS)
    assert ann.heard() == ROWS
    assert rig.over()


def test_the_queue_has_an_end_and_says_so_at_once() -> None:
    rig = Pooled(queue_limit=1)
    ann, bob, cat = rig.login(), rig.login(), rig.login()
    for client in (ann, bob, cat):
        client.ask(SELECT, PING)
    assert cat.heard() == framed([FULL]) + OK
    assert (cat.state, rig.group.waiting) == ("idle", 1)
    rig.backends[0].say(ROWS)
    rig.backends[0].say(ROWS)
    assert (ann.heard(), bob.heard()) == (ROWS + OK, ROWS + OK)
    cat.ask(SELECT)
    assert cat.state == "response"
    assert rig.conserved()


def test_a_wait_has_an_end() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    bob.session.wait_limit = 0.0
    ann.ask(SELECT)
    bob.ask(SELECT)
    assert bob.state == "waiting"
    rig.reactor.sweep()
    assert rig.slow.about("timed out") == ["waiting"]
    assert bob.heard() == framed([LATE])
    assert (bob.state, rig.group.waiting) == ("idle", 0)
    rig.backends[0].say(ROWS)
    bob.ask(SELECT)
    assert bob.state == "response"
    rig.reactor.sweep()
    assert rig.slow.count("timed out") == 1


def test_a_granted_wait_has_no_deadline_left() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    bob.session.wait_limit = 0.0
    ann.ask(SELECT)
    bob.ask(SELECT)
    rig.backends[0].say(ROWS)
    rig.reactor.sweep()
    assert (bob.state, rig.slow.count("timed out")) == ("response", 0)


def test_what_breaks_a_granted_session_does_not_reach_the_giver() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()

    def fail(session: object, pooled: object) -> None:
        raise ZeroDivisionError("aligning")

    rig.slow.align = fail  # type: ignore[method-assign]
    bob.session.settings = object()
    ann.ask(SELECT)
    bob.ask(SELECT)
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS
    assert (ann.state, bob.state) == ("idle", "closed")
    assert [type(error) for error in rig.slow.about("broken")] == [ZeroDivisionError]
    assert rig.conserved()


def test_a_connection_with_our_settings_is_preferred() -> None:
    rig = Pooled(3)
    other = object()
    ann, bob = rig.login(), rig.login()
    bob.session.settings = other
    bob.ask(SELECT)  # the latest used is aligned
    assert rig.slow.count("align") == 1
    rig.backends[2].say(ROWS)
    ann.ask(SELECT)
    assert ann.held() is rig.backends[1].connection
    bob.ask(SELECT)
    assert bob.held() is rig.backends[2].connection
    assert rig.slow.count("align") == 1
    assert rig.bucket.idle == 1


def test_while_a_connection_is_aligned_the_command_waits() -> None:
    rig = Pooled()
    rig.slow.on_align = lambda session, pooled: None
    ann, backend = rig.login(), rig.backends[0]
    ann.session.settings = object()
    ann.ask(SELECT, OTHER)
    assert (ann.state, ann.held()) == ("slow", backend.connection)
    assert backend.heard() == b""
    backend.connection.settings = ann.session.settings
    ann.session.aligned()
    assert ann.state == "response"
    for command in (SELECT, OTHER):
        assert backend.heard() == packet(command)
        backend.say(ROWS)
        assert ann.heard() == ROWS
    assert rig.conserved()


def test_an_alignment_that_fails_is_the_answer() -> None:
    rig = Pooled()
    rig.slow.on_align = lambda session, pooled: None
    ann = rig.login()
    ann.session.settings = object()
    ann.ask(SELECT)
    ann.session.give_up()
    ann.session.refuse(err(1231))
    assert ann.heard() == framed([err(1231)])
    assert (ann.state, ann.held(), rig.server.opened) == ("idle", None, 0)
    assert rig.backends[0].heard() == b""
    assert rig.backends[0].peer.ended


def test_an_alignment_that_lost_its_connection_is_tried_on_another() -> None:
    rig = Pooled(2)
    rig.slow.on_align = lambda session, pooled: None
    ann = rig.login()
    ann.session.settings = rig.backends[0].connection.settings
    rig.slow.on_align = lambda session, pooled: None
    wanted = object()
    ann.session.settings = wanted
    ann.ask(SELECT)
    assert ann.held() is rig.backends[1].connection
    ann.session.give_up()
    ann.session.aligned()
    assert ann.held() is rig.backends[0].connection
    rig.backends[0].connection.settings = wanted
    ann.session.aligned()
    assert rig.backends[0].heard() == packet(SELECT)


def test_a_client_that_leaves_while_its_connection_is_aligned() -> None:
    rig = Pooled()
    rig.slow.on_align = lambda session, pooled: None
    ann = rig.login()
    ann.session.settings = object()
    ann.ask(SELECT)
    ann.end()
    assert rig.slow.about("left") == [False]
    ann.session.aligned()  # it is told too late
    assert ann.state == "closed"
    assert rig.over()


def test_reads_go_to_the_reader_and_the_rest_to_the_writer() -> None:
    rig, (writer, reader) = split()
    ann = rig.login()
    for command, where, answer in (
        (SELECT, reader, ROWS), (INSERT, writer, OK), (SELECT, reader, ROWS),
    ):  # fmt: skip
        ann.ask(command)
        assert ann.held() is where
        rig.backends[where is reader].say(answer)
        assert ann.held() is None


def test_a_transaction_stays_where_it_began() -> None:
    rig, (writer, reader) = split()
    ann = rig.login()
    ann.ask(b"\x03BEGIN")
    assert ann.held() is writer
    rig.backends[0].say(IN_TRANSACTION)
    ann.ask(SELECT)
    assert ann.held() is writer
    rig.backends[0].say(framed([*columns(1, True), b"\x011", *eof(True, 3)]))
    assert (ann.held(), ann.session.in_transaction) == (writer, True)
    ann.ask(b"\x03COMMIT")
    rig.backends[0].say(OK)
    assert ann.held() is None
    assert reader.uses == 0


def test_without_autocommit_nothing_goes_to_a_reader() -> None:
    rig, (writer, _) = split()
    ann = rig.login()
    ann.ask(b"\x03DO 1")
    rig.backends[0].say(framed([ok(status=0)]))
    assert (ann.session.autocommit, ann.held()) == (False, None)
    ann.ask(SELECT)
    assert ann.held() is writer


def test_who_wrote_reads_from_the_writer_for_a_while() -> None:
    rig, (writer, reader) = split()
    ann, bob = rig.login(), rig.login()
    for client in (ann, bob):
        client.session.hold_seconds = 1000.0
    ann.ask(INSERT)
    rig.backends[0].say(OK)
    ann.ask(SELECT)
    assert ann.held() is writer
    rig.backends[0].say(ROWS)
    bob.ask(SELECT)
    assert bob.held() is reader
    rig.backends[1].say(ROWS)
    ann.session.hold_seconds = 0.0
    ann.ask(SELECT)
    assert ann.held() is reader


def test_warnings_do_not_keep_the_next_statement_from_its_server() -> None:
    rig, (writer, reader) = split()
    ann = rig.login()
    ann.ask(INSERT)
    rig.backends[0].say(framed([ok(warnings=1)]))
    assert ann.held() is writer
    ann.ask(SELECT)
    assert (ann.held(), rig.backends[0].free) == (reader, True)
