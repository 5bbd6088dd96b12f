# SPDX-License-Identifier: Apache-2.0
"""The same bytes come back through the proxy as from the server itself, frame by frame."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from itertools import product

import pytest

from hproxy.protocols.mysql.constants import Capability
from tests.integration.conftest import direct
from tests.integration.route import Route
from tests.integration.scripts import SCRIPTS, TABLES, Script
from tests.support.recording_client import COMMON, Frame, Login, RecordingClient
from tests.support.server import Server

Transcript = list[Frame]
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
def known() -> dict[tuple[str, Capability, Script], Transcript]:
    """What the servers answered directly: asked once, for both auth modes."""
    return {}


@pytest.mark.parametrize("capabilities", COMBINATIONS, ids=named)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_same_frames_as_direct(
    route: Route,
    stage: str,
    known: dict[tuple[str, Capability, Script], Transcript],
    script: Script,
    capabilities: Capability,
) -> None:
    login = Login(database=stage, capabilities=capabilities)
    key = (route.server.name, capabilities, script)
    if key not in known:
        # The first time some things are opened and counted that are not the second time.
        for _ in range(2):
            known[key] = held(route.raw_direct(login), script)
    assert shown(held(route.raw(login), script)) == shown(known[key])


def held(client: RecordingClient, script: Script) -> Transcript:
    """What `client` is told when it follows `script`."""
    with client:
        client.take()
        script(client)
        return client.take()


def shown(frames: Transcript) -> list[tuple[int, bytes]]:
    """What is compared; MariaDB's errors name statements by ids that differ each time."""
    return [
        (frame.sequence, re.sub(rb"\d+", b"N", frame.payload, count=3))
        if frame.payload.startswith(b"\xff")
        else (frame.sequence, frame.payload)
        for frame in frames
    ]
