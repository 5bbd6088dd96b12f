# SPDX-License-Identifier: Apache-2.0
"""stats_memory_metrics: what the process holds, and what of it is whose.

There is no jemalloc here: its names are given what the C library's allocator says (mallinfo2),
since that is what tools draw. Sizes of tables are sums over their objects, not estimates.
"""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path
from sys import getsizeof
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["Allocated", "allocated", "metrics", "rows", "sizes"]

PAGE = resource.getpagesize()
MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO.split()]


class Allocated(dict[str, int]):
    """allocated, resident, active, mapped, metadata, retained: bytes."""


def sizes() -> tuple[int, int]:
    """Bytes of address space, and of memory in it."""
    size, resident = Path("/proc/self/statm").read_text().split()[:2]
    return int(size) * PAGE, int(resident) * PAGE


def allocated() -> Allocated:
    """What the allocator and the kernel say now."""
    size, resident = sizes()
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # another C library: the kernel's word is all there is
        return Allocated(
            allocated=resident, resident=resident, active=resident, mapped=size,
            metadata=0, retained=0,
        )  # fmt: skip
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return Allocated(
        allocated=found.uordblks + found.hblkhd,
        resident=resident,
        active=found.arena + found.hblkhd - found.fordblks,
        mapped=found.arena + found.hblkhd,
        metadata=getsizeof(found),
        retained=found.fordblks,
    )


def metrics(runtime: Runtime) -> dict[str, int]:
    """By ProxySQL's names, bytes."""
    services = runtime.services
    shared = services.multiplex
    heap = allocated()
    digests = statements = bound = 0
    if shared is not None:
        digests = sum(getsizeof(row) + getsizeof(row.key) for row in shared.digests.snapshot())
        statements = shared.statements.memory
        for bucket in shared.pools:
            for connection in bucket.connections():
                bound += sum(getsizeof(entry) for entry in connection.statements.entries())
    found = {
        "SQLite3_memory_bytes": apsw.memory_used(),
        **{f"jemalloc_{name}": heap[name] for name in JEMALLOC},
        "Auth_memory": sum(getsizeof(account) for account in services.users),
        "mysql_query_digest_memory": digests,
        "query_digest_memory": digests,
        "mysql_query_rules_memory": 0,
        "prepare_statement_metadata_memory": statements,
        "prepare_statement_backend_memory": bound,
        "mysql_firewall_users_table": 0,
        "mysql_firewall_users_config": 0,
        "mysql_firewall_rules_table": 0,
        "mysql_firewall_rules_config": 0,
        "stack_memory_mysql_threads": 0,
        "stack_memory_admin_threads": 0,
        "stack_memory_cluster_threads": 0,
    }
    for source in services.sources.metrics:
        found.update({name: value for name, value in source().items() if name in found})
    return found


JEMALLOC = ("resident", "active", "allocated", "mapped", "metadata", "retained")


def rows(runtime: Runtime) -> Iterator[tuple[Any, ...]]:
    """(name, value), as texts."""
    return ((name, str(value)) for name, value in metrics(runtime).items())
