# SPDX-License-Identifier: Apache-2.0
"""What a workload tells whoever takes readings: when the load begins, and that it is under way."""

from typing import Protocol


class Probe(Protocol):
    """Called by a workload from within its run."""

    def started(self) -> None:
        """All clients are connected and the load begins now."""

    def midway(self) -> None:
        """The load is on; may come several times."""


class Blind:
    """For runs nobody looks at: warming up, counting system calls."""

    def started(self) -> None:
        """Take no reading."""

    def midway(self) -> None:
        """Take no reading."""
