# SPDX-License-Identifier: Apache-2.0
"""What the memory of this process is used for, as text for people.

    report() ── the kernel's figures, the allocator's, objects by type
                └ with tracing on: the lines of source that allocated most

All objects are counted on the event loop, for they may go away meanwhile and many of them must
end in the thread they live in; a few thousand at a time, so that traffic waits for a millisecond
at most.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

from hproxy.runtime.tables.memory import allocated

__all__ = ["MAX_FRAMES", "report", "trace"]

AT_ONCE = 4000
"""Objects measured before the loop gets its turn: about a millisecond's work."""
MOST_TYPES = 40
MOST_LINES = 40
MAX_FRAMES = 25
KIB = 1024

STATUS = {"VmRSS": "resident", "VmHWM": "peak", "VmSize": "virtual", "VmSwap": "swapped"}


async def report() -> str:
    """Of this process, now; call it on the event loop."""
    lines = [_process(), _allocator()]
    counts, sizes = await _objects()
    lines += [
        f"python: {sys.getallocatedblocks()} blocks, {counts.total()} objects that collect, "
        f"collections {'/'.join(str(g['collections']) for g in gc.get_stats())}, "
        f"uncollectable {sum(g['uncollectable'] for g in gc.get_stats())}",
        "",
        f"{'objects':>10} {'KiB':>10}  type",
    ]
    for name, size in sizes.most_common(MOST_TYPES):
        lines.append(f"{counts[name]:>10} {size / KIB:>10.1f}  {name}")
    lines += ["", *await _traced()]
    return "\n".join(lines)


def trace(frames: int) -> str:
    """Remember from now on where memory is allocated, `frames` deep; 0 forgets. What is so now."""
    if tracemalloc.is_tracing():
        tracemalloc.stop()
    if frames < 1:
        return "allocations are not traced"
    tracemalloc.start(min(frames, MAX_FRAMES))
    return f"allocations are traced from now on, {tracemalloc.get_traceback_limit()} frames deep"


def _process() -> str:
    shown = []
    for line in (
        Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        key, _, value = line.partition(":")
        if key in STATUS:
            shown.append(f"{STATUS[key]} {int(value.split()[0]) / KIB:.1f} MiB")
    return f"process {os.getpid()}: {', '.join(shown)}"


def _allocator() -> str:
    """malloc's own view: what native code holds is nowhere else to be seen."""
    found = ", ".join(f"{name} {size / KIB / KIB:.1f} MiB" for name, size in allocated().items())
    return f"allocator: {found}"


async def _objects() -> tuple[Counter[str], Counter[str]]:
    """How many of each type, and bytes: of the objects alone, not of what they refer to."""
    counts, sizes = Counter[type](), Counter[type]()
    everything = gc.get_objects()
    for start in range(0, len(everything), AT_ONCE):
        for thing in everything[start : start + AT_ONCE]:
            kind = type(thing)
            counts[kind] += 1
            try:
                sizes[kind] += sys.getsizeof(thing)
            except Exception:  # of anybody's __sizeof__; it is counted all the same
                continue
        await asyncio.sleep(0)
    del everything
    named_counts, named_sizes = Counter[str](), Counter[str]()
    for kind, count in counts.items():
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        named_counts[name] += count
        named_sizes[name] += sizes[kind]
    return named_counts, named_sizes


async def _traced() -> list[str]:
    if not tracemalloc.is_tracing():
        return ["allocations are not traced"]
    now, peak = tracemalloc.get_traced_memory()
    snapshot = tracemalloc.take_snapshot()
    # Plain tuples from here on: any thread may sort them.
    found = await asyncio.to_thread(snapshot.statistics, "lineno")
    lines = [
        f"traced: {now / KIB:.1f} KiB, peak {peak / KIB:.1f} KiB",
        f"{'blocks':>10} {'KiB':>10}  allocated at",
    ]
    for line in found[:MOST_LINES]:
        where = line.traceback[0]
        lines.append(f"{line.count:>10} {line.size / KIB:>10.1f}  {where.filename}:{where.lineno}")
    return lines
