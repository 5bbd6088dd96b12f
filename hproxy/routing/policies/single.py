# SPDX-License-Identifier: Apache-2.0
"""Everything goes to the account's own hostgroup: the end of every chain."""

from __future__ import annotations

from hproxy.routing.policy import Request, Route

__all__ = ["Single"]


class Single:
    """Always answers."""

    def decide(self, request: Request) -> Route:
        """The default hostgroup."""
        return Route(request.default_hostgroup, "the account's hostgroup")
