# SPDX-License-Identifier: Apache-2.0
"""Readings as another process of the service can be told: JSON has no tuples and no classes.

dataclass of telemetry.reading   {"kind": its name, "of": {field: value}}
mapping                          {"pairs": [[key, value], ...]}       keys may be tuples
tuple                            [...]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hproxy.telemetry import reading as kinds
from hproxy.telemetry.reading import Reading

__all__ = ["read_reading", "told_reading"]


def told_reading(reading: Reading) -> Any:
    """As JSON can say it."""
    return _told(reading)


def read_reading(told: Any) -> Reading:
    """The one that was told."""
    found: Reading = _read(told)
    return found


def _told(value: Any) -> Any:
    if is_dataclass(value):
        named = {each.name: _told(getattr(value, each.name)) for each in fields(value)}
        return {"kind": type(value).__name__, "of": named}
    if isinstance(value, Mapping):
        return {"pairs": [[_told(key), _told(each)] for key, each in value.items()]}
    if isinstance(value, tuple | list):
        return [_told(each) for each in value]
    return value


def _read(told: Any) -> Any:
    if isinstance(told, list):
        return tuple(_read(each) for each in told)
    if not isinstance(told, dict):
        return told
    if "pairs" in told:
        return {_read(key): _read(value) for key, value in told["pairs"]}
    kind = getattr(kinds, told["kind"])
    return kind(**{name: _read(value) for name, value in told["of"].items()})
