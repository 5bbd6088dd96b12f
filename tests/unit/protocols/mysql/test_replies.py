# SPDX-License-Identifier: Apache-2.0
"""OK, ERR and EOF packets, and what an OK says of the session; captured ones above all."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.constants import Capability, ServerStatus, TrackedKind
from hproxy.protocols.mysql.handshake import HandshakeResponse
from hproxy.protocols.mysql.replies import (
    EOF_HEADER,
    EofPacket,
    ErrPacket,
    OkPacket,
    SessionChange,
    is_eof,
    parse_session_track,
)
from hproxy.protocols.mysql.wire import MalformedPacket, lenenc, lenenc_string
from tests.captures.reading import Conversation, conversations, load
from tests.support.garbage import garbage

TRACK = Capability.PROTOCOL_41 | Capability.SESSION_TRACK
PLAIN = Capability.PROTOCOL_41
# The recordings of commands hold prepare answers and statistics as well: tests/native reads those.
CAPTURED = [c for c in conversations("mysql") if "/commands_" not in c.name]


def simple_answers(conversation: Conversation) -> list[bytes]:
    """Server packets that directly follow a client's: OK, ERR, or the head of a result.

    Without those to COM_STMT_PREPARE, which begin with 0 as well.
    """
    return [
        answer.payload
        for asked, answer in pairwise(conversation.frames)
        if asked.client and not answer.client and asked.remark != "COM_STMT_PREPARE"
    ]


def capabilities_of(conversation: Conversation) -> Capability:
    return HandshakeResponse.parse(conversation.frames[1].payload).capabilities


UNENCRYPTED = [c for c in CAPTURED if not c.name.endswith("login_tls")]


@pytest.mark.parametrize("conversation", UNENCRYPTED, ids=lambda c: c.name)
def test_captured_answers_are_written_as_they_were(conversation: Conversation) -> None:
    capabilities = capabilities_of(conversation)
    seen = 0
    for payload in simple_answers(conversation):
        if payload[0] == 0x00:
            assert OkPacket.parse(payload, capabilities).build(capabilities) == payload
            seen += 1
        elif payload[0] == 0xFF:
            assert ErrPacket.parse(payload).build() == payload
            seen += 1
    for frame in conversation.frames:
        if Capability.DEPRECATE_EOF in capabilities:
            break
        if not frame.client and is_eof(frame.payload):
            assert EofPacket.parse(frame.payload).build() == frame.payload
    assert seen


def changes_in(name: str) -> list[SessionChange]:
    conversation = load(name)
    capabilities = capabilities_of(conversation)
    found: list[SessionChange] = []
    for payload in simple_answers(conversation):
        if payload[0] == 0x00:
            found.extend(OkPacket.parse(payload, capabilities).session_changes)
    return found


@pytest.mark.parametrize("server", ["mariadb-10.11", "mariadb-11.8", "mysql-9.7"])
def test_captured_session_state(server: str) -> None:
    changes = changes_in(f"mysql/{server}/session_state")
    assert SessionChange(TrackedKind.SCHEMA, b"", b"test") in changes
    variables = {c.name: c.value for c in changes if c.kind == TrackedKind.SYSTEM_VARIABLES}
    assert variables[b"autocommit"] == b"OFF"
    assert variables[b"character_set_client"] == b"latin1"
    assert SessionChange(TrackedKind.STATE_CHANGE, b"", b"1") in changes
    states = [c.value for c in changes if c.kind == TrackedKind.TRANSACTION_STATE]
    assert b"T_______" in states
    assert b"________" in states
    characteristics = [
        c.value for c in changes if c.kind == TrackedKind.TRANSACTION_CHARACTERISTICS
    ]
    assert b"START TRANSACTION READ ONLY;" in characteristics
    assert b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;" in characteristics


def test_captured_error() -> None:
    refused = ErrPacket.parse(load("mysql/mysql-9.7/login_refused").frames[-1].payload)
    assert (refused.number, refused.sqlstate) == (1045, b"28000")
    assert refused.message.startswith(b"Access denied for user 'sha2'@'")
    assert not refused.is_progress


counts = st.integers(0, 2**64 - 1)
texts = st.binary(max_size=300)
words = st.integers(0, 0xFFFF)


@given(counts, counts, words, words, texts, texts, st.sampled_from([0x00, EOF_HEADER]))
def test_ok_round_trip(
    rows: int, insert_id: int, status: int, warnings: int, info: bytes, track: bytes, header: int
) -> None:
    for capabilities in (PLAIN, TRACK):
        tracked = capabilities is TRACK and status & ServerStatus.SESSION_STATE_CHANGED
        packet = OkPacket(
            rows, insert_id, ServerStatus(status), warnings, info,
            track if tracked else b"", header,
        )  # fmt: skip
        assert OkPacket.parse(packet.build(capabilities), capabilities) == packet


def test_ok_vectors() -> None:
    assert OkPacket().build(PLAIN).hex() == "00000002000000"
    said = OkPacket(info=b"Rows matched: 1")
    assert said.build(PLAIN) == b"\0\0\0\2\0\0\0\x0fRows matched: 1"
    # A result set's end under DEPRECATE_EOF: eight bytes or more with 0xFE are no EOF.
    assert OkPacket(header=EOF_HEADER).build(PLAIN).hex() == "fe000002000000"


def test_session_state_is_read_only_where_agreed_and_announced() -> None:
    blob = b"\x01\x05\x04test"
    status = ServerStatus.SESSION_STATE_CHANGED
    payload = OkPacket(status=status, session_track=blob).build(TRACK)
    assert OkPacket.parse(payload, TRACK).session_track == blob
    assert OkPacket.parse(payload, PLAIN).session_track == b""


def entry(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + lenenc_string(data)


def test_session_track_kinds() -> None:
    several = b"".join(map(lenenc_string, (b"autocommit", b"ON", b"time_zone", b"SYSTEM")))
    blob = (
        entry(0, several)
        + entry(1, lenenc_string(b"db"))
        + entry(2, b"1")
        + entry(3, b"\0" + lenenc_string(b"uuid:1-5"))
        + entry(4, lenenc_string(b""))
        + entry(5, lenenc_string(b"T_______"))
        + entry(99, b"\x05ab")
    )
    assert parse_session_track(blob) == (
        (0, b"autocommit", b"ON"),
        (0, b"time_zone", b"SYSTEM"),
        (1, b"", b"db"),
        (2, b"", b"1"),
        (3, b"", b"uuid:1-5"),
        (4, b"", b""),
        (5, b"", b"T_______"),
        (99, b"", b"\x05ab"),
    )
    for cut in range(1, len(blob)):
        with suppress(MalformedPacket):  # cuts between entries are fine
            parse_session_track(blob[:cut])


@given(words, texts, st.one_of(st.none(), st.binary(min_size=5, max_size=5)))
def test_err_round_trip(number: int, message: bytes, sqlstate: bytes | None) -> None:
    if sqlstate is None and message.startswith(b"#"):
        message = b"." + message  # the one thing the form cannot say
    if number == 0xFFFF:
        sqlstate = None
    packet = ErrPacket(number, message, sqlstate)
    assert ErrPacket.parse(packet.build()) == packet


def test_err_vectors() -> None:
    assert ErrPacket(1040, b"no", b"08004").build() == b"\xff\x10\x04#08004no"
    assert ErrPacket(1040, b"no", None).build() == b"\xff\x10\x04no"
    with pytest.raises(ValueError, match="SQLSTATE"):
        ErrPacket(1, b"", b"HY00").build()


def test_progress_report_is_no_error() -> None:
    report = ErrPacket.parse(b"\xff\xff\xff\x01\x02\x64\x00\x00\x04work")
    assert report.is_progress


@given(words, words)
def test_eof_round_trip(status: int, warnings: int) -> None:
    packet = EofPacket(ServerStatus(status), warnings)
    assert is_eof(packet.build())
    assert EofPacket.parse(packet.build()) == packet


def test_a_row_that_begins_with_0xfe_is_no_eof() -> None:
    row = lenenc(1 << 24)
    assert row[0] == EOF_HEADER
    assert not is_eof(row + b"data")
    assert not is_eof(b"")
    with pytest.raises(MalformedPacket):
        EofPacket.parse(row)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x05\0\0\0\0\0\0", b"\0\xfb\0\0\0\0\0"])
def test_what_is_no_ok(payload: bytes) -> None:
    with pytest.raises(MalformedPacket, match="OK packet"):
        OkPacket.parse(payload, PLAIN)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xff\x10", b"\0\0\0", b"\xff\x10\x04#080"])
def test_what_is_no_err(payload: bytes) -> None:
    with pytest.raises(MalformedPacket, match="ERR packet"):
        ErrPacket.parse(payload)


SEEDS = [answer for conversation in UNENCRYPTED for answer in simple_answers(conversation)]


@given(garbage(*SEEDS), st.sampled_from([PLAIN, TRACK]))
def test_garbage_is_a_value_or_malformed(data: bytes, capabilities: Capability) -> None:
    try:
        ok = OkPacket.parse(data, capabilities)
    except MalformedPacket:
        pass
    else:
        assert OkPacket.parse(ok.build(capabilities), capabilities) == ok
        with suppress(MalformedPacket):
            parse_session_track(ok.session_track)
    try:
        err = ErrPacket.parse(data)
    except MalformedPacket:
        pass
    else:
        assert err.build() == data
    with suppress(MalformedPacket):
        EofPacket.parse(data)
