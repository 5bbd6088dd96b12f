# SPDX-License-Identifier: Apache-2.0
"""Every option of the schema says what it is, in which unit, and when a change acts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from hproxy.config.option import (
    OptionModel,
    Refusal,
    Refusals,
    Whole,
    apply_of,
    detail_of,
    live,
    restart,
    unit_of,
)
from hproxy.config.schema import Config
from hproxy.config.source import plain


class Sample(OptionModel):
    count: Annotated[Whole, live("How many.", ge=1)] = 1
    wait_ms: Annotated[Whole, restart("How long.", acts=False, mode="redis")] = 1
    size: Annotated[Whole, live("How big.", unit="bytes")] = 1


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for info in model.model_fields.values():
        kind = plain(info.annotation)
        kind = plain(get_args(kind)[0]) if get_origin(kind) is tuple else kind
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from models(kind)


def test_detail_apply_and_unit() -> None:
    assert detail_of(Sample, "count") == {"apply": "live"}
    assert detail_of(Sample, "wait_ms") == {"apply": "restart", "acts": False, "mode": "redis"}
    assert detail_of(Sample, "size") == {"apply": "live", "unit": "bytes"}
    assert (apply_of(Sample, "count"), apply_of(Sample, "wait_ms")) == ("live", "restart")
    assert unit_of(Sample, "wait_ms") == "milliseconds"
    assert unit_of(Sample, "size") == "bytes"
    assert unit_of(Sample, "count") == unit_of(Sample, "unknown") == ""


def test_detail_of_a_plain_field_is_empty() -> None:
    assert detail_of(Config, "server") == {}
    assert apply_of(Config, "server") == "restart"


@pytest.mark.parametrize("model", [m for m in models(Config) if m is not Config])
def test_every_option_is_described(model: type[BaseModel]) -> None:
    for name, info in model.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name
        assert apply_of(model, name) in ("live", "restart"), name
        assert detail_of(model, name)["apply"] == apply_of(model, name), name


@pytest.mark.parametrize("model", list(models(Config)))
def test_every_model_is_frozen_and_refuses_unknown_keys(model: type[BaseModel]) -> None:
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["hide_input_in_errors"]


def test_a_boolean_is_no_number() -> None:
    with pytest.raises(ValidationError) as raised:
        Sample.model_validate({"count": True})
    cause = raised.value.errors()[0]["ctx"]["error"]
    assert isinstance(cause, Refusal)
    assert cause.message == "must be a number, not true or false"


def test_refusals_keep_their_parts() -> None:
    both = Refusals([Refusal("one", "do this", ["a.b", "c.d"]), Refusal("two")])
    assert [item.message for item in both.items] == ["one", "two"]
    assert both.items[0].keys == ("a.b", "c.d")
    assert both.items[1].hint == ""
    assert str(both) == "one; two"
