# SPDX-License-Identifier: Apache-2.0
"""Writer or reader: which hostgroups of a replication pair a server belongs to; pure.

| answer                    | member of | becomes                                    |
|---------------------------|-----------|--------------------------------------------|
| not read only             | reader    | writer; and reader if writers read as well |
| not read only             | writer    | as it is                                   |
| read only, or long silent | writer    | reader                                     |
| read only, or long silent | reader    | as it is                                   |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hproxy.health.model import Add, Address, Change, Remove, ReplicationHostgroups, Row, Server
from hproxy.health.outcome import Failure, Kind

__all__ = ["CHECK_TYPES", "ReadOnly", "is_on", "place", "read_only_of", "read_only_sql"]

CHECK_TYPES = {
    "read_only": ("read_only",),
    "innodb_read_only": ("innodb_read_only",),
    "super_read_only": ("super_read_only",),
    "read_only|innodb_read_only": ("read_only", "innodb_read_only"),
    "read_only&innodb_read_only": ("read_only", "innodb_read_only"),
}
OFF = frozenset({"0", "OFF", "NO", "FALSE", ""})


def read_only_sql(check_type: str) -> str:
    """The question behind a check_type, which may be in any case."""
    variables = CHECK_TYPES[check_type.lower()]
    return "SELECT " + ", ".join(f"@@global.{name} AS {name}" for name in variables)


def read_only_of(check_type: str, rows: Sequence[Row]) -> bool | None:
    """The answer; None when there is none in `rows`."""
    variables = CHECK_TYPES[check_type.lower()]
    if not rows or any(rows[0].get(name) is None for name in variables):
        return None
    values = [is_on(rows[0][name]) for name in variables]
    return all(values) if "&" in check_type else any(values)


def is_on(value: str | None) -> bool:
    """A server's flag: 1, ON, and what newer servers have between OFF and ON."""
    return (value or "").upper() not in OFF


@dataclass(slots=True)
class ReadOnly:
    """The last answers of one server to one check_type."""

    silent: int = 0
    """Checks in a row without an answer."""
    last: bool | None = None
    """What it was taken for last."""
    told: bool = False
    """It has ever said so itself."""
    fallen: bool = False
    """It was a writer, and its silence has cost it that."""

    def take(self, answer: bool | Failure | None, limit: int) -> bool | None:
        """Whether it is read only; None when that is not known, and all stays as it is.

        `limit` is monitor_read_only_max_timeout_count. Who refuses to tell, lives."""
        found = self._judge(answer, limit)
        if found is not None:
            self.last = found
        return found

    def _judge(self, answer: bool | Failure | None, limit: int) -> bool | None:
        if isinstance(answer, Failure):
            if answer.kind is Kind.OURS:
                return None
            if answer.kind.answered:
                self.silent = 0
                if self.fallen and not self.told:
                    # Nothing else would bring it back: it lives, and never says what it is.
                    self.fallen = False
                    return False
                return None
            self.silent += 1
            return True if self.silent >= limit else None
        self.silent = 0
        if answer is not None:
            self.told, self.fallen = True, False
        return answer


def place(
    pairs: Iterable[ReplicationHostgroups],
    servers: Sequence[Server],
    address: Address,
    read_only: bool,
    writer_is_also_reader: bool,
    touched: set[int] | None = None,
) -> list[Change]:
    """What must change so that the server at `address` is where it belongs.

    A pair in which the operator holds it offline is left alone, and so is one of whose hostgroups
    another pair has just changed (they are added to `touched`): what it would do rests on rows of
    before, and two pairs could take the server out of each other's."""
    own = {server.hostgroup: server for server in servers if server.address == address}
    touched = set() if touched is None else touched
    changes: list[Change] = []
    for pair in pairs:
        if touched.intersection((pair.writer, pair.reader)):
            continue
        before = len(changes)
        writer, reader = own.get(pair.writer), own.get(pair.reader)
        if any(row is not None and not row.followed for row in (writer, reader)):
            continue
        if read_only and writer is not None:
            changes.append(Remove(writer))
            if reader is None:
                changes.append(Add(pair.reader, writer))
        elif not read_only and writer is None and reader is not None:
            if not writer_is_also_reader:
                changes.append(Remove(reader))
            changes.append(Add(pair.writer, reader))
        if len(changes) > before:
            touched.update((pair.writer, pair.reader))
    return changes
