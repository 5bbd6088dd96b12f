# SPDX-License-Identifier: Apache-2.0
"""Where statements would go under a configuration that nobody runs.

Config ──> accounts, rules, routes, firewall ──> Scene ──> the steps of EXPLAIN ROUTE

Nothing is opened, no file is written; every server counts as one that answers.
"""

from __future__ import annotations

from hproxy.auth import UserTable
from hproxy.config.schema import Config
from hproxy.protocols.base import load_protocol
from hproxy.routing import Router
from hproxy.runtime import settings as build
from hproxy.session.explaining import Scene

__all__ = ["scene"]


def scene(config: Config) -> Scene:
    """What `session.explaining.explain` looks at. Raises ConfigError for rules and accounts that
    a worker would refuse."""
    protocol = load_protocol(config.proxy.mode)
    accounts = UserTable(build.users(config, protocol))
    settings, pool = build.settings(config), build.pool(config)
    sharing = config.session_mode == "multiplex"
    return Scene(
        protocol=protocol,
        users=accounts,
        home=settings.hostgroup,
        firewall=build.firewall(config),
        served=config.served_hostgroups.__contains__,
        rules=build.rules(config) if sharing else None,
        router=Router.split(build.pairs(config), pool.read_your_writes) if sharing else None,
    )
