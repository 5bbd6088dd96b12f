# SPDX-License-Identifier: Apache-2.0
"""The head of an execution, read slowly: what `find_types` must find."""

from __future__ import annotations

from hproxy._native.cursor import Cursor, CursorError

__all__ = ["reference_types"]

EXECUTE, BULK = 0x17, 0xFA
COUNT_AVAILABLE, BULK_TYPES = 0x08, 0x80


def reference_types(payload: bytes, params: int, attributes: bool) -> dict[str, int] | None:
    """Of a whole packet; None when it is malformed."""
    found: dict[str, int] = {
        "bitmap_at": -1,
        "bound_at": -1,
        "types_at": -1,
        "types_end": -1,
        "count": 0,
        "flags": 0,
        "bound": False,
        "named": False,
        "bulk": False,
    }
    cursor = Cursor(payload)
    try:
        command = cursor.u8()
        cursor.skip(4)
        if command == EXECUTE:
            before_types(found, cursor, params, attributes)
        elif command == BULK:
            found.update(bulk=True, flags=cursor.u16(), count=params)
            if params:
                found.update(bound_at=5, bound=bool(found["flags"] & BULK_TYPES))
        else:
            return None
        if found["count"]:
            found["types_at"] = cursor.pos
            for _ in range(found["count"] if found["bound"] else 0):
                cursor.skip(2)
                if found["named"]:
                    cursor.lenenc_bytes()
            found["types_end"] = cursor.pos
    except CursorError:
        return None
    return found


def before_types(found: dict[str, int], cursor: Cursor, params: int, attributes: bool) -> None:
    found.update(flags=cursor.u8(), named=attributes, count=params)
    cursor.skip(4)
    if attributes and (params or found["flags"] & COUNT_AVAILABLE):
        found["count"] = cursor.lenenc_int()
        if found["count"] < params:
            raise CursorError("too few parameters", cursor.pos)
    if found["count"]:
        found["bitmap_at"] = cursor.pos
        cursor.skip((found["count"] + 7) // 8)
        found["bound_at"] = cursor.pos
        found["bound"] = cursor.u8() != 0
