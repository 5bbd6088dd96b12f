# SPDX-License-Identifier: Apache-2.0
"""Bytes that wait for peers who are slow to read."""

from __future__ import annotations

from hproxy._native.buffer import CHUNK_BYTES, pool_stats

__all__ = ["buffered_bytes"]


def buffered_bytes() -> int:
    """Of this process: whole chunks, also those that are filled in part."""
    chunks, _ = pool_stats()
    return chunks * CHUNK_BYTES
