# SPDX-License-Identifier: Apache-2.0
"""A service of processes that is followed by the next one, as often as a test wants."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from tests.support.proxy import LogLine, Proxy

__all__ = ["Succession", "Upgraded"]

ENDS_S = 60.0


class Upgraded:
    """One upgrade: what the old service said of it, and how long it took."""

    def __init__(self, old: Proxy, serves_s: float, ends_s: float) -> None:
        self.old = old
        self.serves_s = serves_s
        """Seconds from QUIT until the new one served."""
        self.ends_s = ends_s
        """Seconds from QUIT until the old one was gone."""

    @property
    def moved(self) -> list[LogLine]:
        """A line for each worker: moved, left, why."""
        return self.old.lines("sessions moved")

    @property
    def sessions(self) -> int:
        """How many went."""
        return sum(line["moved"] for line in self.moved)

    @property
    def left(self) -> int:
        """How many did not."""
        return sum(line["left"] for line in self.moved)


class Succession:
    """The service of now; those before it have ended well."""

    def __init__(self, folder: Path, sections: Mapping[str, Any], workers: int = 2) -> None:
        self._folder = folder
        self.flags = ("--workers", str(workers))
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        server = {"listen_addr": "127.0.0.1:0", "data_dir": str(data)}
        whole = {**sections, "server": server | sections.get("server", {})}
        self.now = Proxy(folder, whole, self.flags, single=False)
        self.host, self.port = self.now.host, self.now.port

    def upgrade(self, command: Sequence[str] | None = None) -> Upgraded:
        """Have another one take over: `command` runs it where that is another build."""
        old = self.now
        flags = (*self.flags, "--upgrade")
        new = Proxy(self._folder, old.config, flags, single=False, waits=True, command=command)
        began = monotonic()
        old.signal(signal.SIGQUIT)
        try:
            new.served()
        except AssertionError:
            new.kill()
            raise
        self.now, serves = new, monotonic() - began
        assert (self.now.host, self.now.port) == (self.host, self.port)
        old.ended(ENDS_S)
        return Upgraded(old, serves, monotonic() - began)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.now.__exit__(kind, error, trace)
