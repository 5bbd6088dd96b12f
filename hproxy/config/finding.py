# SPDX-License-Identifier: Apache-2.0
"""Refusals of the model turned into findings: place, dotted key, masked value, message, hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, TypeGuard, get_args

from pydantic import BaseModel, ValidationError

from hproxy.config.address import AddressError
from hproxy.config.option import Refusal, Refusals, unit_of
from hproxy.config.position import KeyPath
from hproxy.config.schema import Config
from hproxy.config.source import field_type, plain
from hproxy.errors import ConfigFinding

__all__ = ["SECRETS", "dotted", "findings_of", "path_of"]

SECRETS = frozenset(
    {"password", "monitor_password", "credentials", "stats_credentials", "token", "read_token"}
)
MASK = "***"
MAX_SHOWN = 80

Place = Callable[[KeyPath], str]


def findings_of(
    error: ValidationError, place: Place
) -> Iterator[tuple[tuple[KeyPath, ...], ConfigFinding]]:
    """Each problem, with the paths it is about (the guilty one first)."""
    for item in error.errors(include_url=False):
        path: KeyPath = tuple(item["loc"])
        ctx = item.get("ctx", {})
        cause = ctx.get("error")
        if isinstance(cause, Refusal | Refusals):
            items = cause.items if isinstance(cause, Refusals) else (cause,)
            for refusal in items:
                yield _refused(path, refusal, item["input"], place)
        else:
            message, hint = _explain(path, item["type"], ctx, cause)
            value = None if item["type"] in _VALUELESS else _shown(path, item["input"])
            yield (path,), ConfigFinding(place(path), dotted(path), message, value, hint)


# A value under an unknown key may be a misspelt password; the others have no useful value.
_VALUELESS = frozenset({"extra_forbidden", "missing", "model_type", "model_attributes_type"})


def _refused(
    path: KeyPath, refusal: Refusal, value: object, place: Place
) -> tuple[tuple[KeyPath, ...], ConfigFinding]:
    if refusal.keys:  # a check over several keys, or of a whole row
        about = tuple(_absolute(path, key) for key in refusal.keys)
        shown = None
    else:
        about = (path,)
        shown = _shown(path, value)
    first = about[0]
    finding = ConfigFinding(place(first), dotted(first), refusal.message, shown, refusal.hint)
    return about, finding


def _absolute(path: KeyPath, key: str) -> KeyPath:
    # The check of a row knows only its own column; that of a section gives whole keys.
    row = bool(path) and isinstance(path[-1], int)
    return (*path, key) if row else path_of(key)


def _explain(path: KeyPath, kind: str, ctx: dict[str, Any], cause: object) -> tuple[str, str]:
    """Message and hint in our words; the type names are pydantic's."""
    if isinstance(cause, AddressError):
        return str(cause), cause.hint
    if kind == "extra_forbidden":
        return "unknown key", _suggestion(path)
    if kind == "literal_error":
        allowed = ", ".join(str(value) for value in get_args(field_type(path)))
        return f"must be one of {allowed}", ""
    if kind == "tuple_type" and len(path) == 1:
        return f"must be rows, each under [[{path[0]}]]", ""
    if kind in _LIMITS:
        return _LIMITS[kind].format(**ctx), _unit(path)
    return _MESSAGES.get(kind, "is not valid"), _unit(path)


_LIMITS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
}
_MESSAGES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "path_type": "must be a path in quotes",
    "tuple_type": 'must be a list, like ["a", "b"]',
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


def _unit(path: KeyPath) -> str:
    model = field_type(path[:-1])
    return unit_of(model, str(path[-1])) if _is_model(model) else ""


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _suggestion(path: KeyPath) -> str:
    """Where an unknown key belongs, or what it was meant to be."""
    name = str(path[-1])
    model = field_type(path[:-1])
    near = get_close_matches(name, model.model_fields, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    for section, info in Config.model_fields.items():
        other = plain(info.annotation)
        if _is_model(other) and name in other.model_fields:
            return f"it belongs in [{section}]"
    return ""


def _shown(path: KeyPath, value: object) -> str | None:
    """The value as it may be printed: short, and never a password, nor a row that holds one."""
    if SECRETS.intersection(path):
        return MASK
    if isinstance(value, dict | list | tuple) or "mysql_users" in path[-1:]:
        return None
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def dotted(path: KeyPath) -> str:
    """`mysql_servers[1].port` of `("mysql_servers", 1, "port")`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def path_of(key: str) -> KeyPath:
    """The inverse of `dotted`."""
    parts = key.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts)
