# SPDX-License-Identifier: Apache-2.0
"""What one option is made of: the model base, the field makers, number types, and refusals.

A field is written `name: Annotated[type, live("what it does", ge=1)] = default`. `live` and
`restart` say when a changed value acts; `acts=False` marks a key that is accepted today (so
that a file written for it loads) and takes effect from a later version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

from hproxy.config.address import parse_backend, parse_listen

__all__ = [
    "MAX_MS",
    "MAX_SEC",
    "BackendText",
    "ListenText",
    "ListensText",
    "MongosText",
    "NodeText",
    "Number",
    "OptionModel",
    "Refusal",
    "Refusals",
    "Whole",
    "apply_of",
    "detail_of",
    "is_live",
    "live",
    "restart",
    "unit_of",
]

# Longest time an option may ask for: 2**31 ms is what epoll_wait takes, and 24 days is "never".
MAX_MS = 2**31 - 1
MAX_SEC = MAX_MS // 1000
UNITS = {"_ms": "milliseconds", "_sec": "seconds"}


def is_live(info: ValidationInfo) -> bool:
    """Whether an operator changes what runs, or a proxysql.cnf leaves it to them: what has no
    backend yet, or two times that do not go together, is taken then, as ProxySQL takes it."""
    return bool(info.context and info.context.get("live"))


class OptionModel(BaseModel):
    """Base of every section: immutable, unknown keys refused, values never echoed by pydantic."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Refusal(ValueError):
    """One value that cannot stand. `keys`: the dotted keys it is about, the guilty one first."""

    def __init__(self, message: str, hint: str = "", keys: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.keys = tuple(keys)


class Refusals(ValueError):
    """Several refusals found by one check; pydantic lets a validator raise only one error."""

    def __init__(self, items: Sequence[Refusal]) -> None:
        super().__init__("; ".join(item.message for item in items))
        self.items = tuple(items)


def live(doc: str, *, acts: bool = True, **field: Any) -> Any:
    """An option whose new value acts after a reload, without a restart."""
    return _field(doc, "live", acts, field)


def restart(doc: str, *, acts: bool = True, **field: Any) -> Any:
    """An option whose new value acts after a restart."""
    return _field(doc, "restart", acts, field)


def _field(doc: str, apply: str, acts: bool, field: dict[str, Any]) -> Any:
    extra: dict[str, Any] = {"apply": apply}
    if not acts:
        extra["acts"] = False
    for name in ("unit", "mode"):
        if name in field:
            extra[name] = field.pop(name)
    return Field(description=doc, json_schema_extra=extra, **field)


def detail_of(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The `apply`, `acts`, `unit` and `mode` of a field, as given to `live` or `restart`."""
    extra = model.model_fields[name].json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def apply_of(model: type[BaseModel], name: str) -> str:
    """`"live"` or `"restart"`."""
    return str(detail_of(model, name).get("apply", "restart"))


def unit_of(model: type[BaseModel], name: str) -> str:
    """The unit a number counts in: as declared, or by its name; "" for other options."""
    declared = str(detail_of(model, name).get("unit", "")) if name in model.model_fields else ""
    if declared:
        return declared
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "")


def _no_bool(value: object) -> object:
    # pydantic takes true for 1; `max_connections = true` is a slip, not a limit of one.
    if isinstance(value, bool):
        raise Refusal("must be a number, not true or false")
    return value


def _listen(text: str) -> str:
    return str(parse_listen(text))


def _listens(text: str) -> str:
    return ";".join(str(parse_listen(part)) for part in text.split(";") if part.strip())


def _endpoint(default_port: int) -> Callable[[str], str]:
    def normalised(text: str) -> str:
        return str(parse_backend(text, default_port))

    return normalised


Whole = Annotated[int, BeforeValidator(_no_bool)]
Number = Annotated[float, BeforeValidator(_no_bool)]
ListenText = Annotated[str, AfterValidator(_listen)]
ListensText = Annotated[str, AfterValidator(_listens)]
BackendText = Annotated[str, AfterValidator(_endpoint(3306))]
MongosText = Annotated[str, AfterValidator(_endpoint(27017))]
NodeText = Annotated[str, AfterValidator(_endpoint(6379))]
