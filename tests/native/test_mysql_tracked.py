# SPDX-License-Identifier: Apache-2.0
"""Session state in an OK: for the session, for its driver, for the client that asked."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.wire import lenenc_string
from tests.native.multiplex_rig import Client, Pooled
from tests.native.responses import columns, eof, framed, ok
from tests.support.chopper import Chop

PIN_NEXT_TRANSACTION = 512

SELECT = b"\x03SELECT 1"
BEGIN = b"\x03BEGIN"
OK = framed([ok()])
CHANGED = 0x4000
# Session state as both servers send it.
STARTED = b"\x05\x09\x08T_______" + b"\x04\x13\x12START TRANSACTION;"
ENDED = b"\x05\x09\x08________" + b"\x04\x01\x00"
NEXT = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
NEXT_STATE = b"\x04" + lenenc_string(lenenc_string(NEXT))
USED_UP = b"\x04\x01\x00"
VARIABLE = b"\x00\x0f\x0aautocommit\x03OFF"
SCHEMA = b"\x01\x05\x04shop"


def tracked(state: bytes, status: int = 2, info: bytes = b"", **given: int) -> bytes:
    """An OK with session state."""
    return ok(status=status | CHANGED, info=lenenc_string(info) + lenenc_string(state), **given)


def plain(status: int = 2, info: bytes = b"", **given: int) -> bytes:
    """The same as the client is to see it."""
    return ok(status=status, info=lenenc_string(info) if info else b"", **given)


def answered(rig: Pooled, client: Client, command: bytes, answer: bytes) -> bytes:
    client.ask(command)
    rig.backends[0].heard()
    rig.backends[0].say(answer)
    return client.heard()


@pytest.mark.parametrize("info", [b"", b"Rows matched: 1"])
@pytest.mark.parametrize("state", [STARTED, ENDED, USED_UP, b""])
def test_transaction_state_is_for_us(chop: Chop, state: bytes, info: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(BEGIN)
    for piece in chop(framed([tracked(state, 3, info)])):
        rig.backends[0].say(piece)
    assert ann.heard() == framed([plain(3, info)])
    assert ann.session.in_transaction
    assert rig.slow.count("tracked") == 0


@pytest.mark.parametrize("info", [b"", b"x"])
def test_at_the_end_of_rows(chop: Chop, info: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    rows = [*columns(1, True), b"\x011", b"\x012"]
    for piece in chop(framed([*rows, tracked(STARTED, 3, info, header=0xFE)])):
        rig.backends[0].say(piece)
    assert ann.heard() == framed([*rows, plain(3, info, header=0xFE)])
    assert (ann.state, ann.session.in_transaction) == ("idle", True)


def test_in_every_one_of_several_results(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    rows = [*columns(2, True), b"\x011\x012"]
    given = [
        tracked(STARTED, 0x0A), *rows, tracked(USED_UP, 0x0B, header=0xFE),
        tracked(STARTED, 0x0A, b"info"), ok(status=8), *rows, tracked(ENDED, 2, header=0xFE),
    ]  # fmt: skip
    shown = [
        plain(0x0A), *rows, plain(0x0B, header=0xFE),
        plain(0x0A, b"info"), ok(status=8), *rows, plain(2, header=0xFE),
    ]  # fmt: skip
    for piece in chop(framed(given)):
        rig.backends[0].say(piece)
    assert ann.heard() == framed(shown)
    assert (ann.state, ann.held()) == ("idle", None)


def test_without_deprecate_eof_only_the_flag_is_there(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login(deprecate_eof=False)
    ann.ask(SELECT)
    given = [*columns(1, False, 3 | CHANGED), b"\x011", *eof(False, 3 | CHANGED)]
    for piece in chop(framed(given)):
        rig.backends[0].say(piece)
    assert ann.heard() == framed([*columns(1, False, 3), b"\x011", *eof(False, 3)])
    assert ann.session.in_transaction


@pytest.mark.parametrize("state", [VARIABLE, SCHEMA, STARTED + VARIABLE, b"\x02\x01\x311"[:4]])
def test_the_driver_is_told_of_everything_else(state: bytes) -> None:
    rig = Pooled()
    rig.slow.on_tracked = lambda session, payload: ok(affected=1)
    ann = rig.login()
    given = tracked(state, affected=1)
    assert answered(rig, ann, SELECT, framed([given])) == framed([ok(affected=1)])
    assert rig.slow.about("tracked") == [given]


def test_what_the_driver_shows_may_be_all_of_it(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    given = framed([tracked(VARIABLE, 0x0A), tracked(SCHEMA)])
    for piece in chop(given):
        rig.backends[0].say(piece)
    assert ann.heard() == given


def test_what_the_driver_shows_may_not_be_longer() -> None:
    rig = Pooled()
    rig.slow.on_tracked = lambda session, payload: payload + b"!"
    ann = rig.login()
    assert answered(rig, ann, SELECT, framed([tracked(VARIABLE)])) == b""
    assert [type(error) for error in rig.slow.about("broken")] == [ValueError]
    assert (ann.state, rig.server.opened) == ("closed", 0)


def test_a_watched_statement_shows_the_driver_all_state() -> None:
    rig = Pooled()
    ann = rig.login()
    given = tracked(STARTED, 3)
    answered(rig, ann, b"\x03SET x = 1", framed([given]))
    assert rig.slow.about("tracked") == [given]
    assert rig.slow.count("finished") == 1


def test_a_client_with_tracking_of_its_own_is_the_drivers() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.shows_state = True
    given = framed([tracked(ENDED)])
    assert answered(rig, ann, SELECT, given) == given
    assert rig.slow.count("tracked") == 1


@pytest.mark.parametrize("shown", [False, True])
def test_rows_end_with_the_flag_of_state_only_for_who_asked(shown: bool) -> None:
    """What sets it in an EOF need not be what a client with tracking of its own asked for."""
    rig = Pooled()
    ann = rig.login(deprecate_eof=False)
    ann.session.shows_state, ann.session.shows_in_eof = True, shown
    rows = framed([b"\1", b"\3def\0\0\0\1a\0\x0c?\0\1\0\0\0\3\0\0\0\0\0"])
    eof = b"\5\0\0\3\xfe\0\0\x02\x40\5\0\0\4\xfe\0\0\x02\x40"
    got = answered(rig, ann, SELECT, rows + eof)
    assert got == rows + (eof if shown else eof.replace(b"\x40", b"\0"))


def test_state_for_the_next_transaction_keeps_the_connection() -> None:
    rig = Pooled()
    ann = rig.login()
    answered(rig, ann, b"\x03DO 1", framed([tracked(NEXT_STATE)]))
    assert ann.session.pins == PIN_NEXT_TRANSACTION
    assert ann.held() is rig.backends[0].connection
    # START TRANSACTION repeats it while the transaction lasts: it is not for another one.
    answered(rig, ann, BEGIN, framed([tracked(NEXT_STATE + STARTED, 3)]))
    assert ann.session.pins == 0
    answered(rig, ann, b"\x03COMMIT", framed([tracked(ENDED)]))
    assert ann.held() is None
    answered(rig, ann, b"\x03DO 1", framed([tracked(NEXT_STATE)]))
    answered(rig, ann, SELECT, framed([*columns(1, True), tracked(USED_UP, header=0xFE)]))
    assert (ann.session.pins, ann.held()) == (0, None)


def test_state_too_long_to_be_held_passes_and_the_driver_knows(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    long = b"\x00" + lenenc_string(lenenc_string(b"wsrep") + lenenc_string(b"x" * 60_000))
    given = framed([tracked(long)])
    heard = b""
    for piece in chop(given) if chop.__name__ != "bytewise" else [given[:9], given[9:]]:
        rig.backends[0].say(piece)
        heard += ann.heard()
    assert heard == given
    assert rig.slow.told[1:] == [("unseen", None)]
    assert ann.state == "idle"


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\x00",
        b"\xff",
        b"\x05ab",
        b"\x00\x09\x05",
        b"\x00\x02\x05\x09",
        b"\x00\xfc\xff",
        b"\x00\xfe" + b"\xff" * 8,
        b"\x00\x03\x05\xfe\xff",
        b"\x00\x04\x05\xfd\xff\xff",
        b"\xfe" + b"\xff" * 8 + b"\x01",
        b"\x00\x0a\x04\xfe" + b"\xff" * 8,
    ],
)
def test_state_that_cannot_be_read_is_passed_on(chop: Chop, tail: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.shows_transactions = True
    ann.ask(SELECT)
    given = framed([ok(status=2 | CHANGED, info=tail)])
    for piece in chop(given):
        rig.backends[0].say(piece)
    heard = ann.heard()
    assert heard in (given, framed([ok()]))
    assert ann.state == "idle"
