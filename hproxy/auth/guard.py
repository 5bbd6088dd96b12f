# SPDX-License-Identifier: Apache-2.0
"""Password guessing is slowed down: failed logins per client address and per account name.

    admit ── tokens for this address, and for this name ──> checked ── right ──> given back
      └ none left: refused unseen, right or wrong              └ wrong ──> they are gone

Buckets fill again evenly. Who has logged in from an address before has a small bucket of their
own for that pair, which counts where the others are empty: neither a guesser behind the same
address translation nor one who burns the tokens of a name locks them out. A name that is no
account's has a bucket like any other: nothing tells them apart. IPv6 clients count by their /64.

Buckets are shared by all workers of a service (`_native/buckets.pyx`): more workers are no more
guesses, and a new worker, or the service after an upgrade, goes on counting.

Pure: the clock is passed in. Memory is bounded: the fullest are forgotten first.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from types import TracebackType
from typing import Any, Self

from hproxy._native.buckets import Buckets
from hproxy.errors import AuthError, ClientError

__all__ = ["Attempt", "Buckets", "Guard", "create"]

MEMORY = 32_768
"""Buckets of each kind."""
MINUTE_NS = 60_000_000_000
PAIR_PER_MINUTE = 20
HOST, ACCOUNT, PAIR = KINDS = range(3)


def create() -> int:
    """Buckets for the guards of several processes: a descriptor. Raises OSError."""
    return Buckets.create(len(KINDS), MEMORY)


class Guard:
    """Counts the failed logins of one port."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        per_host: int = 0,
        per_account: int = 0,
        most: int = MEMORY,
        buckets: Buckets | None = None,
    ) -> None:
        """Failures per minute; 0 is no limit. `buckets`: others count in them, too."""
        self._clock = clock
        self._per_host = per_host
        self._per_account = per_account
        self.on = bool(per_host or per_account)
        self._buckets = (buckets or Buckets(-1, len(KINDS), most)) if self.on else None
        self.refused = 0
        """Logins that were not even looked at."""

    def _now(self) -> int:
        return int(self._clock() * 1e9)

    @property
    def alert(self) -> bool:
        """Some bucket is, or was a short time ago, empty: ask `is_open` before anybody is let in
        by another way than `admit`."""
        return self._buckets is not None and self._buckets.alerted(self._now())

    def is_open(self, host: str, user: bytes = b"") -> bool:
        """Whether a login would be looked at now."""
        buckets = self._buckets
        if buckets is None:
            return True
        now, address = self._now(), _network(host)
        if all(buckets.has(kind, key, size, now) for kind, key, size in self._of(address, user)):
            return True
        pair = _pair(address, user)
        return buckets.knows(PAIR, pair) and buckets.has(PAIR, pair, PAIR_PER_MINUTE, now)

    def _of(self, address: bytes, user: bytes) -> list[tuple[int, bytes, int]]:
        """What a failure from there costs a token of: kind, key and size."""
        found = []
        if self._per_host and address:
            found.append((HOST, address, self._per_host))
        if self._per_account and user:
            found.append((ACCOUNT, user, self._per_account))
        return found

    def admit(self, host: str, user: bytes = b"") -> bool:
        """Take what a failure costs; False: do not look at this login.

        One of `failed`, `succeeded` and `abandoned` must follow a True."""
        buckets = self._buckets
        if buckets is None:
            return True
        now, address = self._now(), _network(host)
        pair = _pair(address, user)
        costs = self._of(address, user)
        known = buckets.knows(PAIR, pair)
        own = known and buckets.take(PAIR, pair, PAIR_PER_MINUTE, now)
        # Whoever has tokens of their own may go where the others are empty.
        taken = [cost for cost in costs if buckets.take(*cost, now, own)]
        if len(taken) < len(costs):
            for cost in taken:
                buckets.give(*cost, now)
            self.refused += 1
            return False
        if known and not own:
            buckets.take(PAIR, pair, PAIR_PER_MINUTE, now, True)
        if not all(buckets.has(*cost, now) for cost in costs):
            buckets.alert(now + MINUTE_NS)
        return True

    def _give_back(self, buckets: Buckets, address: bytes, user: bytes) -> None:
        now, pair = self._now(), _pair(address, user)
        for cost in self._of(address, user):
            buckets.give(*cost, now)
        if buckets.knows(PAIR, pair):
            buckets.give(PAIR, pair, PAIR_PER_MINUTE, now)

    def failed(self, host: str, user: bytes = b"") -> None:
        """The password was wrong: what was taken is gone."""

    def succeeded(self, host: str, user: bytes = b"") -> None:
        """It was right."""
        if self._buckets is not None:
            self._give_back(self._buckets, _network(host), user)
            self.welcome(host, user)

    def abandoned(self, host: str, user: bytes = b"") -> None:
        """Nobody came to know whether it was right."""
        if self._buckets is not None:
            self._give_back(self._buckets, _network(host), user)

    def welcome(self, host: str, user: bytes) -> None:
        """This account has logged in from there."""
        if self._buckets is not None and user:
            self._buckets.touch(PAIR, _pair(_network(host), user), self._now())

    def attempt(self, host: str) -> Attempt:
        """A login of somebody whose name is still to come."""
        return Attempt(self, host)

    @property
    def remembered(self) -> int:
        """Buckets of all kinds."""
        return self._buckets.count if self._buckets is not None else 0


class Attempt:
    """One login: `with guard.attempt(host) as attempt: converse(..., find=attempt.over(find))`.

    It failed if the block ends with an AuthError, or with an exception whose `error` is one."""

    def __init__(self, guard: Guard, host: str) -> None:
        self._guard = guard
        self._host = host
        self._user: bytes | None = None

    def over(self, find: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """`find`, once the guard has admitted the name. Raises ClientError (client.blocked)."""

        def found(user: bytes) -> Any:
            if not self._guard.admit(self._host, user):
                raise ClientError("too many failed logins", code="blocked", host=self._host)
            self._user = user
            return find(user)

        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        user, self._user = self._user, None
        if user is None:
            return
        if raised is None:
            self._guard.succeeded(self._host, user)
        elif isinstance(getattr(raised, "error", raised), AuthError):
            self._guard.failed(self._host, user)
        else:
            self._guard.abandoned(self._host, user)


def _network(host: str) -> bytes:
    """Whom one can expect to own many addresses."""
    if ":" in host:
        try:
            return IPv6Address(host).packed[:8].hex().encode()
        except ValueError:
            pass
    return host.encode("utf-8", "surrogateescape")


def _pair(address: bytes, user: bytes) -> bytes:
    return address + b"\0" + user
