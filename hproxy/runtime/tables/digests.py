# SPDX-License-Identifier: Apache-2.0
"""stats_mysql_query_digest and stats_mysql_commands_counters: what statements cost.

Both are exact. What the bounded table of digests does not list is one more row of hostgroup -1,
"(other digests)". Reading and resetting is one step on the loop, so that no statement is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from hproxy.telemetry.clock import unix_time
from hproxy.telemetry.digests import digest_rows

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["commands", "rows", "rows_reset"]

COLUMNS = 14
"""Of a DigestRow, those that ProxySQL has."""


def rows(runtime: Runtime) -> Iterable[tuple[Any, ...]]:
    """What each digest cost, the dearest first; as of now, whenever it is read."""
    shared = runtime.services.multiplex
    if shared is None:
        return ()
    epoch = unix_time() - monotonic()
    found = digest_rows(shared.digests, epoch=epoch)
    return (row[:COLUMNS] for row in found)


def rows_reset(runtime: Runtime) -> Iterable[tuple[Any, ...]]:
    """The same, counted from zero again."""
    found = rows(runtime)
    shared = runtime.services.multiplex
    if shared is not None:
        shared.digests.reset()
    return found


def commands(runtime: Runtime) -> list[tuple[Any, ...]]:
    """How often each command was run, and in how many of twelve times."""
    shared = runtime.services.multiplex
    names = runtime.services.protocol.multiplexing.COMMAND_NAMES
    if shared is None:
        return [(name, *([0] * 14)) for name in sorted(names)]
    table = shared.commands.rows
    return [
        (name, table[name].sum_ns // 1000, table[name].count, *table[name].histogram)
        for name in sorted(table)
        if name  # what was not to be counted by its command
    ]
