# SPDX-License-Identifier: Apache-2.0
"""Conversations made nearly right by a seeded dice, for real sockets (parsers: garbage.py)."""

from __future__ import annotations

import random

__all__ = ["mutated"]


def mutated(random_: random.Random, data: bytes) -> bytes:
    """A few bytes changed, removed, doubled, moved, or the rest cut off."""
    out = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(out) + 1)
        match random_.randrange(6):
            case 0:
                out[at : at + 1] = bytes([random_.choice((0, 1, 3, 0x11, 0xFB, 0xFE, 0xFF))])
            case 1:
                del out[at : at + random_.randint(1, 8)]
            case 2:
                out[at:at] = random_.randbytes(random_.randint(1, 16))
            case 3:
                del out[at:]
            case 4:
                out[at:at] = out[at : at + 12]
            case 5:
                out[at : at + 3] = random_.randbytes(3)
    return bytes(out)
