# SPDX-License-Identifier: Apache-2.0
"""Upgrades from one build to another with a different version.

sessions are written alike    ──> they move
they are written otherwise    ──> they stay, are served, and are seen off
and back                      ──> a downgrade is an upgrade
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.build import build
from tests.support.crowd import Crowd
from tests.support.proxy import Proxy
from tests.support.server import Server
from tests.support.succession import Succession

IDLE = 10


@pytest.fixture
def server(mariadb: Server) -> Server:
    """What differs is not the server."""
    return mariadb


def test_another_version(tmp_path: Path, sections: dict[str, Any]) -> None:
    command = build(tmp_path / "next", "99.1.2")
    with (
        Succession(tmp_path / "service", sections) as service,
        Crowd(service.host, service.port, IDLE) as crowd,
    ):
        there = service.upgrade(command)
        assert there.old.lines("handed over", version="99.1.2")
        assert (there.sessions, there.left) == (IDLE, 0)
        assert crowd.forgotten() == []
        back = service.upgrade()
        assert (back.sessions, back.left) == (IDLE, 0)
        assert crowd.forgotten() == []


def test_another_format(tmp_path: Path, sections: dict[str, Any]) -> None:
    command = build(tmp_path / "next", "99.2.0", protocols__mysql__portable=99)
    folder = tmp_path / "service"
    sections["server"] = {"upgrade_sec": 60}
    with (
        Succession(folder, sections) as service,
        Crowd(service.host, service.port, IDLE) as crowd,
    ):
        old = service.now
        flags = (*service.flags, "--upgrade")
        with Proxy(folder, old.config, flags, single=False, waits=True, command=command) as new:
            old.signal(signal.SIGQUIT)
            new.served()
            service.now = new
            told = old.wait_for_log("sessions moved", deadline_s=30)
            assert told["moved"] == 0
            assert "handover.remote" in told["why"]
            assert old.lines("sessions stay")
            assert crowd.forgotten() == []  # the old one serves them
            with Crowd(service.host, service.port, 2) as come:
                assert come.forgotten() == []  # the new one those who come
                crowd.close()
                old.ended(30)  # with them, long before the deadline
                assert come.forgotten() == []
