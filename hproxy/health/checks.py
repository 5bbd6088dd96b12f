# SPDX-License-Identifier: Apache-2.0
"""What a check is, and the two that every server undergoes: connect and ping.

targets(index) ── jobs    ask(connection) ── answer ──┐
                                    failure ──────────┴─> judge ── acts, a row of its log
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from hproxy.health.index import Index
from hproxy.health.journal import TABLES, Value
from hproxy.health.model import Act, Address, Change, ProbeConnection, Values
from hproxy.health.outcome import Failure
from hproxy.health.ping import Pings, Verdict

__all__ = ["Check", "ConnectCheck", "PingCheck", "Scene", "Target"]


class Target(NamedTuple):
    """Whom to check, and with which variant of the check."""

    address: Address
    variant: str = ""


@dataclass(slots=True)
class Scene:
    """What checks look at and act on; `index` is replaced when the runtime changes."""

    index: Index
    act: Act
    values: Values
    place: Callable[[Sequence[Change]], None]
    lost: Callable[[Address], None]
    """Tell every check that a server is down."""


class Check(ABC):
    """One kind of check, and what it remembers of each server."""

    kind: ClassVar[str]
    """As in mysql-monitor_<kind>_interval and MySQL_Monitor_<kind>_check_OK."""
    table: ClassVar[str]
    alone: ClassVar[bool] = False
    """Opens a connection of its own instead of using the one that is kept."""
    always: ClassVar[bool] = False
    """Goes on while the server is down."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @property
    def interval(self) -> str:
        """The variable that says how often, in ms."""
        return f"mysql-monitor_{self.kind}_interval"

    @property
    def limit(self) -> str:
        """The variable that says how long an answer may take, in ms."""
        return f"mysql-monitor_{self.kind}_timeout"

    @property
    def no_columns(self) -> tuple[Value, ...]:
        """What the log says instead of an answer."""
        return (None,) * (len(TABLES[self.table]) - 2)

    @abstractmethod
    def targets(self, index: Index) -> Iterable[Target]:
        """Whom to check."""

    @abstractmethod
    async def ask(self, connection: ProbeConnection, target: Target) -> Any:
        """Put the question. Raises HProxyError."""

    @abstractmethod
    def judge(self, target: Target, answer: Any) -> tuple[Value, ...]:
        """Act on an answer or a Failure; the columns of the log between time and error."""

    def keep(self, targets: Collection[Target]) -> None:
        """Forget what is known of all others, and take back what was held against them."""
        return

    def lost(self, address: Address) -> None:
        """The server is down by the pings; checks that are not `always` pause."""
        return


class ConnectCheck(Check):
    """Whether a new connection can be opened; a matter for the log, pings decide."""

    kind = "connect"
    table = "mysql_server_connect_log"
    alone = True
    always = True

    def targets(self, index: Index) -> Iterable[Target]:
        return {Target(server.address) for server in index.view.servers if server.pinged}

    async def ask(self, connection: ProbeConnection, target: Target) -> None:
        return

    def judge(self, target: Target, answer: Any) -> tuple[Value, ...]:
        return ()


class PingCheck(Check):
    """Whether it answers at all."""

    kind = "ping"
    table = "mysql_server_ping_log"
    always = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._pings: dict[Address, Pings] = {}

    def down(self, address: Address) -> bool:
        """Whether it has been silent too often."""
        pings = self._pings.get(address)
        return pings is not None and pings.down

    def targets(self, index: Index) -> Iterable[Target]:
        return {Target(server.address) for server in index.view.servers if server.pinged}

    async def ask(self, connection: ProbeConnection, target: Target) -> None:
        await connection.ping()

    def judge(self, target: Target, answer: Any) -> tuple[Value, ...]:
        address, scene = target.address, self.scene
        failure = answer if isinstance(answer, Failure) else None
        limit = scene.values.number("mysql-monitor_ping_max_failures")
        pings = self._pings.setdefault(address, Pings())
        was_down = pings.down
        verdict = pings.take(failure, limit)
        if verdict is Verdict.SHUN and failure is not None:
            reason = f"{pings.failed} pings in a row failed: {failure.text}"
            scene.act.shun(address.host, address.port, reason)
            if not was_down:
                scene.lost(address)
        elif verdict is Verdict.BACK:
            scene.act.back(address.host, address.port)
        return ()

    def keep(self, targets: Collection[Target]) -> None:
        kept = {target.address for target in targets}
        for gone in self._pings.keys() - kept:
            if self._pings.pop(gone).down:  # nobody would say it later
                self.scene.act.back(*gone)
