# SPDX-License-Identifier: Apache-2.0
"""MySQL's functions that SQLite lacks, as functions of a SQLite connection.

They run with the interpreter locked, so each does little: no REGEXP (Python's may take for
ever), and no text beyond LONGEST.
"""

from __future__ import annotations

import hashlib
import math
import random
import sqlite3
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

__all__ = ["register"]

SECONDS = "%Y-%m-%d %H:%M:%S"
LONGEST = 16 << 20


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _joined(separator: str, values: list[Any]) -> str:
    texts = [_text(value) for value in values]
    if sum(map(len, texts)) + len(separator) * len(texts) > LONGEST:
        raise ValueError("too long")
    return separator.join(texts)


def _concat(*values: Any) -> str | None:
    return None if None in values else _joined("", list(values))


def _concat_ws(separator: Any, *values: Any) -> str | None:
    if separator is None:
        return None
    return _joined(_text(separator), [value for value in values if value is not None])


def _truncate(value: float, digits: int) -> float:
    scale = 10.0 ** max(-30, min(30, digits))
    return math.trunc(value * scale) / scale


def _sha2(value: Any, bits: int) -> str | None:
    return hashlib.new(f"sha{bits or 256}", _bytes(value)).hexdigest()


def _left(value: Any, count: int) -> str:
    return _text(value)[: max(0, count)]


def _right(value: Any, count: int) -> str:
    return _text(value)[-count:] if count > 0 else ""


def _locate(part: Any, value: Any, start: int = 1) -> int:
    return _text(value).lower().find(_text(part).lower(), start - 1) + 1


def _unix_timestamp(value: Any = None) -> int:
    if value is None:
        return int(datetime.now(UTC).timestamp())
    return int(datetime.fromisoformat(_text(value)).replace(tzinfo=UTC).timestamp())


def _repeat(value: Any, count: int) -> str:
    text = _text(value)
    if len(text) * count > LONGEST:
        raise ValueError("too long")
    return text * max(0, count)


def _now(*_: int) -> str:
    return datetime.now(UTC).strftime(SECONDS)


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """NULL for any NULL, as SQL functions mostly do."""

    def call(*values: Any) -> Any:
        return None if None in values else function(*values)

    return call


# name -> (function, whether NULL gives NULL, whether the same arguments give the same value)
FUNCTIONS: dict[str, tuple[Callable[..., Any], bool, bool]] = {
    "concat": (_concat, False, True),
    "concat_ws": (_concat_ws, False, True),
    "if": (lambda test, yes, no: yes if test else no, False, True),
    "now": (_now, False, False),
    "sysdate": (_now, False, False),
    "utc_timestamp": (_now, False, False),
    "curdate": (lambda: datetime.now(UTC).strftime("%Y-%m-%d"), False, False),
    "curtime": (lambda: datetime.now(UTC).strftime("%H:%M:%S"), False, False),
    "unix_timestamp": (_unix_timestamp, False, False),
    "rand": (lambda *_: random.random(), False, False),
    "uuid": (lambda: str(uuid.uuid4()), False, False),
    "mysql_left": (_left, True, True),
    "mysql_right": (_right, True, True),
    "mysql_mod": (lambda a, b: math.fmod(a, b) if b else None, True, True),
    "locate": (_locate, True, True),
    "repeat": (_repeat, True, True),
    "reverse": (lambda value: _text(value)[::-1], True, True),
    "char_length": (lambda value: len(_text(value)), True, True),
    "character_length": (lambda value: len(_text(value)), True, True),
    "ucase": (lambda value: _text(value).upper(), True, True),
    "lcase": (lambda value: _text(value).lower(), True, True),
    "truncate": (_truncate, True, True),
    "greatest": (max, True, True),
    "least": (min, True, True),
    "md5": (lambda value: hashlib.md5(_bytes(value)).hexdigest(), True, True),
    "sha1": (lambda value: hashlib.sha1(_bytes(value)).hexdigest(), True, True),
    "sha": (lambda value: hashlib.sha1(_bytes(value)).hexdigest(), True, True),
    "sha2": (_sha2, True, True),
}


def register(connection: sqlite3.Connection, own: dict[str, Callable[..., Any]]) -> None:
    """Add all of them, and `own`, those that know the session."""
    for name, (function, strict, same) in FUNCTIONS.items():
        call = _strict(function) if strict else function
        connection.create_function(name, -1, call, deterministic=same)
    for name, function in own.items():
        connection.create_function(name, -1, function)
