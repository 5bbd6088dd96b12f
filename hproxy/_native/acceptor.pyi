# SPDX-License-Identifier: Apache-2.0
"""Takes connections off a listening socket: one system call each, no socket objects."""

def accept(listening: int) -> tuple[int, str] | None:
    """The next connection as (descriptor, peer); None when nobody waits.

    The descriptor does not block, is closed by exec, and belongs to the caller; `peer` is
    "host:port" or "unix". Raises OSError.
    """
