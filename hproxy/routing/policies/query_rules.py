# SPDX-License-Identifier: Apache-2.0
"""Where query rules send a statement they go, whatever it is and the session did before.

What is bound to a connection stays there all the same: sessions see to that.
"""

from __future__ import annotations

from hproxy.routing.policy import Request, Route

__all__ = ["QueryRules"]


class QueryRules:
    """Answers where a rule, fast routing or the statement's comment names a hostgroup."""

    def decide(self, request: Request) -> Route | None:
        """The hostgroup they name."""
        return None if request.ruled is None else Route(request.ruled, request.ruled_by)
