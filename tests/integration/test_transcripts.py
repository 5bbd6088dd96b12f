# SPDX-License-Identifier: Apache-2.0
"""The same bytes come back through the proxy as from the server itself, frame by frame."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from hproxy.protocols.mysql.constants import Capability, TrackedKind
from hproxy.protocols.mysql.replies import OkPacket, parse_session_track
from tests.integration.conftest import direct
from tests.integration.route import Route
from tests.integration.scripts import SCRIPTS, TABLES, Script
from tests.support.recording_client import COMMON, Frame, Login, RecordingClient
from tests.support.server import Server

Transcript = list[Frame]
Known = dict[tuple[str, Capability, Script], Transcript]
OK_BYTES, EOF_BYTES, EOF_HEADER = 7, 5, 0xFE
STATE_CHANGED = 0x40  # of SESSION_STATE_CHANGED, in the second byte of the status
TRANSACTIONS = (TrackedKind.TRANSACTION_STATE, TrackedKind.TRANSACTION_CHARACTERISTICS)
OPTIONAL = (
    Capability.DEPRECATE_EOF,
    Capability.SESSION_TRACK,
    Capability.OPTIONAL_RESULTSET_METADATA,
    Capability.QUERY_ATTRIBUTES,
)
COMBINATIONS = [
    Capability(sum(chosen, COMMON))
    for chosen in product(*((Capability(0), option) for option in OPTIONAL))
]

# Any two options in all four ways.
COVERING = [
    combination
    for combination in COMBINATIONS
    if sum(option in combination for option in OPTIONAL) in (0, len(OPTIONAL) - 1)
]
OTHERS = [combination for combination in COMBINATIONS if combination not in COVERING]


def named(capabilities: Capability) -> str:
    chosen = [option.name for option in OPTIONAL if option in capabilities]
    return "+".join(name for name in chosen if name) or "plain"


@pytest.fixture(scope="module")
def stage(server: Server) -> Iterator[str]:
    """A database with the scripts' tables, for all tests of one server."""
    name = f"it_{secrets.token_hex(6)}"
    direct(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"USE {name}", *TABLES)
    yield name
    direct(server, f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def known() -> Known:
    """What the servers answered directly: asked once, for all ways there."""
    return {}


@pytest.mark.parametrize("capabilities", COVERING, ids=named)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_same_frames_as_direct(
    route: Route, stage: str, known: Known, script: Script, capabilities: Capability
) -> None:
    compare(route, stage, known, script, capabilities)


@pytest.mark.parametrize(
    "auth",
    [
        "multiplex",
        pytest.param("relay", marks=pytest.mark.full),
        pytest.param("table", marks=pytest.mark.full),
    ],
    indirect=True,
)
@pytest.mark.parametrize("capabilities", OTHERS, ids=named)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_same_frames_in_any_combination(
    route: Route, stage: str, known: Known, script: Script, capabilities: Capability
) -> None:
    compare(route, stage, known, script, capabilities)


def compare(
    route: Route, stage: str, known: Known, script: Script, capabilities: Capability
) -> None:
    login = Login(database=stage, capabilities=capabilities)
    key = (stage, capabilities, script)
    if key not in known:
        # The first time some things are opened and counted that are not the second time.
        for _ in range(2):
            known[key] = held(route.raw_direct(login), script)
    # MariaDB cannot tell an old client of transactions before the next OK, which may be one of
    # ours: those of a multiplexed session are not compared.
    late = route.multiplexed and route.is_mariadb and Capability.DEPRECATE_EOF not in capabilities
    assert shown(held(route.raw(login), script), late) == shown(known[key], late)


def held(client: RecordingClient, script: Script) -> Transcript:
    """What `client` is told when it follows `script`."""
    with client:
        client.take()
        script(client)
        return client.take()


def shown(frames: Transcript, late: bool) -> list[tuple[int, bytes]]:
    """What is compared; `late`: without what is told of transactions."""
    return [(frame.sequence, comparable(frame.payload, late)) for frame in frames]


def comparable(payload: bytes, late: bool) -> bytes:
    """MariaDB's errors name statements by ids that differ each time, and the order in which it
    tells of variables is that of a hash.
    """
    if payload.startswith(b"\xff"):
        return re.sub(rb"\d+", b"N", payload, count=3)
    if len(payload) == EOF_BYTES and payload[0] == EOF_HEADER and late:
        return payload[:4] + bytes([payload[4] & ~STATE_CHANGED])
    if payload.startswith(b"\0") and len(payload) > OK_BYTES and payload[4] & STATE_CHANGED:
        packet = OkPacket.parse(payload, Capability.SESSION_TRACK)
        told = parse_session_track(packet.session_track)
        kept = sorted(each for each in told if not (late and each.kind in TRANSACTIONS))
        return repr(replace(packet, session_track=repr(kept).encode())).encode()
    return payload
