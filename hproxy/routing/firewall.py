# SPDX-License-Identifier: Apache-2.0
"""The firewall: which statements an account may run at all, by their digests; pure.

    (user, client) ── in whitelist_users ──> mode      OFF         everything
       └ else (user, "") ── in it ──> mode             DETECTING   everything; what is not listed
           └ else: PROTECTING                                      is told
                                                       PROTECTING  what is listed
    listed: (user, the client that was found or "", schema, flagIN, digest) in whitelist_rules

Who is in no table may run nothing: that is ProxySQL's rule, and the only safe one. A judgement
holds for all statements of a digest, for one account, class of clients, schema and flagIN; so it
is asked for once and stays in the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Self

__all__ = ["Firewall", "Judgement", "Mode", "parse_digest"]

ERROR_MESSAGE = "Firewall blocked this query"


class Mode(Enum):
    OFF = "OFF"
    DETECTING = "DETECTING"
    PROTECTING = "PROTECTING"


class Judgement(Enum):
    ALLOW = "allow"
    DETECT = "detect"
    """Run it, and tell the operator."""
    BLOCK = "block"


Rule = tuple[bytes, str, bytes, int, int]


def parse_digest(text: str) -> int:
    """The number in `0x` and hex digits, as statistics show digests. Raises ValueError."""
    number = int(text, 16)
    if not text.lower().startswith("0x") or not 0 <= number < 1 << 64:
        raise ValueError(f"{text!r} is not a digest")
    return number


class Firewall:
    """Both whitelists, compiled; immutable, so that it is swapped as a whole."""

    def __init__(
        self,
        users: Mapping[tuple[bytes, str], Mode],
        rules: frozenset[Rule],
        *,
        enabled: bool = False,
        errormsg: str = ERROR_MESSAGE,
    ) -> None:
        self._users = users
        self._rules = rules
        self.enabled = enabled
        self.errormsg = errormsg

    @classmethod
    def off(cls) -> Self:
        """Allows everything."""
        return cls({}, frozenset())

    @classmethod
    def compile(
        cls,
        users: Iterable[Mapping[str, Any]],
        rules: Iterable[Mapping[str, Any]],
        *,
        enabled: bool,
        errormsg: str = ERROR_MESSAGE,
    ) -> Self:
        """From rows of mysql_firewall_whitelist_users and _rules; inactive ones do not count.

        Raises ValueError, naming the row, for a mode or digest that is none."""
        modes: dict[tuple[bytes, str], Mode] = {}
        for row in users:
            if not int(row.get("active", 1)):
                continue
            try:
                mode = Mode(str(row.get("mode") or "OFF").upper())
            except ValueError:
                raise ValueError(f"{row['username']}: {row['mode']!r} is not a mode") from None
            modes[str(row["username"]).encode(), str(row.get("client_address") or "")] = mode
        found: set[Rule] = set()
        for row in rules:
            if not int(row.get("active", 1)):
                continue
            found.add(
                (
                    str(row["username"]).encode(),
                    str(row.get("client_address") or ""),
                    str(row.get("schemaname") or "").encode(),
                    int(row.get("flagIN") or 0),
                    parse_digest(str(row["digest"])),
                )
            )
        return cls(modes, frozenset(found), enabled=enabled, errormsg=errormsg)

    @property
    def sizes(self) -> tuple[int, int]:
        """Active users and rules."""
        return len(self._users), len(self._rules)

    def client_class(self, user: bytes, client: str) -> str:
        """Clients of one class are judged alike: decisions rest on it."""
        return client if self.enabled and (user, client) in self._users else ""

    def mode(self, user: bytes, client: str) -> Mode:
        """What holds for this account from this address."""
        if not self.enabled:
            return Mode.OFF
        found = self._users.get((user, client)) or self._users.get((user, ""))
        return found or Mode.PROTECTING

    def judge(
        self, user: bytes, client: str, schema: bytes, flag_in: int, digest: int
    ) -> Judgement:
        """Whether a statement may run; `client` is the address without its port."""
        mode = self.mode(user, client)
        if mode is Mode.OFF:
            return Judgement.ALLOW
        if (user, self.client_class(user, client), schema, flag_in, digest) in self._rules:
            return Judgement.ALLOW
        return Judgement.DETECT if mode is Mode.DETECTING else Judgement.BLOCK
