# SPDX-License-Identifier: Apache-2.0
"""Whether there is memory left, asked before it is needed.

Who is served already needs some for whatever comes next; a new client can wait. So accepting
asks for RESERVE first, as much as everybody else may need in the meantime, and gives it back at
once: no page of it is touched. This sees limits that refuse (RLIMIT_AS, strict overcommit), not
those that kill (a cgroup's).
"""

from __future__ import annotations

import mmap

__all__ = ["RESERVE", "spare"]

RESERVE = 8 << 20


def spare(size: int = RESERVE) -> bool:
    """Whether that many bytes can be had."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, MemoryError):
        return False
    return True
