# SPDX-License-Identifier: Apache-2.0
"""What an exception of a probe says of the server."""

from __future__ import annotations

import pytest

from hproxy.errors import (
    AuthError,
    BackendError,
    BackendLost,
    BackendProtocolError,
    ConfigError,
    ConnectError,
)
from hproxy.health.outcome import Kind, failure_of

CASES: list[tuple[Exception, bool, Kind, str]] = [
    (TimeoutError(), False, Kind.SILENT, "timeout on creating new connection"),
    (TimeoutError(), True, Kind.SILENT, "timeout during the check"),
    (ConnectError("denied", code="refused", number=1045), False, Kind.DENIED, "denied"),
    (ConnectError("expired", code="refused", number=1862), False, Kind.DENIED, "expired"),
    (BackendError("must change", number=1820), True, Kind.DENIED, "must change"),
    (AuthError("cannot answer", code="backend"), False, Kind.DENIED, "cannot answer"),
    (ConnectError("full", code="refused", number=1040), False, Kind.REFUSED, "full"),
    (BackendError("unknown variable", number=1193), True, Kind.REFUSED, "unknown variable"),
    (ConnectError("Connection refused"), False, Kind.DOWN, "Connection refused"),
    (BackendLost("end of stream"), True, Kind.DOWN, "Lost connection"),
    (BackendProtocolError("garbage"), False, Kind.DOWN, "garbage"),
    (ConnectError("Too many open files", code="local"), False, Kind.OURS, "Too many open files"),
    (ConfigError("cannot be used", key="ssl_ca"), False, Kind.OURS, "cannot be used"),
    (OSError("no memory"), False, Kind.OURS, "no memory"),
]


@pytest.mark.parametrize(("error", "connected", "kind", "text"), CASES)
def test_kind(error: Exception, connected: bool, kind: Kind, text: str) -> None:
    failure = failure_of(error, 800, connected)
    assert failure.kind is kind
    assert text in failure.text


def test_a_timeout_names_its_limit() -> None:
    assert "800 ms" in failure_of(TimeoutError(), 800, True).text


def test_who_answers_lives() -> None:
    assert {kind for kind in Kind if kind.answered} == {Kind.DENIED, Kind.REFUSED}
