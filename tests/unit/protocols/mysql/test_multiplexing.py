# SPDX-License-Identifier: Apache-2.0
"""What sessions that share connections need of MySQL."""

from __future__ import annotations

import pytest

from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import multiplexing
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.effects import Effects
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.plan import Plan
from hproxy.protocols.mysql.profile import split, wide
from hproxy.protocols.mysql.settings import Settings
from hproxy.protocols.mysql.wire import MalformedPacket
from tests.unit.protocols.mysql.test_facts import facts_of

PLAIN = Capability.PROTOCOL_41 | Capability.TRANSACTIONS
MODERN = PLAIN | Capability.DEPRECATE_EOF
TRACKING = MODERN | Capability.SESSION_TRACK


def login(capabilities: Capability) -> LoginResult:
    return LoginResult(b"ann", capabilities=int(capabilities))


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


# -- transactions -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [b"9.0.1", b"10.11.6-MariaDB"])
def test_mysql_tells_of_transactions_who_is_told_of_anything(version: bytes) -> None:
    mysql, known = version == b"9.0.1", facts_of(version)
    state = multiplexing.session_state(Settings.make(), known, multiplexing.RoutineBook())
    assert multiplexing.shows_transactions(state, known, login(TRACKING)) == mysql
    assert not multiplexing.shows_transactions(state, known, login(MODERN))
    state.client_tracking.set(b"session_track_schema", b"OFF")
    assert multiplexing.shows_transactions(state, known, login(TRACKING)) == mysql
    for names in (b"", b"no_such_variable"):
        state.client_tracking.set(b"session_track_system_variables", names)
        assert not multiplexing.shows_transactions(state, known, login(TRACKING))
    state.client_tracking.set(b"session_track_state_change", b"ON")
    assert multiplexing.shows_transactions(state, known, login(TRACKING)) == mysql


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
