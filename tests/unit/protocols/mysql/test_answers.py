# SPDX-License-Identifier: Apache-2.0
"""Answers without a server, and OKs as the client is to see them."""

from __future__ import annotations

import pytest

from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import answers
from hproxy.protocols.mysql.constants import Capability, ServerStatus
from hproxy.protocols.mysql.replies import OkPacket
from hproxy.protocols.mysql.results import column, text_resultset
from hproxy.protocols.mysql.wire import MalformedPacket

PLAIN = Capability.PROTOCOL_41 | Capability.TRANSACTIONS
MODERN = PLAIN | Capability.DEPRECATE_EOF
TRACKING = MODERN | Capability.SESSION_TRACK
VARIABLE = b"\x00\x0f\x0aautocommit\x03OFF"


def login(capabilities: Capability) -> LoginResult:
    return LoginResult(b"ann", capabilities=int(capabilities))


def ok(state: bytes = b"", info: bytes = b"") -> bytes:
    status = ServerStatus.AUTOCOMMIT
    if state:
        status |= ServerStatus.SESSION_STATE_CHANGED
    return OkPacket(3, 7, status, info=info, session_track=state).build(TRACKING)


@pytest.mark.parametrize("info", [b"", b"Rows matched: 3"])
def test_an_ok_is_read_and_shown_without_what_is_for_us(info: bytes) -> None:
    packet, changes = answers.read_ok(ok(VARIABLE, info), login(MODERN))
    assert [(change.name, change.value) for change in changes] == [(b"autocommit", b"OFF")]
    shown = answers.shown_ok(packet, None, login(TRACKING))
    assert OkPacket.parse(shown, TRACKING) == OkPacket.parse(ok(b"", info), TRACKING)
    # MySQL sets the flag with nothing behind it when one transaction follows another.
    shown = answers.shown_ok(packet, b"", login(TRACKING))
    assert ServerStatus.SESSION_STATE_CHANGED in OkPacket.parse(shown, TRACKING).status
    assert OkPacket.parse(shown, TRACKING).session_track == b""


def test_an_ok_shows_a_client_what_it_asked_for() -> None:
    packet, _ = answers.read_ok(ok(VARIABLE), login(TRACKING))
    assert answers.shown_ok(packet, VARIABLE, login(TRACKING)) == ok(VARIABLE)
    without = OkPacket.parse(answers.shown_ok(packet, VARIABLE, login(MODERN)), MODERN)
    assert not without.status & ServerStatus.SESSION_STATE_CHANGED


def test_session_state_that_makes_no_sense() -> None:
    with pytest.raises(MalformedPacket):
        answers.read_ok(ok(b"\x00\x09\x05"), login(TRACKING))


@pytest.mark.parametrize("capabilities", [PLAIN, MODERN])
def test_a_result_that_was_kept_ends_with_the_status_of_now(capabilities: Capability) -> None:
    kept = text_resultset([column("Level")], [("Note",)], capabilities)
    told = answers.with_status(kept, 0x4003, login(capabilities))
    assert len(told) == len(kept)
    assert int.from_bytes(told[-1][3:5], "little") == 3
    assert told[1] == kept[1]
