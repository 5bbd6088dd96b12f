# SPDX-License-Identifier: Apache-2.0
"""A client sees of session tracking what it asked for, not what we asked for."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.client_tracking import ClientTracking, build_session_track
from hproxy.protocols.mysql.constants import TrackedKind
from hproxy.protocols.mysql.replies import SessionChange, parse_session_track

VARIABLE = TrackedKind.SYSTEM_VARIABLES
MODE = SessionChange(VARIABLE, b"sql_mode", b"ANSI")
ZONE = SessionChange(VARIABLE, b"time_zone", b"+01:00")
SCHEMA = SessionChange(TrackedKind.SCHEMA, b"", b"shop")
STATE = SessionChange(TrackedKind.STATE_CHANGE, b"", b"1")
GTID = SessionChange(TrackedKind.GTIDS, b"", b"a:1")
TRANSACTION = SessionChange(TrackedKind.TRANSACTION_STATE, b"", b"T_______")
CHARACTERISTICS = SessionChange(TrackedKind.TRANSACTION_CHARACTERISTICS, b"", b"START TRANSACTION;")
ALL = (MODE, ZONE, SCHEMA, STATE, GTID, TRANSACTION, CHARACTERISTICS)


@pytest.mark.parametrize("together", [True, False])
def test_what_is_built_can_be_read(together: bool) -> None:
    assert parse_session_track(build_session_track(ALL, together)) == ALL
    assert build_session_track((), together) == b""


def seen(tracking: ClientTracking) -> tuple[SessionChange, ...]:
    return parse_session_track(tracking.view(ALL, together=False) or b"")


def test_as_servers_come() -> None:
    assert seen(ClientTracking()) == (ZONE, SCHEMA)
    assert ClientTracking().view((MODE, STATE), together=True) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"session_track_system_variables", b"sql_mode , x", (MODE, SCHEMA)),
        (b"session_track_system_variables", b"*", (MODE, ZONE, SCHEMA)),
        (b"session_track_system_variables", b"", (SCHEMA,)),
        (b"session_track_schema", b"OFF", (ZONE,)),
        (b"session_track_state_change", b"ON", (ZONE, SCHEMA, STATE)),
        (b"session_track_gtids", b"OWN_GTID", (ZONE, SCHEMA, GTID)),
        (b"session_track_transaction_info", b"STATE", (ZONE, SCHEMA, TRANSACTION)),
        (b"session_track_transaction_info", b"CHARACTERISTICS",
         (ZONE, SCHEMA, TRANSACTION, CHARACTERISTICS)),
    ],
)  # fmt: skip
def test_what_the_client_set(
    name: bytes, value: bytes, expected: tuple[SessionChange, ...]
) -> None:
    tracking = ClientTracking()
    tracking.set(name, value)
    assert seen(tracking) == expected
    tracking.set(name, None)
    assert seen(tracking) == (ZONE, SCHEMA)
    tracking.set(name, value)
    tracking.reset()
    assert seen(tracking) == (ZONE, SCHEMA)


def test_the_clients_own_on_a_connection() -> None:
    tracking = ClientTracking({b"session_track_schema": b"OFF"})
    tracking.set(b"session_track_state_change", b"ON")
    assert tracking.statement() == (
        b"SET @@SESSION.session_track_schema='OFF',@@SESSION.session_track_state_change='ON',"
        b"@@SESSION.session_track_system_variables='autocommit,character_set_client,"
        b"character_set_connection,character_set_results,time_zone',"
        b"@@SESSION.session_track_transaction_info='OFF'"
    )
