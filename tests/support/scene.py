# SPDX-License-Identifier: Apache-2.0
"""A proxy in trouble: one session that must never notice, and an end where nothing is left over.

with Scene(tmp_path, backend.address) as scene:
    client = scene.client().log_in()
    ...provoke it...
    line = scene.told("backend.lost")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.process import descriptors, eventually
from tests.support.proxy import LogLine, Proxy
from tests.support.rude_client import RudeClient

__all__ = ["Scene"]

FAVOURED = 1_000_000  # weight of the first of several backends: it is tried first, nearly surely
QUIET = ("debug", "trace")
# Backends speak nonsense here on purpose; elsewhere this line would be a mistake of ours.
PROVOKED = "backend broke the protocol"


class TroubledProxy(Proxy):
    """A proxy whose backends are broken on purpose."""

    def faults(self, since: int = 0) -> list[LogLine]:
        return [line for line in super().faults(since) if line["event"] != PROVOKED]

    @property
    def status(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()


class Scene:
    """A proxy before `backends`; `witness` is a session that lives through all of it."""

    def __init__(
        self,
        folder: Path,
        *backends: str,
        witness: bool = True,
        server: Mapping[str, Any] | None = None,
        users: Sequence[Mapping[str, Any]] = (),
        backend_limit: int = 1000,
        log_level: str = "debug",
        tls: str = "off",
        **options: object,
    ) -> None:
        """`options` are keys of [proxy]. The first backend is preferred over the others."""
        sections: dict[str, Any] = {
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder), **(server or {})},
            "proxy": {"mode": "mysql", **options},
            "tls": {"client": tls},
            "logging": {"level": log_level},
            "mysql_servers": [
                {
                    "hostname": host,
                    "port": int(port),
                    "weight": 1 if i else FAVOURED,
                    "max_connections": backend_limit,
                }
                for i, (host, _, port) in enumerate(b.rpartition(":") for b in backends)
            ],
            "mysql_users": list(users),
        }
        self._clients: list[RudeClient] = []
        self.proxy = TroubledProxy(folder, sections)
        try:
            self.witness = self.client().log_in() if witness else None
        except BaseException:
            self.proxy.kill()
            raise
        self.descriptors = descriptors(self.proxy.pid)
        self.since = len(self.proxy.log)

    def client(self, user: str = "hproxy", password: str = "hproxy") -> RudeClient:
        """A connected client, not logged in; closed at the end of the scene."""
        client = RudeClient(self.proxy.host, self.proxy.port, user, password)
        self._clients.append(client)
        return client

    # -- what was told ---------------------------------------------------------------

    def loud(self) -> list[LogLine]:
        """The lines an operator sees by default, since the scene began."""
        return [line for line in self.proxy.log[self.since :] if line["level"] not in QUIET]

    def told(self, code: str, event: str | None = None) -> LogLine:
        """The one line about what happened: its code, a reason, and whose connection it was."""

        def found() -> list[LogLine]:
            return [line for line in self.loud() if line.get("code") == code]

        self.proxy.wait_until(lambda: bool(found()), f"a line with code {code}")
        lines = found()
        assert len(lines) == 1, self.proxy.story(self.since)
        assert event is None or lines[0]["event"] == event, lines
        assert lines[0]["conn"] >= 1 << 30
        return lines[0]

    def silent(self) -> bool:
        """Whether nothing was told but what a debug level shows."""
        return not self.loud()

    # -- the end -----------------------------------------------------------------------

    def check_witness(self) -> None:
        """The other session still works."""
        if self.witness is not None:
            assert self.witness.query("SELECT 'fine'") is not None

    def check_nothing_left(self) -> None:
        """All descriptors the scene took are given back."""
        for client in self._clients:
            if client is not self.witness:
                client.close()
        eventually(
            lambda: descriptors(self.proxy.pid) <= self.descriptors,
            f"no more than {self.descriptors} descriptors, as at the start",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and self.proxy.running:
                self.check_witness()
                self.check_nothing_left()
        finally:
            for client in self._clients:
                client.close()
            if error is None and self.proxy.running:
                self.proxy.stop()
            elif self.proxy.running:
                self.proxy.kill()
