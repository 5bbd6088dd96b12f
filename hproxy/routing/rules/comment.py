# SPDX-License-Identifier: Apache-2.0
"""Annotations: what a statement's first comment asks for, `/* hostgroup=1;cache_ttl=500 */`.

    hostgroup cache_ttl query_delay query_retries query_timeout mirror max_lag_ms min_epoch_ms
    min_gtid create_new_connection

Names in any case, blanks around them, `;` between them; what is none of these is passed over.
Compiled code knows the same names (mysql_multiplex.pyx): a comment without any costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["HINT_NAMES", "MOST_BYTES", "Hints", "read_hints"]

MOST_BYTES = 1024
"""A longer comment is for people."""
MAX_LAG_MS = 600_000
GTID = re.compile(r"[0-9a-fA-F-]{36}:[0-9]+(?:-[0-9]+)?|[0-9]+-[0-9]+-[0-9]+")

Hints = dict[str, Any]
"""Fields of Verdict, by name."""


def _number(text: str, digits: int = 11) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def _epoch(text: str) -> int | None:
    return _number(text, 15)


def _lag(text: str) -> int | None:
    number = _number(text)
    return number if number is not None and number <= MAX_LAG_MS else None


def _ttl(text: str) -> int | None:
    return _number(text) or None


def _retries(text: str) -> int | None:
    number = _number(text)
    return number if number is not None and number <= 1000 else None


def _gtid(text: str) -> str | None:
    return text if GTID.fullmatch(text) else None


def _yes(text: str) -> bool | None:
    return True if text == "1" else None


READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "hostgroup": ("destination_hostgroup", _number),
    "cache_ttl": ("cache_ttl", _ttl),
    "query_delay": ("delay", _number),
    "query_retries": ("retries", _retries),
    "query_timeout": ("timeout", _number),
    "mirror": ("mirror_hostgroup", _number),
    "max_lag_ms": ("max_lag_ms", _lag),
    "min_epoch_ms": ("min_epoch_ms", _epoch),
    "min_gtid": ("min_gtid", _gtid),
    "create_new_connection": ("create_new_connection", _yes),
}
HINT_NAMES = tuple(READERS)


def read_hints(comment: bytes) -> tuple[Hints, tuple[str, ...]]:
    """Fields of the verdict it sets, and the names it set them by."""
    if b"=" not in comment or len(comment) > MOST_BYTES:
        return {}, ()
    found: Hints = {}
    names: list[str] = []
    for part in comment.decode("latin-1").split(";"):
        name, equals, value = part.partition("=")
        reader = READERS.get(name.strip().lower())
        if not equals or reader is None:
            continue
        read = reader[1](value.strip())
        if read is not None:
            found[reader[0]] = read
            names.append(name.strip().lower())
    return found, tuple(names)
