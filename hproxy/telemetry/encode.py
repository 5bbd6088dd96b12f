# SPDX-License-Identifier: Apache-2.0
"""One record as one line of JSON, by the standard library's encoder.

Not orjson: where there is no memory left its `dumps` ends the process, and lines are written just
then, to say so. This one raises MemoryError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

__all__ = ["encoder"]

Encode = Callable[[Mapping[str, Any]], bytes]


def encoder(plain: Callable[[object], object]) -> Encode:
    """What makes a line of a mapping; `plain` tells values that JSON has no form for.

    It raises TypeError and ValueError for what cannot be told at all: a mapping that contains
    itself, keys that are no scalars, numbers that are none, half of a surrogate pair."""

    def default(value: object) -> object:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()[:-6] + "Z"
        return value.value if isinstance(value, Enum) else plain(value)

    encode = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default
    ).encode

    def line(record: Mapping[str, Any]) -> bytes:
        return f"{encode(record)}\n".encode()

    return line
