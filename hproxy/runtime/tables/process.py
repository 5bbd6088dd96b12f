# SPDX-License-Identifier: Apache-2.0
"""What this process took of the machine: read like tables, shown by none of that name.

cpu     (ticks in user mode, ticks in the kernel)
heap    (allocated, resident, active, mapped, metadata, retained), bytes
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hproxy.runtime.tables.memory import allocated

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["HEAP", "cpu", "heap"]

HEAP = ("allocated", "resident", "active", "mapped", "metadata", "retained")


def cpu(_: Runtime) -> list[tuple[Any, ...]]:
    """One row."""
    ticks, spent = os.sysconf("SC_CLK_TCK"), os.times()
    return [(round(spent.user * ticks), round(spent.system * ticks))]


def heap(_: Runtime) -> list[tuple[Any, ...]]:
    """One row."""
    found = allocated()
    return [tuple(found[name] for name in HEAP)]
