# SPDX-License-Identifier: Apache-2.0
"""Settings, logins and credentials as plain data, through JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hproxy.auth import Account
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import portable
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.client_tracking import ClientTracking
from hproxy.protocols.mysql.compression import codec
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.plan import Plan
from hproxy.protocols.mysql.settings import DEFAULT_CHARSET, Charset, Prepared, Settings
from hproxy.protocols.mysql.state import Outcome, SessionState

ALL_BYTES = bytes(range(256))


def carried(facts: Any) -> Any:
    return json.loads(json.dumps(facts))


@pytest.mark.parametrize(
    "settings",
    [
        Settings.make(),
        Settings.make(b"sch\xc3\xb6n", Charset(b"latin1", None, b"latin1_swedish_ci")),
        Settings.make(
            b"test",
            DEFAULT_CHARSET,
            ((b"sql_mode", b""), (b"time_zone", b"+05:30")),
            ((b"a", b"NULL OF _utf8mb4 0x00FF"), (b"b", ALL_BYTES)),
            ((b"p", Prepared(b"SELECT '\xff?'", Settings.make(b"other"))),),
            True,
        ),
    ],
)
def test_settings_are_the_same_object(settings: Settings) -> None:
    assert portable.settings_of(carried(portable.settings_to(settings))) is settings


@pytest.mark.parametrize("packing", [None, ("zlib", 6), ("zstd", 3)])
def test_logins(packing: tuple[str, int] | None) -> None:
    account = Account(b"ann\xff", None, credential=Credential(b"pw"))
    login = LoginResult(
        b"ann\xff",
        b"test",
        (1 << 63) + 5,
        45,
        ((b"_pid", b"7"), (b"", ALL_BYTES)),
        account.credential,
        account,
        scramble=ALL_BYTES[:20],
        plugin=b"caching_sha2_password",
        compression=None if packing is None else codec(*packing),
    )
    assert portable.login_of(carried(portable.login_to(login)), account) == login


@pytest.mark.parametrize(
    "credential", [None, Credential(b"pw\xff"), Credential(None, b"1" * 20, b"2" * 32)]
)
def test_credentials(credential: Credential | None) -> None:
    assert portable.credential_of(carried(portable.credential_to(credential))) == credential


def state(**more: Any) -> SessionState:
    return SessionState(Settings.make(b"test"), mariadb=True, **more)


def test_what_is_known_of_a_session() -> None:
    before = state(client_tracking=ClientTracking())
    before.client_tracking.set(b"session_track_schema", b"OFF")
    memory = before.memory()
    assert memory is not None
    after = SessionState(Settings.make(), mariadb=True)
    after.recall(memory)
    assert after.memory() == memory
    assert after.client_tracking.values == {b"session_track_schema": b"OFF"}


def test_a_session_with_secrets_has_no_memory() -> None:
    held = state()
    held.pin(Pin.TEMP_TABLE)
    assert held.memory() is None
    waits = state()
    waits.finished(Plan(), Outcome(warnings=1, insert_id=0))
    assert waits.memory() is not None  # warnings are known to native code
    waits.last_insert_id = 3
    assert waits.memory() is None
