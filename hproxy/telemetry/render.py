# SPDX-License-Identifier: Apache-2.0
"""One log event as one line: JSON for machines, aligned text for people.

Values come from clients and backends too (user names, schema names, error texts), so a line
break or an escape sequence in one must never reach a terminal or forge a second line, and a
value that cannot be encoded must cost its own form, not the line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hproxy.telemetry.encode import encoder

__all__ = ["Event", "Render", "as_colour", "as_json", "as_text"]

Event = Mapping[str, Any]
Render = Callable[[Event], bytes]

# A line must stay a line: longest string value, and longest traceback, in characters.
MAX_VALUE = 2048
MAX_TRACEBACK = 16_384

FIRST = ("ts", "level", "logger", "event")
COLOURS = {"error": 31, "warn": 33, "info": 32, "debug": 36, "trace": 35}
EVENT_WIDTH = 28


def as_json(event: Event) -> bytes:
    """A JSON object and a newline; ts, level, logger and event come first."""
    fields = {key: _short(key, event[key]) for key in FIRST if key in event}
    fields |= {key: _short(key, value) for key, value in event.items() if key not in FIRST}
    try:
        return _encode(fields)
    except (TypeError, ValueError):  # lone surrogates, self-reference, NaN
        return _encode({ascii(key)[1:-1]: _safe(value) for key, value in fields.items()})


def as_text(event: Event) -> bytes:
    """Without colours, and with the date: for a file or a pipe."""
    return _text(event, colour=False)


def as_colour(event: Event) -> bytes:
    """With colours and the local time of day: for a terminal."""
    return _text(event, colour=True)


def _text(event: Event, *, colour: bool) -> bytes:
    level = str(event.get("level", ""))
    told = _line(str(event.get("event", "")))
    fields = {
        _line(key): _quoted(_short(key, value))
        for key, value in event.items()
        if key not in FIRST and key != "exception"
    }
    logger = event.get("logger")
    if colour:
        pairs = " ".join(f"\x1b[2m{key}=\x1b[0m{value}" for key, value in fields.items())
        head = f"\x1b[{COLOURS.get(level, 0)}m{level:<5}\x1b[0m"
        told = f"\x1b[1m{told:<{EVENT_WIDTH}}\x1b[0m"
    else:
        pairs = " ".join(f"{key}={value}" for key, value in fields.items())
        head = f"{level:<5}"
        told = f"{told:<{EVENT_WIDTH}}"
    line = f"{_when(event.get('ts'), colour)} {head} {told} {pairs}".rstrip()
    if logger:
        line = f"{line} [{logger}]"
    if event.get("exception"):
        trace = _short("exception", str(event["exception"])).splitlines()
        line = "\n".join((line, *(f"  {_line(part)}" for part in trace)))
    return f"{line}\n".encode("utf-8", "backslashreplace")


def _when(ts: object, local: bool) -> str:
    if not isinstance(ts, datetime):
        return str(ts or "")
    if local:
        return ts.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return ts.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _short(key: str, value: Any) -> Any:
    limit = MAX_TRACEBACK if key == "exception" else MAX_VALUE
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}... ({len(value) - limit} more)"
    return value


def _plain(value: object) -> str:
    """What JSON has no form for: addresses, paths, exceptions, bytes."""
    text = ascii(value) if isinstance(value, bytes | bytearray | memoryview) else str(value)
    return text[:MAX_VALUE]


_encode = encoder(_plain)


def _safe(value: object) -> object:
    try:
        _encode({"value": value})
    except (TypeError, ValueError):
        text = value if isinstance(value, str) else _plain(value)
        return text.encode("utf-8", "backslashreplace").decode()
    return value


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else _plain(value)
    if text and text.isprintable() and not set(text) & set(" \"'="):
        return text
    return repr(text)


def _line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
