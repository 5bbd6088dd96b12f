# SPDX-License-Identifier: Apache-2.0
"""A way to a server through a proxy, as drivers and programs want to be told it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.proxy import Proxy
from tests.support.recording_client import Login, RecordingClient
from tests.support.server import Server

__all__ = ["Route"]


@dataclass(frozen=True)
class Route:
    """The proxy stands before `server` and checks passwords as `auth` says."""

    server: Server
    auth: str
    """One of the ways that conftest.py knows."""
    proxy: Proxy

    @property
    def multiplexed(self) -> bool:
        """Whether sessions borrow backend connections instead of having one."""
        return self.auth in ("multiplex", "slow")

    @property
    def host(self) -> str:
        return self.proxy.host

    @property
    def port(self) -> int:
        return self.proxy.port

    @property
    def is_mariadb(self) -> bool:
        return self.server.name == "mariadb"

    def options(self, **more: Any) -> dict[str, Any]:
        """Keyword arguments that all the Python drivers understand."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.server.user,
            "password": self.server.password,
        } | more

    def arguments(self) -> list[str]:
        """Arguments that the servers' own programs understand."""
        return [
            f"--host={self.host}",
            f"--port={self.port}",
            f"--user={self.server.user}",
            f"--password={self.server.password}",
        ]

    def raw(self, login: Login | None = None) -> RecordingClient:
        """Our own client, logged in through the proxy."""
        return RecordingClient(self.host, self.port, login or Login())

    def raw_direct(self, login: Login | None = None) -> RecordingClient:
        """Our own client, logged in at the server itself."""
        return RecordingClient(self.server.host, self.server.port, login or Login())
