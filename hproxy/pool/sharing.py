# SPDX-License-Identifier: Apache-2.0
"""Who gives way to whom on a server whose connections are all taken; pure.

    idle elsewhere ── spare ──> closed for who waits
    all at work ── share: what each bucket owes ──> handed over as it comes back (pool.pyx)

An account gives to one that has at least two fewer, and within an account a group to a group;
who has none at all gets a turn every tick, and who starves: all it has is held, by transactions
perhaps, so that nothing comes back for those who wait. So equal demand ends in equal parts and
then stays as it is: a connection that changes hands costs a login.
"""

from __future__ import annotations

from hproxy._native.pool import BackendConnection, Bucket, Group

__all__ = ["lead", "look", "same_account", "share", "spare", "starves"]

IDLE_GRACE_SEC = 0.1
"""Idle for less, a connection is thought to be in use: its group would want it back at once."""
STARVING_SEC = 0.5
"""Sessions wait for so long, and none of them was served."""


def look(group: Group, now: float) -> None:
    """Whether connections come back to it, and when they last did."""
    key = group.key
    key.moves = group.acquired != key.acquired
    if key.moves or not group.waiting:
        key.fed_at = now
    key.acquired = group.acquired


def starves(group: Group, now: float) -> bool:
    """Whether those who wait in it are not served at all, whatever it has."""
    return bool(group.waiting) and now - float(group.key.fed_at) >= STARVING_SEC


def spare(
    everywhere: list[Bucket], group: Group, others: list[Bucket], now: float
) -> BackendConnection | None:
    """What was idle longest of `others`, unless its group needs it as much as `group`."""
    found: list[BackendConnection] = []
    for bucket in others:
        oldest = bucket.longest_idle
        if oldest is not None and (
            now - oldest.used_at >= IDLE_GRACE_SEC or lead(everywhere, bucket, group) > 1
        ):
            found.append(oldest)
    return min(found, key=lambda c: c.used_at, default=None)


def lead(everywhere: list[Bucket], bucket: Bucket, group: Group) -> int:
    """How many connections to its server `bucket` has more than `group`: all those of the
    account, or within one account its own. What is owed has left already."""
    if same_account(bucket.group, group):
        of = [b for b in group.buckets if b.server is bucket.server]
        return _sum([bucket]) - _sum(of)
    server = bucket.server
    theirs = [b for b in everywhere if b.server is server and same_account(b.group, bucket.group)]
    ours = [b for b in everywhere if b.server is server and same_account(b.group, group)]
    return _sum(theirs) - _sum(ours)


def share(everywhere: list[Bucket], groups: list[Group], now: float) -> None:
    """Decide which groups hand connections over as they come back; after a `look` at each."""
    for bucket in everywhere:
        bucket.owed = 0
        bucket.group.full = False
    for group in sorted(groups, key=lambda g: g.opened):
        if not group.waiting:
            continue
        mine = [b for b in group.buckets if b.server.online and not b.server.room]
        if len(mine) < len([b for b in group.buckets if b.server.online]):
            continue  # there is room
        for bucket in mine:
            _claim(everywhere, group, bucket, now)


def _claim(everywhere: list[Bucket], group: Group, bucket: Bucket, now: float) -> None:
    """What others owe `group` on a server that is full."""
    server = bucket.server
    wanted = group.waiting - group.connecting - server.leaving
    others = [b for b in everywhere if b.server is server and b.group is not group]
    claimed = 0
    while claimed < wanted:
        # It has `claimed` more by now; who has nothing gets one whoever gives it, and who starves
        # from one that does not.
        ahead = {b: lead(everywhere, b, group) - claimed for b in others if b.opened > b.owed}
        rich = [b for b in ahead if ahead[b] > 1]
        if not claimed and not group.opened + group.connecting:
            rich = list(ahead)
        elif not claimed and starves(group, now):
            rich = [b for b in ahead if ahead[b] > 1 or not starves(b.group, now)]
        giver = max(rich, key=lambda b: (b.group.key.moves, ahead[b]), default=None)
        if giver is None:
            return
        if giver.group.waiting == 0 and giver.idle:
            return  # nothing comes back there: idle ones are closed instead
        giver.owed += 1
        claimed += 1


def same_account(one: Group, other: Group) -> bool:
    """Whether both are of one user."""
    return bool(one.key.account.username == other.key.account.username)


def _sum(buckets: list[Bucket]) -> int:
    counts: list[int] = [b.opened - b.owed + b.connecting for b in buckets]
    return sum(counts)
