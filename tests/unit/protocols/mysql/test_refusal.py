# SPDX-License-Identifier: Apache-2.0
"""What clients read of our errors, and what we read of the servers'."""

from __future__ import annotations

import pytest

from hproxy import errors
from hproxy.errors import (
    AuthError,
    BackendLost,
    BackendProtocolError,
    ClientError,
    ConnectError,
    HProxyError,
    PoolTimeout,
)
from hproxy.protocols.mysql.constants import SQLSTATE
from hproxy.protocols.mysql.refusal import REFUSALS, error_packet, read_error, retryable
from hproxy.protocols.mysql.replies import ErrPacket
from tests.support.logins import DENIED, OK

# From here on numbers are client libraries' own: no server gives them a state.
FIRST_OF_CLIENTS = 2000


@pytest.mark.parametrize(
    ("error", "number", "sqlstate", "text"),
    [
        (
            AuthError(user="ann", host="10.0.0.1", using_password="YES"),
            1045,
            b"28000",
            "Access denied for user 'ann'@'10.0.0.1' (using password: YES)",
        ),
        (ClientError(code="limit", limit=3), 1040, b"08004", "Too many connections"),
        (
            ClientError("x", code="user_limit", user="ann", current=3),
            1226,
            b"42000",
            "User 'ann' has exceeded the 'max_user_connections' resource (current value: 3)",
        ),
        (ClientError("no sense", code="malformed"), 1043, b"08S01", "Bad handshake: no sense"),
        (ClientError("no row", code="of_its_own"), 1043, b"08S01", "Bad handshake: no row"),
        (
            ConnectError("refused", hostgroup=2),
            9002,
            b"HY000",
            "Max connect failure while reaching hostgroup 2: refused",
        ),
        (
            ConnectError("no TLS", code="tls"),
            9002,
            b"HY000",
            "Max connect failure while reaching hostgroup ?: no TLS",
        ),
        (
            PoolTimeout(hostgroup=1, waited_ms=7),
            9001,
            b"HY000",
            "Max connect timeout reached while reaching hostgroup 1 after 7ms",
        ),
        (BackendLost("reset"), 2013, b"HY000", "Lost connection to backend during query: reset"),
        (BackendProtocolError("odd"), 2027, b"HY000", "Malformed packet from backend: odd"),
        (
            BackendProtocolError("bad certificate", code="tls"),
            2026,
            b"HY000",
            "TLS connection to backend failed: bad certificate",
        ),
        (HProxyError("path /etc/secret"), 1105, b"HY000", "Internal error in hproxy"),
    ],
)
def test_the_table(error: HProxyError, number: int, sqlstate: bytes, text: str) -> None:
    packet = ErrPacket.parse(error_packet(error))
    assert (packet.number, packet.sqlstate) == (number, sqlstate)
    message = packet.message.decode()
    assert message == text or message.startswith(text + ";")


def test_every_error_a_client_may_meet_has_a_row_of_its_kind() -> None:
    """Configuration, scripts, operators' ports and channels are nothing a client asks for."""
    inward = {"internal", "config", "script", "admin", "handover"}
    kinds = [getattr(errors, name) for name in errors.__all__]
    codes = {kind.code for kind in kinds if isinstance(kind, type) and hasattr(kind, "code")}
    met = {code for code in codes if code.partition(".")[0] not in inward}
    assert met <= set(REFUSALS)


@pytest.mark.parametrize("code", list(REFUSALS))
def test_rows_are_well_formed(code: str) -> None:
    number, sqlstate, text = REFUSALS[code]
    assert 0 < number < 1 << 16
    assert len(sqlstate) == 5
    assert text.format_map({"reason": "", **dict.fromkeys(_names(text), "x")})
    # Clients take 08S01 for a lost connection: ProxySQL gives this one another state.
    if number in SQLSTATE and number < FIRST_OF_CLIENTS and code != "route.local_infile":
        assert SQLSTATE[number] == sqlstate


def _names(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]


@pytest.mark.parametrize("hostile", ["{user}", "%s", "{0}", "{", "\0", "\udcff" * 0 + "é"])
def test_a_users_name_is_not_a_template(hostile: str) -> None:
    packet = ErrPacket.parse(error_packet(AuthError(user=hostile, host="h", using_password="NO")))
    assert f"'{hostile}'@'h'" in packet.message.decode()


def test_reading_errors() -> None:
    assert read_error(DENIED) == (1045, "Access denied for user 'ann'")
    assert read_error(ErrPacket(1040, b"Too many", None).build()) == (1040, "Too many")
    for payload in (OK, b"", b"\xff", b"\xff\x01", b"\xff\x15\x04#28"):
        assert read_error(payload) == (0, "")
    assert read_error(ErrPacket(1064, b"\xff\xfe").build())[0] == 1064


def test_whom_another_backend_may_serve_better() -> None:
    for number in (1040, 1053, 1129, 1203):
        assert retryable(number)
    for number in (1044, 1045, 1049, 1226, 0):
        assert not retryable(number)
