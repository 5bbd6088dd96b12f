# SPDX-License-Identifier: Apache-2.0
"""The native reactor inside the event loop: one reader, one timer."""

from __future__ import annotations

import asyncio

from hproxy._native.reactor import Reactor

__all__ = ["ReactorLoop"]

# Deadlines of endpoints (idle, lingering) are coarse: one sweep a second costs 10,000 of
# them about 0.1 ms.
SWEEP_SEC = 1.0
MIN_SWEEP_SEC = 0.02


class ReactorLoop:
    """Owns a Reactor and drives it from the running loop until `close`."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self._every = SWEEP_SEC
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.reactor.fileno(), self.reactor.poll)
        self._timer = self._loop.call_later(SWEEP_SEC, self._sweep)

    def _sweep(self) -> None:
        self._timer = self._loop.call_later(self._every, self._sweep)
        self.reactor.sweep()

    def within(self, seconds: float) -> None:
        """Deadlines are to be kept to so many seconds, or a second where that is less."""
        every = min(SWEEP_SEC, max(seconds, MIN_SWEEP_SEC))
        if every != self._every:
            self._every = every
            self._timer.cancel()
            self._timer = self._loop.call_later(every, self._sweep)

    def close(self) -> None:
        """Stop; endpoints still open are forgotten."""
        self._timer.cancel()
        if self.reactor.fileno() >= 0:
            self._loop.remove_reader(self.reactor.fileno())
            self.reactor.close()
