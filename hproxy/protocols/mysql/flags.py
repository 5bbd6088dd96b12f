# SPDX-License-Identifier: Apache-2.0
"""Flag sets that peers choose: IntFlag, but it forgets."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

__all__ = ["COMBINATIONS_KEPT", "PeerFlag"]

COMBINATIONS_KEPT = 1024


class PeerFlag(IntFlag):
    """An IntFlag whose memory is bounded.

    IntFlag keeps every combination it was ever asked for. Ours come off the wire: a client
    that connects with random capabilities would grow the proxy for as long as it likes.
    Remembering some is worth it, since making one takes 10 us and looking it up less than 1.
    """

    @classmethod
    def _missing_(cls, value: object) -> Any:
        kept = cls._value2member_map_
        if len(kept) >= COMBINATIONS_KEPT:
            named = {member.value: member for member in cls}
            kept.clear()
            kept.update(named)
        return super()._missing_(value)
