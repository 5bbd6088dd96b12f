# SPDX-License-Identifier: Apache-2.0
"""What ties a session to its backend connection, as plain data, through JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hproxy.auth import Account
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import tethered
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.known import Tether
from hproxy.protocols.mysql.pins import Pin, PinRecord
from hproxy.protocols.mysql.portable import settings_to
from hproxy.protocols.mysql.questions import Question, QuestionKind
from hproxy.protocols.mysql.settings import Settings
from hproxy.protocols.mysql.state import SessionState
from tests.native.multiplex_rig import Pooled

ALL_BYTES = bytes(range(256))

FULL = Tether(
    waiting=(Question(b"SELECT @a, '\xff'", QuestionKind.CHARSET, (b"a", ALL_BYTES)),),
    held=frozenset({b"cursor", b"\xff"}),
    temporary=frozenset({b"test.kept"}),
    locks=frozenset({b"lock one", b"lock two"}),
    nameless_lock=True,
    holds=frozenset({"TABLE_LOCK"}),
    handlers=frozenset({b"h"}),
    unprepared={b"p\xff": (b"@text", Settings.make(b"shop"))},
    wide=True,
    stained=True,
    records=(
        PinRecord(Pin.TEMP_TABLE, 12.5, b"CREATE TEMPORARY TABLE kept (a INT)"),
        PinRecord(Pin.USER_LOCK, 13.0, b"SELECT GET_LOCK(?,?)"),
    ),
)
EMPTY = Tether(
    (), frozenset(), frozenset(), frozenset(), False, frozenset(), frozenset(), {}, False, False, ()
)  # fmt: skip


def carried(facts: Any) -> Any:
    return json.loads(json.dumps(facts))


def state() -> SessionState:
    return SessionState(Settings.make(b"test"), mariadb=True)


@pytest.mark.parametrize("tether", [FULL, EMPTY], ids=["full", "empty"])
def test_what_ties_it(tether: Tether) -> None:
    assert tethered.tether_of(carried(tethered.tether_to(tether))) == tether


@pytest.mark.parametrize("tether", [FULL, EMPTY], ids=["full", "empty"])
def test_who_recalls_it_is_tied_likewise(tether: Tether) -> None:
    there = state()
    tethered.retie(there, carried({"tether": tethered.tether_to(tether)}))
    assert there.tether() == tether
    assert there.records == tether.records
    assert bool(there.pins & Pin.TEMP_TABLE) == (tether is FULL)


def test_not_told_while_an_insert_id_is_to_be_asked_for() -> None:
    before = state()
    before.last_insert_id = 7
    assert before.tether() is None
    rig = Pooled()
    ann = rig.login()
    assert not tethered.may_leave(ann.session, before)


def test_a_session_without_a_connection_does_not_leave_so() -> None:
    rig = Pooled()
    ann = rig.login()
    assert not tethered.may_leave(ann.session, state())
    login = LoginResult(b"ann", b"test", 5, 45, (), None, None)
    with pytest.raises(ValueError, match="not all is known of its backend connection"):
        tethered.take(ann.session, login, state())
    assert ann.state == "idle"


def test_the_login_there() -> None:
    account = Account(b"ann\xff", None, credential=Credential(b"pw"))
    login = LoginResult(
        b"ann\xff", b"test", (1 << 63) + 5, 45, ((b"_pid", b"7"),), account.credential, account,
        backend_id=4711, reply=ALL_BYTES,
    )  # fmt: skip
    facts = carried(tethered.backend_login_to(login))
    assert "pw" not in json.dumps(facts)
    assert tethered.backend_login_of(facts, account) == login


def test_what_the_connection_is_set_to() -> None:
    settings = Settings.make(b"shop", variables=((b"time_zone", b"+05:30"),))
    facts = carried({"settings": settings_to(settings)})
    assert tethered.connection_settings(facts) is settings
