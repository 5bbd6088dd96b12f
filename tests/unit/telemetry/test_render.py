# SPDX-License-Identifier: Apache-2.0
"""Lines: one per event whatever the values are, valid JSON, aligned text, no escape sequences."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from math import nan
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.config.address import Address
from hproxy.telemetry.render import as_colour, as_json, as_text

TS = datetime(2026, 3, 1, 12, 30, 45, 678901, UTC)
EVENT = {"conn": 7, "event": "client connected", "level": "info", "logger": "net", "ts": TS}


def test_json_starts_with_time_level_logger_and_event() -> None:
    assert as_json(EVENT) == (
        b'{"ts":"2026-03-01T12:30:45.678901Z","level":"info","logger":"net",'
        b'"event":"client connected","conn":7}\n'
    )


def test_json_of_values_it_does_not_know() -> None:
    told = orjson.loads(
        as_json({"peer": Address("::1", 5), "path": Path("/x"), "raw": b"\xff", "e": OSError("no")})
    )
    assert told == {"peer": "[::1]:5", "path": "/x", "raw": "b'\\xff'", "e": "no"}


def test_json_keeps_the_rest_when_one_value_cannot_be_encoded() -> None:
    odd = {"user": "a\ud800", "big": 2**80, "nan": nan, "conn": 7, "k\ud800": 1}
    told = json.loads(as_json(odd))
    assert told == {"user": "a\\ud800", "big": 2**80, "nan": "nan", "conn": 7, "k\\ud800": 1}


class Level(Enum):
    HIGH = "high"


def test_json_of_times_and_enumerations() -> None:
    local = datetime(2026, 3, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    told = json.loads(as_json({"ts": local, "level": Level.HIGH}))
    assert told == {"ts": "2026-03-01T12:30:00Z", "level": "high"}


def test_text() -> None:
    assert as_text({**EVENT, "user": "a b", "none": None, "empty": ""}) == (
        b"2026-03-01T12:30:45.678Z info  client connected             "
        b"conn=7 user='a b' none=None empty='' [net]\n"
    )


def test_text_without_fields_time_or_logger() -> None:
    assert as_text({"event": "x", "level": "warn"}) == b" warn  x\n"


def test_text_with_a_traceback_indents_it() -> None:
    line = as_text({"event": "x", "level": "error", "exception": "Trace:\n  File\nboom\x1b[31m"})
    assert line == b" error x\n  Trace:\n    File\n  boom\\x1b[31m\n"


def test_colours_and_local_time_for_a_terminal() -> None:
    line = as_colour(EVENT).decode()
    assert "\x1b[32minfo " in line
    bare = re.sub(r"\x1b\[\d+m", "", line)
    assert re.match(r"\d\d:30:45\.678 info  client connected +conn=7 \[net\]\n$", bare)


@pytest.mark.parametrize("render", [as_json, as_text, as_colour])
def test_long_values_are_cut(render: Any) -> None:
    line = render({"event": "e" * 9000, "a": "x" * 100_000, "b": b"y" * 100_000})
    assert len(line) < 20_000
    assert b"more)" in line


@pytest.mark.parametrize("render", [as_json, as_text, as_colour])
def test_a_long_traceback_is_cut_later(render: Any) -> None:
    line = render({"event": "e", "exception": "line of a trace\n" * 5000})
    assert 15_000 < len(line) < 25_000


@given(st.text(), st.text(), st.one_of(st.text(), st.binary(), st.integers(), st.floats()))
def test_any_event_is_one_clean_line(event: str, name: str, value: object) -> None:
    fields = {"level": "info", name: value, "event": event, "exception": None}
    for render in (as_json, as_text):
        line = render(fields)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert b"\x1b" not in line
        assert b"\r" not in line
    assert isinstance(orjson.loads(as_json(fields)), dict)
