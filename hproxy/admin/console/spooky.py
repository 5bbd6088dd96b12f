# SPDX-License-Identifier: Apache-2.0
"""SpookyHash V2 (Bob Jenkins, public domain): the hash that ProxySQL's checksums are made of.

    shorter than 192 bytes    four 64-bit words, 32 bytes a round
    longer                    twelve 64-bit words, 96 bytes a round

In Python, because it runs once per LOAD and not per query. Spec: burtleburtle.net/bob/hash/spooky
"""

from __future__ import annotations

import struct

__all__ = ["hash64", "hash128"]

MASK = 0xFFFFFFFFFFFFFFFF
CONSTANT = 0xDEADBEEFDEADBEEF
WORDS = 12
BLOCK_BYTES = 96
SHORT_BYTES = 192
BLOCK = struct.Struct("<12Q")
QUARTER = struct.Struct("<4Q")

MIX_TURNS = (11, 32, 43, 31, 17, 28, 39, 57, 55, 54, 22, 46)
END_TURNS = (44, 15, 34, 21, 38, 33, 10, 13, 38, 53, 42, 54)
# (word, turn): what each step of the short forms rotates; the step's number tells the others.
SHORT_MIX = ((2, 50), (3, 52), (0, 30), (1, 41), (2, 54), (3, 48), (0, 38), (1, 37), (2, 62),
             (3, 34), (0, 5), (1, 36))  # fmt: skip
SHORT_END = (15, 52, 26, 51, 28, 9, 47, 54, 32, 25, 63)


def hash64(message: bytes, seed1: int = 0, seed2: int = 0) -> int:
    """The first half of `hash128`."""
    return hash128(message, seed1, seed2)[0]


def hash128(message: bytes, seed1: int = 0, seed2: int = 0) -> tuple[int, int]:
    """Both 64-bit halves."""
    if len(message) < SHORT_BYTES:
        return _short(message, seed1, seed2)
    state = [seed1, seed2, CONSTANT] * 4
    whole = len(message) // BLOCK_BYTES * BLOCK_BYTES
    for start in range(0, whole, BLOCK_BYTES):
        _mix(state, BLOCK.unpack_from(message, start))
    rest = message[whole:]
    last = rest.ljust(BLOCK_BYTES - 1, b"\0") + bytes([len(rest)])
    for i, word in enumerate(BLOCK.unpack(last)):
        state[i] = (state[i] + word) & MASK
    for _ in range(3):
        _end(state)
    return state[0], state[1]


def _mix(state: list[int], data: tuple[int, ...]) -> None:
    for i in range(WORDS):
        j = (i + 11) % WORDS
        word = (state[i] + data[i]) & MASK
        state[(i + 2) % WORDS] ^= state[(i + 10) % WORDS]
        state[j] ^= word
        turn = MIX_TURNS[i]
        state[i] = ((word << turn) | (word >> (64 - turn))) & MASK
        state[j] = (state[j] + state[(i + 1) % WORDS]) & MASK


def _end(state: list[int]) -> None:
    for i in range(WORDS):
        a, b, c = (i + 11) % WORDS, (i + 1) % WORDS, (i + 2) % WORDS
        state[a] = (state[a] + state[b]) & MASK
        state[c] ^= state[a]
        turn, word = END_TURNS[i], state[b]
        state[b] = ((word << turn) | (word >> (64 - turn))) & MASK


def _short(message: bytes, seed1: int, seed2: int) -> tuple[int, int]:
    h = [seed1, seed2, CONSTANT, CONSTANT]
    length = len(message)
    whole = length // 32 * 32
    for start in range(0, whole, 32):
        one, two, three, four = QUARTER.unpack_from(message, start)
        h[2] = (h[2] + one) & MASK
        h[3] = (h[3] + two) & MASK
        _short_mix(h)
        h[0] = (h[0] + three) & MASK
        h[1] = (h[1] + four) & MASK
    rest = message[whole:]
    if len(rest) >= 16:
        h[2] = (h[2] + int.from_bytes(rest[:8], "little")) & MASK
        h[3] = (h[3] + int.from_bytes(rest[8:16], "little")) & MASK
        _short_mix(h)
        rest = rest[16:]
    h[3] = (h[3] + ((length & 0xFF) << 56)) & MASK
    if rest:
        h[2] = (h[2] + int.from_bytes(rest[:8], "little")) & MASK
        h[3] = (h[3] + int.from_bytes(rest[8:], "little")) & MASK
    else:
        h[2] = (h[2] + CONSTANT) & MASK
        h[3] = (h[3] + CONSTANT) & MASK
    _short_end(h)
    return h[0], h[1]


def _short_mix(h: list[int]) -> None:
    for word, turn in SHORT_MIX:
        h[word] = ((h[word] << turn) | (h[word] >> (64 - turn))) & MASK
        h[word] = (h[word] + h[(word + 1) % 4]) & MASK
        h[(word + 2) % 4] ^= h[word]


def _short_end(h: list[int]) -> None:
    for i, turn in enumerate(SHORT_END):
        # h3 ^= h2; h2 = turned; h3 += h2 and so on, one word further each time.
        target, source = (3 + i) % 4, (2 + i) % 4
        h[target] ^= h[source]
        h[source] = ((h[source] << turn) | (h[source] >> (64 - turn))) & MASK
        h[target] = (h[target] + h[source]) & MASK
