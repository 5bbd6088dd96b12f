# SPDX-License-Identifier: Apache-2.0
"""Where responses end: recorded ones from real servers, built ones, and broken ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.mysql import ResponseScanner, fault_text, reply_kind
from hproxy.protocols.mysql.wire import lenenc_string
from tests.captures.reading import load
from tests.native.recorded import Exchange, exchanges
from tests.native.reference import Outcome, reference_scan
from tests.native.responses import (
    CUT,
    FRAME_MAX,
    MORE,
    binary_row,
    broken_responses,
    columns,
    eof,
    err,
    framed,
    ok,
    responses,
    rows_of,
)
from tests.support.chopper import Chop, cuts

RECORDED = exchanges()
CALM = 0x0002
QUERY, PREPARE, EXECUTE, FETCH, PING, STATISTICS = 0x03, 0x16, 0x17, 0x1C, 0x0E, 0x09
GUARD = bytes([0xFF, 0xFE, 0x00, 0xFB]) * 8


def feed(scanner: ResponseScanner, pieces: Chop, data: bytes) -> int:
    """Feed until the scanner takes no more; how much it took."""
    used = 0
    for piece in pieces(data):
        # Inside something longer: a read beyond the piece would see other bytes.
        took = scanner.scan(memoryview(GUARD + piece + GUARD)[len(GUARD) : -len(GUARD)])
        assert 0 <= took <= len(piece)
        used += took
        if took < len(piece):
            break
    return used


def scanned(scanner: ResponseScanner, used: int) -> Outcome:
    return Outcome(
        used=used,
        done=scanner.done,
        wants_file=scanner.wants_file,
        fault=scanner.fault is not None,
        rows=scanner.rows,
        status=scanner.status,
        warnings=scanner.warnings,
        error=scanner.error,
    )


def check(command: int, data: bytes, pieces: Chop, deprecate_eof: bool) -> Outcome:
    """The scanner says what the reference says; what it says is returned."""
    scanner = ResponseScanner(deprecate_eof)
    scanner.start(command)
    used = feed(scanner, pieces, data)
    seen = scanned(scanner, used)
    expected = reference_scan(command, data, deprecate_eof=deprecate_eof)
    if expected.fault:
        # Where it stops depends on how much of the bad head came at once.
        assert (seen.fault, seen.done) == (True, False)
        assert seen.used >= expected.used
        return seen
    if not (expected.done or expected.wants_file):
        # A row counts from its head on here, from its end on there.
        seen.rows = expected.rows
        seen.status, seen.warnings, seen.error = (
            expected.status, expected.warnings, expected.error,
        )  # fmt: skip
    assert seen == expected
    return seen


# -- recorded ---------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", RECORDED, ids=[each.name for each in RECORDED])
def test_recorded_responses_end_where_the_server_fell_silent(
    exchange: Exchange, chop: Chop
) -> None:
    scanner = ResponseScanner(exchange.deprecate_eof)
    scanner.start(exchange.code)
    rows = 0
    for client, data in exchange.turns:
        if client:
            assert scanner.wants_file
            scanner.file_sent(data[-1] + 1)
            continue
        assert not scanner.done
        # The next response begins right behind: nothing of it may be taken.
        assert feed(scanner, chop, data + b"\x01\x00\x00\x01\xff") == len(data), scanner.fault
        rows = scanner.rows
    assert scanner.fault is None
    assert scanner.done
    if len(exchange.turns) == 1:
        expected = reference_scan(
            exchange.code, exchange.response, deprecate_eof=exchange.deprecate_eof
        )
        assert (rows, scanner.status, scanner.error) == (
            expected.rows, expected.status, expected.error,
        )  # fmt: skip


def test_the_recordings_hold_what_they_are_meant_to() -> None:
    codes = {exchange.code for exchange in RECORDED}
    assert {2, 3, 4, 9, 0x0E, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1F, 0xFA} <= codes
    assert any(b"\xff\xff\xff" in exchange.response for exchange in RECORDED)  # progress
    assert any(client for exchange in RECORDED for client, _ in exchange.turns)  # infile
    assert {exchange.deprecate_eof for exchange in RECORDED} == {True, False}


@pytest.mark.parametrize("folder", ["mariadb-10.11", "mysql-9.7"])
def test_recorded_rows_are_counted(folder: str, chop: Chop) -> None:
    """Known statements of the scenario, so that the twin's counting is not trusted alone."""
    known = [
        (b"SELECT 'a', NULL, REPEAT('x', 300), ''", 2),
        (b"SELECT 1 FROM DUAL WHERE 1 = 0", 0),
        (b"SELECT b, a FROM rows_of", 4),
        (b"SELECT 1; SELECT 2, 3; DO 0; SELECT 4", 3),
    ]
    seen = 0
    for exchange in RECORDED:
        for sql, rows in known:
            if folder in exchange.name and exchange.command[5:].startswith(sql):
                scanner = ResponseScanner(exchange.deprecate_eof)
                scanner.start(QUERY)
                feed(scanner, chop, exchange.response)
                assert scanner.rows == rows
                seen += 1
    assert seen >= 8


def test_an_error_said_before_the_command_arrived_ends_its_response(chop: Chop) -> None:
    """MySQL says goodbye under number 0; a command sent meanwhile meets it as its answer."""
    farewell = load("mysql/mysql-9.7/commands_farewell").frames[-1].data
    assert farewell[3] == 0
    for command in (QUERY, PREPARE, FETCH, PING):
        scanner = ResponseScanner(True)
        scanner.start(command)
        assert feed(scanner, chop, farewell) == len(farewell)
        assert scanner.done
        assert scanner.error == 4031


# -- built ------------------------------------------------------------------------------


@pytest.mark.parametrize("deprecate_eof", [False, True])
@pytest.mark.parametrize("count", [1, 250, 251, 4096])
def test_many_columns(count: int, deprecate_eof: bool, chop: Chop) -> None:
    data = columns(count, deprecate_eof) + rows_of([b"\x00", b"\x01x"]) + eof(deprecate_eof)
    assert check(QUERY, framed(data), chop, deprecate_eof).done


@pytest.mark.parametrize("deprecate_eof", [False, True])
@pytest.mark.parametrize(
    "row",
    [
        b"\xfb",  # NULL
        b"\xfc\xfb\x00" + b"y" * 251,
        b"\x00",
        b"\x01\xfe",
        b"\x01\xff",
        b"\x02\xfe\x00",
        binary_row(b"\xfe\x00\x00\x02\x00"),
        binary_row(b"\xff\xff\xff"),
        b"\xfd\x00\x00\x01" + b"z" * 0x10000,
    ],
)
def test_rows_that_look_like_something_else(row: bytes, deprecate_eof: bool, chop: Chop) -> None:
    data = columns(1, deprecate_eof) + rows_of([row, row]) + eof(deprecate_eof)
    outcome = check(QUERY, framed(data), chop, deprecate_eof)
    assert outcome.done
    assert outcome.rows == 2


@pytest.mark.parametrize("deprecate_eof", [False, True])
@pytest.mark.parametrize(
    "length", [FRAME_MAX - 1, FRAME_MAX, FRAME_MAX + 10, 2 * FRAME_MAX, 2 * FRAME_MAX + 5]
)
def test_rows_over_several_frames(length: int, deprecate_eof: bool) -> None:
    # A text value of 16 MiB has the head 0xFE, as EOF has; its continuation begins with
    # whatever byte happens to be there.
    head = 4 if length < 2**24 + 4 else 9
    row = lenenc_string(b"\xff" * (length - head))
    assert len(row) == length
    data = framed(columns(1, deprecate_eof) + rows_of([row, b"\x00"]) + eof(deprecate_eof))
    for pieces in (CUT["whole"], CUT["large"]):
        scanner = ResponseScanner(deprecate_eof)
        scanner.start(QUERY)
        assert feed(scanner, pieces, data) == len(data)
        assert scanner.done
        assert scanner.rows == 2


@pytest.mark.parametrize("deprecate_eof", [False, True])
def test_an_error_in_the_middle_of_rows_ends_everything(deprecate_eof: bool, chop: Chop) -> None:
    last = ok(status=CALM | MORE, header=0xFE) if deprecate_eof else eof(False, CALM | MORE)[0]
    data = [*columns(2, deprecate_eof), b"\x011\x00", last]
    data += [*columns(1, deprecate_eof), b"\x012", err(1317)]
    outcome = check(QUERY, framed(data), chop, deprecate_eof)
    assert (outcome.done, outcome.rows, outcome.error) == (True, 2, 1317)
    assert not outcome.status & MORE


def test_an_error_among_the_definitions_ends_the_response(chop: Chop) -> None:
    outcome = check(QUERY, framed([b"\x03", columns(1, True)[1], err(1153)]), chop, True)
    assert (outcome.done, outcome.error) == (True, 1153)


@pytest.mark.parametrize(
    ("info", "matched"),
    [
        (b"Rows matched: 3  Changed: 2  Warnings: 0", 3),
        (b"\x2cRows matched: 12345  Changed: 0  Warnings: 0", 12345),
        (b"Rows matched: ", -1),
        (b"Records: 3  Duplicates: 0  Warnings: 0", -1),
        (b"", -1),
    ],
)
def test_rows_matched_are_read_from_an_ok_that_came_whole(info: bytes, matched: int) -> None:
    scanner = ResponseScanner(True)
    scanner.start(0x03)
    answer = framed([b"\x00\x02\x00\x02\x00\x00\x00" + info])
    assert scanner.scan(answer) == len(answer)
    assert (scanner.done, scanner.matched, scanner.affected) == (True, matched, 2)


def test_progress_reports_are_no_end(chop: Chop) -> None:
    report = b"\xff\xff\xff\x01\x01\x02\x00\x00\x00\x04copy"
    data = [report, report, *columns(1, True), report, b"\x01a", report, *eof(True)]
    outcome = check(QUERY, framed(data), chop, True)
    assert (outcome.done, outcome.rows, outcome.error) == (True, 1, 0)


def test_a_file_is_asked_for_and_its_verdict_awaited(chop: Chop) -> None:
    scanner = ResponseScanner()
    scanner.start(QUERY)
    request = framed([b"\xfb/etc/hostname"])
    assert feed(scanner, chop, request + b"too early") == len(request)
    assert (scanner.wants_file, scanner.done) == (True, False)
    scanner.file_sent(7)
    assert (scanner.wants_file, scanner.done) == (False, False)
    verdict = framed([ok(status=CALM)], 7)
    assert feed(scanner, chop, verdict) == len(verdict)
    assert scanner.done


def test_a_file_is_sent_only_when_asked_for() -> None:
    scanner = ResponseScanner()
    scanner.start(QUERY)
    with pytest.raises(ValueError, match="no file was asked for"):
        scanner.file_sent(2)


@pytest.mark.parametrize(
    ("command", "payload"),
    [(STATISTICS, b"Uptime: 5"), (STATISTICS, b"\x00"), (STATISTICS, b""), (0x0D, eof(False)[0])],
)
def test_one_packet_whatever_it_is(command: int, payload: bytes, chop: Chop) -> None:
    assert check(command, framed([payload]) + b"more", chop, False).done


@pytest.mark.parametrize("command", [0x01, 0x18, 0x19])
def test_some_commands_are_not_answered(command: int, chop: Chop) -> None:
    scanner = ResponseScanner()
    scanner.start(command)
    assert scanner.done
    assert feed(scanner, chop, framed([ok()])) == 0


@pytest.mark.parametrize("command", [0x12, 0x1E])
def test_a_stream_ends_with_eof_and_counts_no_numbers(command: int, chop: Chop) -> None:
    events = b"".join(framed([b"\x00event"], number) for number in (1, 9, 9, 200))
    data = events + framed([b"\xfe"], 3)
    assert check(command, data + b"x", chop, False).used == len(data)


def test_a_clone_never_ends(chop: Chop) -> None:
    scanner = ResponseScanner()
    scanner.start(0x20)
    assert feed(scanner, chop, b"anything" * 100) == 800
    assert not scanner.done


def test_sequence_ids_wrap(chop: Chop) -> None:
    data = framed([*columns(1, True), *([b"\x01r"] * 1000), *eof(True)])
    assert check(QUERY, data, chop, True).rows == 1000


@pytest.mark.parametrize(
    ("command", "packets", "fault"),
    [
        (QUERY, [b""], "empty packet"),
        (QUERY, [b"\xff\x00"], "packet too short for its kind"),
        (QUERY, [b"\x00"], "packet too short for its kind"),
        (QUERY, [b"\x00\xfb\x00\x00\x00"], "packet too short for its kind"),
        (QUERY, [b"\xfc\x01"], "packet too short for its kind"),
        (QUERY, [*columns(1, False)[:-1], b"\x01x"], "packet of a kind that may not come now"),
        (QUERY, [*columns(1, True), b"\xfe\xfb\x00\x00\x00\x00\x00"], "packet too short"),
        (PREPARE, [b"\x01"], "packet of a kind that may not come now"),
        (PREPARE, [b"\x00\x01\x00\x00\x00"], "packet too short for its kind"),
    ],
)  # fmt: skip
def test_faults_have_names(command: int, packets: list[bytes], fault: str, chop: Chop) -> None:
    scanner = ResponseScanner("fe" in repr(packets[-1]))
    scanner.start(command)
    feed(scanner, chop, framed(packets))
    assert scanner.fault is not None
    assert fault in scanner.fault
    assert fault_text(scanner.fault_code) == scanner.fault
    assert not scanner.done


@pytest.mark.parametrize("number", [0, 2, 255])
def test_the_first_packet_is_number_one(number: int, chop: Chop) -> None:
    scanner = ResponseScanner()
    scanner.start(QUERY)
    feed(scanner, chop, framed([ok()], number))
    assert scanner.fault == "packets out of order"


def test_every_command_has_a_kind_of_reply() -> None:
    assert {reply_kind(command) for command in range(256)} == set(range(10))
    assert fault_text(0) == "no fault"


# -- generated --------------------------------------------------------------------------


@given(responses(), st.randoms(use_true_random=False))
def test_generated_responses_equal_the_reference(
    response: tuple[int, bytes, bool], rng: object
) -> None:
    command, data, deprecate_eof = response
    for pieces in (*CUT.values(), lambda piece: cuts(piece, rng)):  # type: ignore[arg-type]
        seen = check(command, data, pieces, deprecate_eof)
        assert seen.done or seen.wants_file


@given(broken_responses(), st.randoms(use_true_random=False))
def test_broken_responses_equal_the_reference(
    response: tuple[int, bytes, bool], rng: object
) -> None:
    command, data, deprecate_eof = response
    for pieces in (*CUT.values(), lambda piece: cuts(piece, rng)):  # type: ignore[arg-type]
        check(command, data, pieces, deprecate_eof)
