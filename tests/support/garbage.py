# SPDX-License-Identifier: Apache-2.0
"""Bytes that are nearly right: what parsers meet from broken and from hostile peers."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["garbage"]

# Heads of length-encoded numbers, of packets, and the ends of strings.
TELLING = (0x00, 0x01, 0x0A, 0x11, 0x17, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)


@st.composite
def broken(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of `seeds` with a few bytes changed, removed or put in, and perhaps cut off."""
    data = bytearray(draw(st.sampled_from(seeds)))
    some_byte = st.one_of(st.sampled_from(TELLING), st.integers(0, 255))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(("change", "remove", "insert", "cut")))
        if kind == "change" and data:
            data[at] = draw(some_byte)
        elif kind == "remove":
            del data[at : at + 1]
        elif kind == "insert":
            data.insert(at, draw(some_byte))
        else:
            del data[at:]
    return bytes(data)


def garbage(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, bytes that tell something, and `seeds` (valid payloads) broken."""
    telling = st.lists(st.one_of(st.sampled_from(TELLING), st.integers(0, 255)), max_size=80)
    anything = st.one_of(st.binary(max_size=80), telling.map(bytes))
    return st.one_of(anything, broken(seeds)) if seeds else anything
