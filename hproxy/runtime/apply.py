# SPDX-License-Identifier: Apache-2.0
"""Makes a running worker what another configuration says; sessions stay.

    prepare   contexts, accounts, rules made out of the new one      may refuse: nothing changed
              (in any thread: ten thousand rows take a while)
    swap      new sockets opened, then those gone are closed         may refuse: nothing changed
              settings, backends, accounts, pools, routes            cannot fail

A session that runs a statement ends it under what was decided before; the next one is decided
anew. What only a restart changes is named by `restart_keys` and left as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from hproxy.auth import Account
from hproxy.config.option import apply_of
from hproxy.config.proxysql.rows import variables_of
from hproxy.config.schema import Config
from hproxy.errors import ConfigError
from hproxy.pool.change import adopt, reconfigure
from hproxy.routing import Router
from hproxy.routing.firewall import Firewall
from hproxy.routing.rules import RuleSet
from hproxy.runtime import settings as build
from hproxy.runtime.secure import Secured
from hproxy.session.ruling import decide_anew, swap_rules
from hproxy.topology import Backend, Replacement, Status

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["Prepared", "apply", "on_replace", "prepare", "reload_tls", "restart_keys", "swap"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration, and what it is made into; None: stays as it is."""

    before: Config
    config: Config
    secured: Secured | None
    accounts: list[Account]
    rules: RuleSet | None
    firewall: Firewall
    statuses: Mapping[Backend, Status]
    variables: Mapping[str, str]


def apply(runtime: Runtime, config: Config) -> tuple[str, ...]:
    """Run on `config` from now on; what of it takes a restart.

    Raises ConfigError, and then everything is as it was."""
    return swap(runtime, prepare(runtime, runtime.config, config))


def prepare(runtime: Runtime, before: Config, config: Config) -> Prepared:
    """Make what `config` needs, out of what does not change. Raises ConfigError."""
    protocol = runtime.services.protocol
    return Prepared(
        before=before,
        config=config,
        secured=(
            Secured.of(config, runtime.folder, protocol) if _tls(config) != _tls(before) else None
        ),
        accounts=build.users(config, protocol),
        rules=build.rules(config) if _ruled(config) != _ruled(before) else None,
        firewall=build.firewall(config),
        statuses=build.statuses(config),
        variables=variables_of(config),
    )


def swap(runtime: Runtime, ready: Prepared) -> tuple[str, ...]:
    """Run on it from now on; what of it takes a restart.

    The worker runs on `ready.before`. Raises ConfigError, and then everything is as it was."""
    before, config, services = ready.before, ready.config, runtime.services
    runtime.listeners.become(config.server.listens)
    try:
        runtime.recorder.configure(build.journal(config, runtime.folder))
    except ConfigError:
        runtime.listeners.become(before.server.listens)
        raise
    runtime.config = config
    services.firewall = ready.firewall
    if _guarded(config) != _guarded(before):
        services.guard = build.guard(config, runtime.guesses)
    if ready.secured is not None:
        runtime.secure(ready.secured)
    runtime.listeners.keep_alive(config.proxy.tcp_keepalive_sec)
    runtime.listeners.fast_open(config.server.tcp_fastopen)
    _settings(runtime, config)
    services.topology.recovery_sec = config.proxy.shun_recovery_time_sec
    services.topology.tolerated = build.tolerated(config)
    services.topology.max_latency_ms = build.max_latency(config)
    services.topology.returns_everywhere = build.returns_everywhere(config)
    services.topology.replace(ready.statuses, time.monotonic())
    services.users.replace(ready.accounts)
    runtime.choose_driver()
    if config.auth_mode != before.auth_mode == "relay":
        # Until now each client heard its own backend's greeting; from now on it hears ours.
        for backend in services.topology.backends:
            if backend not in services.profiles:
                runtime.learn(backend)
    _share(runtime, config, ready.rules)
    if ready.rules is not None:
        runtime.recorder.noting.use(ready.rules)
        runtime.recorder.noting.attend()
    services.variables.adopt(ready.variables)
    for told in tuple(runtime.applied):
        told(config)
    runtime.log.info("configuration applied", backends=len(services.topology.backends))
    return tuple(restart_keys(before, config))


def reload_tls(runtime: Runtime) -> None:
    """Read certificates and keys anew. Raises ConfigError, and then the old ones stay."""
    runtime.secure(Secured.of(runtime.config, runtime.folder, runtime.services.protocol))
    runtime.forget_logins()


def on_replace(runtime: Runtime, change: Replacement) -> None:
    """Backends came and went: clients are greeted with what those that stay can do."""
    services = runtime.services
    for backend in change.removed:
        services.profiles.pop(backend, None)
    if change.removed:
        services.heard += 1  # what clients are greeted with rests on who is left
    if runtime.config.auth_mode == "table":
        for backend in change.added:
            runtime.learn(backend)


def _settings(runtime: Runtime, config: Config) -> None:
    """The options sessions act on, in sessions that run as well."""
    services = runtime.services
    before = services.settings
    services.settings = settings = build.settings(config)
    pool = build.pool(config)
    for connection in services.registry:
        session = connection.session
        if session is None:
            continue
        session.max_packet = settings.max_packet
        if session.idle_timeout == before.idle_timeout:  # not what it has chosen itself
            session.idle_timeout = settings.idle_timeout
        if connection.pooled:
            session.hold_seconds = pool.read_your_writes
            session.wait_limit = settings.connect_timeout_max
            session.fast_lane = pool.fast_lane


def _share(runtime: Runtime, config: Config, rules: RuleSet | None) -> None:
    """Pools, routes and what was decided along the old ones."""
    services = runtime.services
    shared = services.multiplex
    if shared is None:
        return
    settings = build.pool(config)
    reconfigure(shared.pools, settings, build.hostgroups(config), build.user_limits(config))
    adopt(shared.pools, services.users.by_name)
    shared.router = Router.split(build.pairs(config), settings.read_your_writes)
    if rules is None:
        decide_anew(services)
    else:
        swap_rules(services, rules)
    runtime.forget_logins()


def _ruled(config: Config) -> object:
    """All that rules are made of; compiling ten thousand of them is not done for nothing."""
    values = variables_of(config)
    engine = values["mysql-query_processor_regex"], values["mysql-query_processor_iterations"]
    return config.mysql_query_rules, config.mysql_query_rules_fast_routing, engine


def _guarded(config: Config) -> object:
    return config.proxy.login_failures_per_host, config.proxy.login_failures_per_account


def _tls(config: Config) -> object:
    """All that contexts are made of."""
    some = any(row.use_ssl for row in config.servers)
    return config.tls, some, config.mysql_servers_ssl_params


def restart_keys(before: Config, after: Config) -> Iterator[str]:
    """Options that differ and act only after a restart."""
    for section in ("server", "proxy", "logging", "admin"):
        old, new = getattr(before, section), getattr(after, section)
        yield from _restarts(old, new, f"{section}.")


def _restarts(old: Any, new: Any, prefix: str) -> Iterator[str]:
    for name in type(new).model_fields:
        if getattr(old, name) == getattr(new, name):
            continue
        if isinstance(getattr(new, name), BaseModel) and isinstance(getattr(old, name), BaseModel):
            yield from _restarts(getattr(old, name), getattr(new, name), f"{prefix}{name}.")
        elif apply_of(type(new), name) == "restart":
            yield f"{prefix}{name}"
