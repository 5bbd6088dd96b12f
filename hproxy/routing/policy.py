# SPDX-License-Identifier: Apache-2.0
"""What policies are asked and what they answer.

    Request --Policy.decide--> Route, or None: ask the next one
        \\--Router.compile--> CompiledRoute, from which compiled code routes without asking

Between two runs of one statement in one session only `in_transaction` and `since_write` change,
and to those a policy answers in one way only: one hostgroup while the session is bound to what
it did before, and perhaps another one while it is free. So two questions tell everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["CompiledRoute", "Policy", "Request", "Route"]


@dataclass(frozen=True, slots=True)
class Request:
    """One statement, and the session that wants it run."""

    reads: bool
    """It changes nothing, locks nothing and asks nothing about this session's past."""
    default_hostgroup: int
    user: bytes = b""
    schema: bytes = b""
    in_transaction: bool = False
    since_write: float | None = None
    """Seconds since the session's own last write; None: it has written nothing."""
    ruled: int | None = None
    """The hostgroup query rules name; None: they leave it open."""
    ruled_by: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Where to, and in a few words why."""

    hostgroup: int
    reason: str


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """The decision on a statement for all states of a session."""

    writer: int
    """In a transaction, for as long as an own write must be seen, and where there is no reader."""
    reader: int | None
    """Otherwise. None: always `writer`."""
    reason: str
    """Why a free session is sent where it is."""


class Policy(Protocol):
    """One way to decide. Policies do not know of each other."""

    def decide(self, request: Request) -> Route | None:
        """The route, or None when this policy has nothing to say about the request."""
        ...
