# SPDX-License-Identifier: Apache-2.0
"""What is told to clients in a server's name, and what is learned of a server."""

from __future__ import annotations

import pytest

from hproxy._native.decision import Decision
from hproxy._native.pool import Group
from hproxy._native.statistics import DigestCounters
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import multiplexing
from hproxy.protocols.mysql.constants import Capability, ServerStatus
from hproxy.protocols.mysql.effects import Effects
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.plan import Plan
from hproxy.protocols.mysql.profile import split, wide
from hproxy.protocols.mysql.refusal import read_error
from hproxy.protocols.mysql.replies import OkPacket
from hproxy.protocols.mysql.results import column, text_resultset
from hproxy.protocols.mysql.settings import Settings
from hproxy.protocols.mysql.wire import MalformedPacket

PLAIN = Capability.PROTOCOL_41 | Capability.TRANSACTIONS
MODERN = PLAIN | Capability.DEPRECATE_EOF
TRACKING = MODERN | Capability.SESSION_TRACK
VARIABLE = b"\x00\x0f\x0aautocommit\x03OFF"
SESSION_VARIABLES: list[tuple[bytes | None, ...]] = [
    (b"autocommit", b"ON"), (b"last_gtid", b""), (b"sql_mode", b""), (b"statement_id", b"7"),
]  # fmt: skip


def login(capabilities: Capability) -> LoginResult:
    return LoginResult(b"ann", capabilities=int(capabilities))


def facts(version: bytes = b"9.0.1", *, tracked: bool = True) -> multiplexing.Facts:
    return multiplexing.Facts.learn(
        [
            [(b"8", b"latin1", b"latin1_swedish_ci"), (b"45", b"utf8mb4", b"utf8mb4_general_ci")],
            [(b"utf8mb4", b"utf8mb4", b"utf8mb4_0900_ai_ci")],
            SESSION_VARIABLES,
            [(b"session_track_schema", b"ON")],
            [(b"ANSI_QUOTES", version)],
        ],
        tracked,
    )


# -- capabilities -----------------------------------------------------------------------


def test_clients_share_what_does_not_change_an_answer() -> None:
    one = multiplexing.kind_of(int(PLAIN | Capability.CONNECT_ATTRS | Capability.SESSION_TRACK))
    other = multiplexing.kind_of(int(PLAIN | Capability.PLUGIN_AUTH))
    assert one == other
    assert one != multiplexing.kind_of(int(MODERN))
    assert one != multiplexing.kind_of(int(PLAIN | Capability.FOUND_ROWS))


def test_kinds_keep_what_mariadb_adds() -> None:
    agreed, mariadb = split(1 << 34 | int(MODERN))
    kind = multiplexing.kind_of(wide(agreed, mariadb))
    assert split(kind)[1] == mariadb


def test_our_connections_track_what_clients_need_not() -> None:
    kind = multiplexing.kind_of(int(MODERN))
    assert split(multiplexing.capabilities_of(kind, None))[0] & Capability.SESSION_TRACK


# -- facts ------------------------------------------------------------------------------


def test_a_server_is_asked_for_what_it_can_track() -> None:
    learned = facts()
    assert b"session_track_system_variables='autocommit,sql_mode'" in learned.tracking
    assert learned.charset(8).collation == b"latin1_swedish_ci"
    assert learned.charset(999).collation == b"utf8mb4_0900_ai_ci"
    assert learned.client_tracking == {b"session_track_schema": b"ON"}
    assert (learned.sql_mode, learned.mysql) == (b"ANSI_QUOTES", True)
    assert not facts(b"10.11.6-MariaDB").mysql


@pytest.mark.parametrize("answer", [None, [], [(b"fine",)], [(b"1", b"2", b"3", b"4")], [(None,)]])
def test_answers_that_make_no_sense_teach_nothing(
    answer: list[tuple[bytes | None, ...]] | None,
) -> None:
    learned = multiplexing.Facts.learn([answer] * len(multiplexing.Facts.QUESTIONS), True)
    assert (learned.tracking, learned.client_tracking, learned.sql_mode) == (b"", {}, b"")
    assert learned.charset(45).collation == b"utf8mb4_general_ci"


def test_a_server_that_refuses_every_question_is_one_all_the_same() -> None:
    learned = multiplexing.Facts.learn([None] * 5, True)
    assert (learned.tracking, learned.client_tracking) == (b"", {})
    assert learned.charset(45).client == b"utf8mb4"
    assert facts(tracked=False).tracking == b""


# -- session state ----------------------------------------------------------------------


def ok(state: bytes = b"", info: bytes = b"") -> bytes:
    status = ServerStatus.AUTOCOMMIT
    if state:
        status |= ServerStatus.SESSION_STATE_CHANGED
    return OkPacket(3, 7, status, info=info, session_track=state).build(TRACKING)


@pytest.mark.parametrize("info", [b"", b"Rows matched: 3"])
def test_an_ok_is_read_and_shown_without_what_is_for_us(info: bytes) -> None:
    packet, changes = multiplexing.read_ok(ok(VARIABLE, info), login(MODERN))
    assert [(change.name, change.value) for change in changes] == [(b"autocommit", b"OFF")]
    shown = multiplexing.shown_ok(packet, None, login(TRACKING))
    assert OkPacket.parse(shown, TRACKING) == OkPacket.parse(ok(b"", info), TRACKING)
    # MySQL sets the flag with nothing behind it when one transaction follows another.
    shown = multiplexing.shown_ok(packet, b"", login(TRACKING))
    assert ServerStatus.SESSION_STATE_CHANGED in OkPacket.parse(shown, TRACKING).status
    assert OkPacket.parse(shown, TRACKING).session_track == b""


def test_an_ok_shows_a_client_what_it_asked_for() -> None:
    packet, _ = multiplexing.read_ok(ok(VARIABLE), login(TRACKING))
    assert multiplexing.shown_ok(packet, VARIABLE, login(TRACKING)) == ok(VARIABLE)
    without = OkPacket.parse(multiplexing.shown_ok(packet, VARIABLE, login(MODERN)), MODERN)
    assert not without.status & ServerStatus.SESSION_STATE_CHANGED


def test_session_state_that_makes_no_sense() -> None:
    with pytest.raises(MalformedPacket):
        multiplexing.read_ok(ok(b"\x00\x09\x05"), login(TRACKING))


@pytest.mark.parametrize("version", [b"9.0.1", b"10.11.6-MariaDB"])
def test_only_mysql_tells_everybody_of_transactions(version: bytes) -> None:
    mysql = version == b"9.0.1"
    assert multiplexing.shows_transactions(facts(version), login(TRACKING)) == mysql
    assert not multiplexing.shows_transactions(facts(version), login(MODERN))


# -- commands ---------------------------------------------------------------------------


def test_roles() -> None:
    assert multiplexing.role(b"\x03SELECT 1") == "query"
    assert multiplexing.role(b"\x17\x01\x00\x00\x00") == "execute"
    assert multiplexing.role(b"\x0e") == multiplexing.role(b"") == ""
    assert multiplexing.is_ordinary(0x0E)
    assert not multiplexing.is_ordinary(0x12)


def test_query_attributes_are_put_before_our_own_statements_where_agreed() -> None:
    attributes = login(MODERN | Capability.QUERY_ATTRIBUTES)
    query = b"\x03SELECT 1"
    assert multiplexing.with_attributes(query, attributes) == b"\x03\x00\x01SELECT 1"
    assert multiplexing.with_attributes(query, login(MODERN)) == query
    assert multiplexing.with_attributes(b"\x0e", attributes) == b"\x0e"
    assert multiplexing.statement_text(b"\x03\x00\x01SELECT 1", attributes) == b"SELECT 1"
    with pytest.raises(MalformedPacket):
        multiplexing.statement_text(b"\x03\x01\x01", attributes)


def test_steps_of_ours() -> None:
    assert multiplexing.insert_id_step(7).payload == b"\x03SET last_insert_id=7"
    assert multiplexing.use_text(b"a`b") == b"USE `a``b`"


@pytest.mark.parametrize(
    ("command", "mysql", "who"),
    [
        (0x17, True, "mysql_stmt_precheck"),
        (0x1A, True, "mysql_stmt_precheck"),
        (0x17, False, "mysqld_stmt_execute"),
        (0x1A, False, "mysqld_stmt_reset"),
        (0x1C, False, "mysqld_stmt_fetch"),
        (0xFA, False, "mysqld_stmt_bulk_execute"),
    ],
)
def test_statements_that_are_none(command: int, mysql: bool, who: str) -> None:
    packet = multiplexing.unknown_statement(bytes([command]) + b"\x09\x00\x00\x00", mysql)
    assert packet is not None
    number, text = read_error(packet)
    assert (number, text) == (1243, f"Unknown prepared statement handler (9) given to {who}")


@pytest.mark.parametrize("command", [0x18, 0x19])
def test_nobody_waits_for_an_answer_to_these(command: int) -> None:
    assert multiplexing.unknown_statement(bytes([command]) + b"\x09\x00\x00\x00", True) is None


# -- prepared statements ----------------------------------------------------------------


def prepared(capabilities: Capability, status: int = 2) -> list[bytes]:
    end = [] if Capability.DEPRECATE_EOF in capabilities else [
        b"\xfe\x00\x00" + status.to_bytes(2, "little")
    ]  # fmt: skip
    head = b"\x00\x63\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00"
    parameters = [column(name).build() for name in ("?", "?")]
    return [head, *parameters, *end, column("c").build(), *end]


@pytest.mark.parametrize("capabilities", [PLAIN, MODERN])
def test_an_answer_to_a_preparation_is_kept_and_told_again(capabilities: Capability) -> None:
    given = prepared(capabilities)
    answer = multiplexing.PrepareAnswer(login(capabilities))
    assert [answer.take(packet) for packet in given] == [False] * (len(given) - 1) + [True]
    assert (answer.number, answer.packets) == (99, given)
    group = Group("group", None, 1)
    decision = Decision(1, group, None, DigestCounters(), None, b"")
    kept = multiplexing.statement("key", b"SELECT ?", answer.packets, decision, True)
    assert (kept.columns, kept.params, kept.sticky) == (1, 2, True)
    in_transaction = prepared(capabilities, 0x2003)
    in_transaction[0] = b"\x00\x05" + given[0][2:]
    # More results and cursors are about one answer: they are not told again.
    assert (
        multiplexing.prepared_packets(kept, 5, 0x2003 | 0x48, login(capabilities)) == in_transaction
    )


def test_an_answer_to_a_preparation_that_is_none() -> None:
    answer = multiplexing.PrepareAnswer(login(MODERN))
    with pytest.raises(MalformedPacket):
        answer.take(b"\x07what")


@pytest.mark.parametrize("capabilities", [PLAIN, MODERN])
def test_a_result_that_was_kept_ends_with_the_status_of_now(capabilities: Capability) -> None:
    kept = text_resultset([column("Level")], [("Note",)], capabilities)
    told = multiplexing.with_status(kept, 0x4003, login(capabilities))
    assert len(told) == len(kept)
    assert int.from_bytes(told[-1][3:5], "little") == 3
    assert told[1] == kept[1]


# -- asked anew elsewhere ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "restated"),
    [
        (b"SELECT ROW_COUNT()", b"SELECT IF(1,-1,ROW_COUNT()) AS `ROW_COUNT()`"),
        (b"select found_rows ( )", b"select IF(1,9,found_rows ( )) AS `found_rows ( )`"),
        (
            b"SELECT ROW_COUNT(), FOUND_ROWS() AS n",
            b"SELECT IF(1,-1,ROW_COUNT()) AS `ROW_COUNT()`, IF(1,9,FOUND_ROWS()) AS n",
        ),
        (b"SELECT 1 + ROW_COUNT()", b"SELECT 1 + IF(1,-1,ROW_COUNT())"),
        (b"SET @n = FOUND_ROWS()", b"SET @n = IF(1,9,FOUND_ROWS())"),
        (b"SELECT 'ROW_COUNT()', row_count", b"SELECT 'ROW_COUNT()', row_count"),
        (b"SELECT ROW_COUNT();", b"SELECT IF(1,-1,ROW_COUNT()) AS `ROW_COUNT()`;"),
        (b"DELETE FROM t; SELECT ROW_COUNT()", b"DELETE FROM t; SELECT ROW_COUNT()"),
        (b"SELECT `ROW_COUNT`()", b"SELECT `ROW_COUNT`()"),
        (b"SELECT ROW_COUNT(1)", b"SELECT ROW_COUNT(1)"),
        (b"", b""),
    ],
)
def test_counts_are_told_as_numbers(text: bytes, restated: bytes) -> None:
    assert multiplexing.restate(text, -1, 9, 0) == restated


# -- pins -------------------------------------------------------------------------------


def test_pins_have_names() -> None:
    assert multiplexing.reasons(0, False) == []
    assert multiplexing.reasons(0, True) == ["TRANSACTION"]
    both = int(Pin.WARNINGS | Pin.OPEN_CURSOR)
    assert set(multiplexing.reasons(both, False)) == {"WARNINGS", "OPEN_CURSOR"}


def test_native_code_and_the_state_keep_different_pins() -> None:
    assert multiplexing.STATE_PINS & int(multiplexing.NATIVE_PINS) == 0
    assert multiplexing.STATE_PINS & multiplexing.NEXT_TRANSACTION


def test_a_user_variable_that_is_null_keeps_its_type_when_it_is_restored() -> None:
    settings = Settings.make(users=((b"a", b"NULL OF _utf8mb4 x''"), (b"b", b"1")))
    plan = Plan((Effects(users=frozenset({b"a", b"b", b"c"})),))
    restored = multiplexing.restore_users(settings, plan)
    assert restored == [b"SET @`a`=_utf8mb4 x'',@`a`=NULL,@`b`=1,@`c`=NULL"]
