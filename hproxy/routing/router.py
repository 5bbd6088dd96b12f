# SPDX-License-Identifier: Apache-2.0
"""The chain of policies: the first answer counts, and one is always given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hproxy.routing.policies import QueryRules, ReadWriteSplit, Single
from hproxy.routing.policy import CompiledRoute, Policy, Request, Route

__all__ = ["Router"]


class Router:
    """Policies in their order; the account's own hostgroup when none of them answers."""

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        self._policies = tuple(policies)
        self._last = Single()

    @classmethod
    def split(cls, pairs: Iterable[tuple[int, int]], hold: float) -> Router:
        """The router of a configuration with pairs of writer and reader hostgroups."""
        return cls([QueryRules(), ReadWriteSplit(pairs, hold)])

    def route(self, request: Request) -> Route:
        """Where one request goes now."""
        for policy in self._policies:
            route = policy.decide(request)
            if route is not None:
                return route
        return self._last.decide(request)

    def compile(self, request: Request) -> CompiledRoute:
        """Where the statement of `request` goes, whatever the session does before it.

        Asked twice: for a session that is bound to the writer and for one that is free.
        """
        bound = self.route(replace(request, in_transaction=True, since_write=0.0))
        free = self.route(replace(request, in_transaction=False, since_write=None))
        reader = free.hostgroup if free.hostgroup != bound.hostgroup else None
        return CompiledRoute(bound.hostgroup, reader, free.reason)
