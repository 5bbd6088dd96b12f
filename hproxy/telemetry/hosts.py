# SPDX-License-Identifier: Apache-2.0
"""Clients' hosts whose logins fail, and those that have failed too often to be heard.

    login failed ── count of the host + 1 ── limit reached ──> blocked until flushed
    logged in ───── forgotten                (a full cache forgets who failed longest ago)

Both limits are options: `size` (mysql-client_host_cache_size) and `limit`
(mysql-client_host_error_counts). 0 for either turns it off, which is the default.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["HostCache"]


@dataclass(slots=True)
class Seen:
    count: int
    at_us: int


class HostCache:
    """Who failed, the latest last."""

    def __init__(self, size: int = 0, limit: int = 0) -> None:
        self.size = size
        self.limit = limit
        self._hosts: OrderedDict[str, Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hosts)

    def configure(self, size: int, limit: int) -> None:
        """Other options; what no longer fits is forgotten."""
        self.size, self.limit = size, limit
        while len(self._hosts) > size:
            self._hosts.popitem(last=False)

    def failed(self, host: str, now: float) -> None:
        """A login from `host` failed; `now` in unix seconds."""
        if not self.size or not host:
            return
        seen = self._hosts.get(host)
        if seen is None:
            if len(self._hosts) >= self.size:
                self._hosts.popitem(last=False)
            seen = self._hosts[host] = Seen(0, 0)
        seen.count += 1
        seen.at_us = int(now * 1_000_000)
        self._hosts.move_to_end(host)

    def succeeded(self, host: str) -> None:
        """A login from `host` went well."""
        self._hosts.pop(host, None)

    def blocked(self, host: str) -> bool:
        """Whether `host` is not to be heard."""
        if not self.limit or not self._hosts:
            return False
        seen = self._hosts.get(host)
        return seen is not None and seen.count >= self.limit

    def rows(self) -> list[tuple[str, int, int]]:
        """(host, failures, microseconds of the last one since 1970)."""
        return [(host, seen.count, seen.at_us) for host, seen in self._hosts.items()]

    def flush(self) -> None:
        """Everybody is heard again."""
        self._hosts.clear()
