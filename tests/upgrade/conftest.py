# SPDX-License-Identifier: Apache-2.0
"""A schema for each server, and what a service before it is told."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.database import Side
from tests.support.server import Server


@pytest.fixture
def schema(server: Server) -> Iterator[str]:
    """A database of its own."""
    name = f"up_{secrets.token_hex(6)}"
    with Side(server) as side:
        side.run(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            side.run(f"DROP DATABASE {name}")


@pytest.fixture
def sections(server: Server) -> dict[str, Any]:
    """Sessions share backend connections."""
    return {
        "proxy": {
            "backends": [server.address],
            "session_mode": "multiplex",
            "monitor_username": server.user,
            "monitor_password": server.password,
        },
        "mysql_users": [{"username": server.user, "password": server.password}],
    }
