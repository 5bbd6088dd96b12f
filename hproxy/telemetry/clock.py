# SPDX-License-Identifier: Apache-2.0
"""The time of day, for people: rows of tables and files. It may jump; never measure with it."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["unix_time"]


def unix_time() -> float:
    """Seconds since 1970."""
    return datetime.now(UTC).timestamp()
