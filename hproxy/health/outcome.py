# SPDX-License-Identifier: Apache-2.0
"""What became of a probe: an answer, or why there is none; pure.

| kind    | seen                                   | says of the server            |
|---------|----------------------------------------|-------------------------------|
| DENIED  | 1045, password expired, account locked | it lives; our account is wrong |
| REFUSED | any other ERR                          | it lives, and would not       |
| SILENT  | no answer in time                      | nothing: slow, stopped, far   |
| DOWN    | connection refused, lost, garbage      | it is not there               |
| OURS    | no descriptors, a bad CA file          | nothing: it was not asked     |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hproxy.errors import AuthError, ConfigError, HProxyError

__all__ = ["Failure", "Kind", "failure_of"]

# Access denied with its variants, password expired, account locked (MySQL, MariaDB).
DENIALS = frozenset({1044, 1045, 1698, 1820, 1862, 3118, 4151})


class Kind(Enum):
    """Why a probe failed."""

    DENIED = "denied"
    REFUSED = "refused"
    SILENT = "silent"
    DOWN = "down"
    OURS = "ours"

    @property
    def answered(self) -> bool:
        """Whether the server spoke."""
        return self in (Kind.DENIED, Kind.REFUSED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A probe that failed: `text` is what the monitor tables say."""

    kind: Kind
    text: str
    number: int = 0
    """The server's error number."""


def failure_of(error: Exception, limit_ms: int, connected: bool) -> Failure:
    """Read an exception of a probe that had `limit_ms`; `connected` says how far it came."""
    if isinstance(error, TimeoutError):
        what = "timeout during the check" if connected else "timeout on creating new connection"
        return Failure(Kind.SILENT, f"{what}: no answer within {limit_ms} ms")
    if isinstance(error, AuthError):
        return Failure(Kind.DENIED, f"Access denied: {error.reason}")
    if not isinstance(error, HProxyError) or isinstance(error, ConfigError):
        return Failure(Kind.OURS, str(error))
    number = error.facts.get("number")
    if isinstance(number, int) and number:
        return Failure(Kind.DENIED if number in DENIALS else Kind.REFUSED, error.reason, number)
    if error.full_code == "pool.connect.local":
        return Failure(Kind.OURS, error.reason)
    if connected:
        return Failure(Kind.DOWN, f"Lost connection to server: {error.reason or error.summary}")
    return Failure(Kind.DOWN, f"Can't connect to server: {error.reason or error.summary}")
