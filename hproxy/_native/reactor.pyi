# SPDX-License-Identifier: Apache-2.0
"""A private epoll set whose own fd is registered once with the event loop."""

from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Pollable:
    """Something with a file descriptor in a reactor's epoll set."""

    deadline: float
    """Reactor time (monotonic seconds) at which the owner is told; 0 means never."""
    @property
    def fd(self) -> int:
        """The descriptor, or -1 once closed."""

@final
class Reactor:
    """`loop.add_reader(reactor.fileno(), reactor.poll)` is the whole integration."""

    def __init__(self) -> None:
        """Raises OSError when no epoll set or buffer can be had."""
    @property
    def now(self) -> float:
        """CLOCK_MONOTONIC seconds, read once per batch."""
    @property
    def wakeups(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def size(self) -> int:
        """Descriptors registered."""
    def fileno(self) -> int: ...
    def poll(self) -> int:
        """Serve what is ready now; return the number of events served."""
    def sweep(self) -> int:
        """Tell every Pollable whose deadline has passed; return how many."""
    def commands(self) -> tuple[dict[int, int], dict[int, int]]:
        """How often clients sent each command, and how often it was sent to backends for them."""
    def close(self) -> None:
        """Close the epoll set; registered descriptors stay open and are forgotten."""
