# SPDX-License-Identifier: Apache-2.0
"""stats_mysql_errors and stats_mysql_client_host_cache: who met which errors, who may not come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["errors", "errors_reset", "hosts", "hosts_reset"]


def errors(runtime: Runtime) -> list[tuple[Any, ...]]:
    """Errors that backends gave."""
    return list(runtime.services.failures.rows())


def errors_reset(runtime: Runtime) -> list[tuple[Any, ...]]:
    """The same, forgotten."""
    found = errors(runtime)
    runtime.services.failures.reset()
    return found


def hosts(runtime: Runtime) -> list[tuple[Any, ...]]:
    """Hosts of clients whose logins failed."""
    return list(runtime.services.hosts.rows())


def hosts_reset(runtime: Runtime) -> list[tuple[Any, ...]]:
    """The same, forgotten."""
    found = hosts(runtime)
    runtime.services.hosts.flush()
    return found
