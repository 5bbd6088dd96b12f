# SPDX-License-Identifier: Apache-2.0
"""With the fast lane off every statement passes the slow points; clients must not see which.

Two proxies before the same server, one with each setting; the same conversations with both give
the same bytes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest

from hproxy.protocols.mysql.constants import Capability
from tests.integration.conftest import Fleet, direct
from tests.integration.scripts import SCRIPTS, TABLES, Script
from tests.integration.test_transcripts import COMBINATIONS, held
from tests.support.proxy import Proxy
from tests.support.recording_client import COMMON, Frame, Login, RecordingClient
from tests.support.server import Server
from tests.torture.campaign import Plan
from tests.torture.stage import staged
from tests.torture.verdict import verdict

USUAL = (
    COMMON,
    COMMON | Capability.DEPRECATE_EOF,
    COMMON | Capability.DEPRECATE_EOF | Capability.SESSION_TRACK,
)


def lane(fleet: Fleet, server: Server, fast: bool) -> Proxy:
    options = {"session_mode": "multiplex", "fast_lane": fast}
    return fleet.get(server, "table", proxy=options)


def shown(frames: list[Frame]) -> list[tuple[int, bytes]]:
    """All of it; MariaDB's errors name statements by ids that differ each time."""
    return [
        (frame.sequence, re.sub(rb"\(\d+\)", b"(N)", frame.payload))
        if frame.payload.startswith(b"\xff")
        else (frame.sequence, frame.payload)
        for frame in frames
    ]


@pytest.fixture(scope="module")
def tables(server: Server) -> Iterator[str]:
    """A database with what the scripts use."""
    name = f"it_{secrets.token_hex(6)}"
    direct(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"USE {name}", *TABLES)
    yield name
    direct(server, f"DROP DATABASE {name}")


def compare(
    fleet: Fleet, server: Server, script: Script, database: str, capabilities: Capability
) -> None:
    login = Login(database=database, capabilities=capabilities)
    said = []
    # The slow one twice: the first time some things are opened and counted that are not later.
    for fast in (False, False, True, True):
        proxy = lane(fleet, server, fast)
        said.append(shown(held(RecordingClient(proxy.host, proxy.port, login), script)))
    assert said[2] == said[1]
    assert said[3] == said[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_scripts(fleet: Fleet, server: Server, tables: str, script: Script) -> None:
    for capabilities in USUAL:
        compare(fleet, server, script, tables, capabilities)


@pytest.mark.full
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_scripts_with_every_capability(
    fleet: Fleet, server: Server, tables: str, script: Script
) -> None:
    for capabilities in COMBINATIONS:
        compare(fleet, server, script, tables, capabilities)


@pytest.mark.parametrize(
    "plan",
    [
        Plan(seed=21, steps=2000, sessions=20),
        pytest.param(Plan(seed=22, steps=50_000, sessions=40), marks=pytest.mark.full),
    ],
    ids=["short", "long"],
)
@pytest.mark.timeout(1800)
def test_random_scripts(fleet: Fleet, server: Server, plan: Plan) -> None:
    fast, slow = (lane(fleet, server, fast) for fast in (True, False))
    with staged(server, f"tz{secrets.token_hex(3)}") as stage:
        found = verdict(stage, plan, (fast.host, fast.port), (slow.host, slow.port))
    assert found == ""
