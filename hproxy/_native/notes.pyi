# SPDX-License-Identifier: Apache-2.0
"""What a session that keeps one backend connection tells a log."""

from typing import final

@final
class Notes:
    """Of one session."""

    all: bool
    """The driver is told of every statement."""
    slow_ns: int
    """Of those that take so long; 0: of none of them."""
    def __init__(self, all: bool, slow_ns: int) -> None: ...
    def statement(self, payload: bytes) -> tuple[int | None, bytes | None]:
        """What COM_STMT_EXECUTE runs: its id and, where it is known, its text."""
