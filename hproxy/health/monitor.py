# SPDX-License-Identifier: Apache-2.0
"""One scheduler for all checks of all servers.

    schedule ── due ──> server busy? ── yes ──> waits in its link
       ^                   └ no ─> connection kept? ── no ──> lane ─┐
       │                              └ yes ────────────────────────┴─> probe, with a deadline
       └──────── interval, jittered ──── journal, counters, verdict <──────┘

Every variable is read when it is needed. A changed interval, account or switch acts at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import random as system_random
from time import monotonic
from typing import Any, NamedTuple

from hproxy.health.checks import Check, ConnectCheck, PingCheck, Scene, Target
from hproxy.health.clusters import GaleraCheck, GroupReplicationCheck
from hproxy.health.index import Index
from hproxy.health.journal import Journal
from hproxy.health.link import Lane, Link
from hproxy.health.model import Act, Address, Change, Dial, Values, View
from hproxy.health.names import NameCache
from hproxy.health.probing import Prober
from hproxy.health.replication import LagCheck, ReadOnlyCheck
from hproxy.health.schedule import Schedule
from hproxy.net.tasks import TaskSet
from hproxy.telemetry.log import Logger, get_logger

__all__ = ["CHECKS", "Monitor"]

CHECKS: tuple[type[Check], ...] = (
    ConnectCheck,
    PingCheck,
    ReadOnlyCheck,
    LagCheck,
    GroupReplicationCheck,
    GaleraCheck,
)
SLACK_S = 0.01
"""What is due within this time is taken along: fewer wake-ups."""
SETTLE_S = 0.05
"""Moves within this time are followed by one look at the whole runtime."""
JITTER = 0.05
"""Intervals are up to so much shorter, never longer: checks of many servers drift apart."""
BURST = 500
"""First checks a second when many servers are new."""
ACCOUNT = {"mysql-monitor_username", "mysql-monitor_password"}


class Job(NamedTuple):
    """One check of one server."""

    kind: str
    target: Target


Waiting = tuple[Job, Link[Job]]


class Monitor:
    """Checks the servers of the runtime; `start` it on a running loop, `refresh` it on changes."""

    def __init__(
        self,
        view: Callable[[], View],
        act: Act,
        dial: Dial,
        values: Values,
        *,
        names: NameCache | None = None,
        pinged: Callable[[str, int, float], object] = lambda host, port, seconds: None,
        log: Logger | None = None,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = system_random,
    ) -> None:
        self._view = view
        self._values = values
        self._names = names
        self._log = log or get_logger("health")
        self._clock = clock
        self._random = random
        self._scene = Scene(Index(View()), act, values, self._place, self._lost)
        self._checks = {check.kind: check(self._scene) for check in CHECKS}
        self._jobs: set[Job] = set()
        self._new: set[Job] = set()
        """Those that have not run yet."""
        self._schedule: Schedule[Job] = Schedule()
        self._links: dict[Address, Link[Job]] = {}
        self._steady: Lane[Waiting] = Lane(self._half)
        self._doubtful: Lane[Waiting] = Lane(self._half)
        self._tasks = TaskSet(self._broken)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._names_timer: asyncio.TimerHandle | None = None
        self._refreshing: asyncio.TimerHandle | None = None
        self._running = False
        self._started = 0
        self.journal = Journal(lambda: 1000 * values.number("mysql-monitor_history"))
        self._prober = Prober(self._scene, dial, self.journal, self._log, clock, pinged)

    # -- from outside -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin, if mysql-monitor_enabled says so; a later change of it is heard."""
        self._running = True
        if self._names is not None:
            self._names.on_update = self._moved
        self._values.on_change.append(self._changed)
        self.refresh()
        self._refresh_names()

    async def stop(self) -> None:
        """Stop checking, close what is open."""
        self._running = False
        if self._changed in self._values.on_change:
            self._values.on_change.remove(self._changed)
        for timer in (self._timer, self._names_timer, self._refreshing):
            if timer is not None:
                timer.cancel()
        self._timer = self._names_timer = self._refreshing = None
        await self._tasks.cancel_all()
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._jobs.clear()
        self._schedule = Schedule()

    def refresh(self) -> None:
        """The runtime has changed: look at it again; 10 ms for 1,000 servers.

        What `Act.place` did needs no call."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
        if not self._running:
            return
        on = self._values.flag("mysql-monitor_enabled")
        self._scene.index = index = Index(self._view() if on else View())
        jobs: set[Job] = set()
        for kind, check in self._checks.items():
            targets = set(check.targets(index))
            check.keep(targets)
            jobs.update(Job(kind, target) for target in targets)
        for job in self._jobs - jobs:
            self._schedule.drop(job)
        new = jobs - self._jobs
        self._new = (self._new | new) & jobs
        self._jobs = jobs
        addresses = {job.target.address for job in jobs}
        for address in self._links.keys() - addresses:
            self._links.pop(address).close()
        for address in addresses - self._links.keys():
            self._links[address] = Link(address)
        self._spread(new)
        self._renew(
            {a for a, link in self._links.items() if link.use_ssl not in (None, index.use_ssl(a))}
        )

    def look(self, host: str, port: int) -> bool:
        """Somebody has seen that its role changed: ask it at once. False: nobody asks it."""
        address = Address(host, port)
        jobs = {j for j in self._jobs if j.kind == "read_only" and j.target.address == address}
        now = self._clock()
        for job in jobs:
            if job in self._schedule:  # else it is being asked
                self._schedule.put(job, now)
        self._arm()
        return bool(jobs)

    def arrangement(self, view: View) -> list[Change]:
        """What must change in `view`, which is to be run on, by what is known of its servers."""
        check = self._checks["read_only"]
        assert isinstance(check, ReadOnlyCheck)
        return list(check.arrangement(Index(view)))

    def reconnect(self) -> None:
        """What connections are made with has changed (TLS files, parameters): make new ones."""
        self._renew(set(self._links))

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """A table of the `monitor` schema. Raises KeyError."""
        return self.journal.rows(table)

    def counters(self) -> dict[str, int]:
        """The MySQL_Monitor_* rows of stats_mysql_global."""
        found = {
            "MySQL_Monitor_Workers": self._half() * 2,
            "MySQL_Monitor_Workers_Aux": len(self._tasks),
            "MySQL_Monitor_Workers_Started": self._started,
        }
        for kind in ("connect", "ping", "read_only", "replication_lag"):
            tally = self._prober.tallies[kind]
            found[f"MySQL_Monitor_{kind}_check_OK"] = tally.ok
            found[f"MySQL_Monitor_{kind}_check_ERR"] = tally.failed
        names = self._names
        found["MySQL_Monitor_dns_cache_queried"] = names.queried if names else 0
        found["MySQL_Monitor_dns_cache_lookup_success"] = names.lookup_success if names else 0
        found["MySQL_Monitor_dns_cache_record_updated"] = names.record_updated if names else 0
        return found

    # -- what is due ------------------------------------------------------------------------

    def _half(self) -> int:
        return max(1, self._values.number("mysql-monitor_threads_max") // 2)

    def _interval(self, job: Job) -> float:
        return self._values.number(self._checks[job.kind].interval) / 1000

    def _spread(self, jobs: set[Job]) -> None:
        """The first round: at once for a few servers, over some seconds for many."""
        now = self._clock()
        for job in jobs:
            most = min(self._interval(job), len(jobs) / BURST)
            self._schedule.put(job, now + most * self._random())
        self._arm()

    def _again(self, job: Job, began: float) -> None:
        """The next round. The second one comes early: the first ones were a burst."""
        if job not in self._jobs:
            return
        jitter = 0.5 if job in self._new else JITTER
        self._new.discard(job)
        due = began + self._interval(job) * (1 - jitter * self._random())
        self._schedule.put(job, max(due, self._clock()))
        self._arm()

    def _arm(self) -> None:
        due = self._schedule.next_due()
        if due is None or not self._running:
            return
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        delay = max(0.0, due - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for job in self._schedule.take(self._clock() + SLACK_S):
            self._begin(job)
        self._arm()

    def _changed(self, names: set[str]) -> None:
        """Variables have changed."""
        if "mysql-monitor_enabled" in names:
            self.refresh()
        if names & ACCOUNT:
            self.reconnect()
        kinds = {kind for kind, check in self._checks.items() if check.interval in names}
        if kinds:
            self._spread({job for job in self._schedule if job.kind in kinds})
        if "mysql-monitor_local_dns_cache_refresh_interval" in names:
            self._refresh_names()

    def _renew(self, addresses: set[Address]) -> None:
        """Close the connections to these servers, and check them at once."""
        if not addresses:
            return
        for address in addresses:
            old = self._links[address]
            self._links[address] = link = Link[Job](address)
            link.doubtful, link.complaints = old.doubtful, old.complaints.copy()
            old.close()
        self._spread({job for job in self._jobs if job.target.address in addresses})

    def _moved(self, name: str) -> None:
        """A name has other addresses: the server we are connected to may not be the one meant."""
        self._renew({address for address in self._links if address.host == name})

    # -- one job ----------------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        link = self._links.get(job.target.address)
        if job not in self._jobs or link is None or not self._running:
            return
        if link.busy:
            # Pings decide what becomes of a server that holds everything up.
            (link.waiting.appendleft if job.kind == "ping" else link.waiting.append)(job)
            return
        check = self._checks[job.kind]
        ping = self._checks["ping"]
        assert isinstance(ping, PingCheck)
        if not check.always and ping.down(link.address):
            self._again(job, self._clock())
            return
        link.busy = True
        if link.usable and not check.alone:
            self._probe(job, link, None)
            return
        lane = self._doubtful if link.doubtful else self._steady
        if lane.enter((job, link)):
            self._probe(job, link, lane)

    def _probe(self, job: Job, link: Link[Job], lane: Lane[Waiting] | None) -> None:
        self._started += 1
        self._tasks.spawn(self._run(job, link, lane), job.kind)

    async def _run(self, job: Job, link: Link[Job], lane: Lane[Waiting] | None) -> None:
        began = self._clock()
        try:
            await self._prober.run(self._checks[job.kind], job.target, link)
        finally:
            if lane is not None:
                self._leave(lane)
            if not link.closed:
                self._again(job, began)
            self._free(link)

    def _leave(self, lane: Lane[Waiting]) -> None:
        """Let those in who waited for the lane; a server may be gone meanwhile."""
        for job, link in lane.leave():
            if link.closed or job not in self._jobs or not self._running:
                self._free(link)
                self._leave(lane)
            else:
                self._probe(job, link, lane)

    def _free(self, link: Link[Job]) -> None:
        """The server's next job, if one waits."""
        link.busy = False
        while link.waiting and not link.busy:
            self._begin(link.waiting.popleft())

    def _place(self, changes: Sequence[Change]) -> None:
        """Ask for changes, and see at once what came of them; jobs follow, once for many."""
        self._scene.act.place(changes)
        self._scene.index = Index(self._view())
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().call_later(SETTLE_S, self.refresh)

    def _lost(self, address: Address) -> None:
        for check in self._checks.values():
            check.lost(address)

    def _refresh_names(self) -> None:
        if self._names_timer is not None:
            self._names_timer.cancel()
            self._names_timer = None
        every = self._values.number("mysql-monitor_local_dns_cache_refresh_interval") / 1000
        if self._names is None or every <= 0 or not self._running:
            return
        loop = asyncio.get_running_loop()
        self._names_timer = loop.call_later(every, self._refresh_names)
        hosts = [address.host for address in self._scene.index.addresses]
        self._tasks.spawn(self._names.refresh(hosts), "names")

    def _broken(self, name: str, error: BaseException) -> None:
        self._log.error("monitor failed", check=name, exc_info=error)
