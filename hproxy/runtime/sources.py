# SPDX-License-Identifier: Apache-2.0
"""Leaves what rules, cache, mirror and listeners count where the stats tables look for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hproxy.session.caching import cache_counts
from hproxy.session.explaining import decision_rows
from hproxy.session.ruling import hits

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["connect"]


def connect(runtime: Runtime) -> None:
    """Once, when the worker is made."""
    services = runtime.services

    def metrics() -> Mapping[str, int]:
        found = {"mysql_listener_paused": int(runtime.listeners.paused)}
        if services.multiplex is None:
            return found
        counts = cache_counts(services)
        found |= {f"Query_Cache_{name}": getattr(counts, name) for name in counts.__slots__}
        mirror = runtime.mirror_counts
        found["Mirror_concurrency"] = mirror.concurrency
        found["Mirror_queue_length"] = mirror.queue_length
        return found

    def rules() -> Iterator[tuple[Any, ...]]:
        if services.multiplex is not None:
            yield from sorted(hits(services).items())

    def decisions() -> Iterator[tuple[Any, ...]]:
        if services.multiplex is not None:
            yield from decision_rows(services)

    services.sources.metrics.append(metrics)
    services.sources.tables["stats_mysql_query_rules"] = rules
    services.sources.tables["stats_hproxy_decisions"] = decisions
