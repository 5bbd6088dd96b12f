# SPDX-License-Identifier: Apache-2.0
"""States of a cluster's members into its four hostgroups; pure.

                     writer_is_also_reader = 0      1                  2
    WRITABLE, chosen      writer                    writer, reader     writer
    WRITABLE, too many    backup                    backup, reader     backup, reader
    READING               reader                    reader             reader
    OFFLINE               offline                   offline            offline

At most max_writers are chosen: the heaviest, of equal ones those that write already, then the
last by name. Who has not been heard of keeps its place, and counts where it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from hproxy.health.model import Add, Address, Change, ClusterHostgroups, Remove, Server
from hproxy.health.outcome import Failure, Kind

__all__ = ["Member", "State", "place"]


class State(Enum):
    """What a member can do."""

    WRITABLE = "writable"
    READING = "reading"
    OFFLINE = "offline"


@dataclass(slots=True)
class Member:
    """What is known of one member."""

    state: State | None = None
    silent: int = 0
    """Checks in a row without an answer."""

    def take(self, answer: State | Failure, limit: int) -> bool:
        """One more check; True when the state is another now.

        `limit` is ..._healthcheck_max_timeout_count. A member that is not there, or cannot say
        how it is, is offline at once; who only refuses our account keeps its place."""
        before = self.state
        if isinstance(answer, State):
            self.state, self.silent = answer, 0
        elif answer.kind is Kind.SILENT:
            self.silent += 1
            if self.silent >= limit:
                self.state = State.OFFLINE
        elif answer.kind in (Kind.DOWN, Kind.REFUSED):
            self.state = State.OFFLINE
        else:
            self.silent = 0
        return self.state is not before


def place(
    row: ClusterHostgroups, servers: Iterable[Server], states: Mapping[Address, State]
) -> list[Change]:
    """What must change so that every member in `servers` is where it belongs.

    Members that the operator holds offline in one of the hostgroups are left alone."""
    members = _members(row, servers)
    wanted: dict[Address, set[int]] = {}
    candidates: list[Address] = []
    room = row.max_writers
    for address, own in members.items():
        state = states.get(address)
        if state is State.WRITABLE:
            candidates.append(address)
        elif state is not None:
            wanted[address] = {row.reader if state is State.READING else row.offline}
        elif row.writer in own:
            room -= 1
    candidates.sort(reverse=True)
    candidates.sort(key=lambda a: (-_like(row, members[a]).weight, row.writer not in members[a]))
    for place_taken, address in enumerate(candidates):
        if place_taken < room:
            hostgroups = (
                {row.writer, row.reader} if row.writer_is_also_reader == 1 else {row.writer}
            )
        elif row.writer_is_also_reader:
            hostgroups = {row.backup_writer, row.reader}
        else:
            hostgroups = {row.backup_writer}
        wanted[address] = hostgroups
    changes: list[Change] = []
    for address, hostgroups in wanted.items():
        own = members[address]
        like = _like(row, own)
        changes += [Remove(own[hostgroup]) for hostgroup in own if hostgroup not in hostgroups]
        changes += [Add(hostgroup, like) for hostgroup in sorted(hostgroups - own.keys())]
    return changes


def _members(row: ClusterHostgroups, servers: Iterable[Server]) -> dict[Address, dict[int, Server]]:
    """Each member's rows by hostgroup, without those that are none of our business."""
    members: dict[Address, dict[int, Server]] = {}
    held: set[Address] = set()
    for server in servers:
        if server.hostgroup in row.hostgroups:
            members.setdefault(server.address, {})[server.hostgroup] = server
            if not server.followed:
                held.add(server.address)
    return {address: own for address, own in members.items() if address not in held}


def _like(row: ClusterHostgroups, own: Mapping[int, Server]) -> Server:
    """The row that says what the server is like: where it does most."""
    return next(own[hostgroup] for hostgroup in row.hostgroups if hostgroup in own)
