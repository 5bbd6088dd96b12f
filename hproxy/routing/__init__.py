# SPDX-License-Identifier: Apache-2.0
"""Which hostgroup a request is sent to; pure, and knows no protocol."""

from hproxy.routing.policy import CompiledRoute, Policy, Request, Route
from hproxy.routing.router import Router

__all__ = ["CompiledRoute", "Policy", "Request", "Route", "Router"]
