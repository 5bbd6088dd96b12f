# SPDX-License-Identifier: Apache-2.0
"""Line numbers of keys: known documents, and the same set of keys as `tomllib` for any other."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.config.position import KeyPath, key_lines

DOCUMENT = '''\
# a comment with [brackets] and "quotes"
top = 1 # behind
[server]
listen_addr = "0.0.0.0:6033"

[server.daemon]
enabled = true
[proxy] # remark
"mode" = 'mysql'
backends = [ # first
  "a:1", "b:1",
  # "not.this:1",
  "c:1",
]
text = """
[fake]
fake = 1 \\""" # still text
"""
raw = \'\'\'
[[fake]]\'\'\'
empty = ""
point = { x = 1, y = { z = 2 } }
day = 1979-05-27 07:32:00Z
a.b.c = 3
[[mysql_servers]]
hostname = "a"
[[mysql_servers]]
hostname = "b"
[mysql_servers.extra]
deep = [[1, 2], [3]]
'''

EXPECTED = {
    ("top",): 2,
    ("server",): 3,
    ("server", "listen_addr"): 4,
    ("server", "daemon"): 6,
    ("server", "daemon", "enabled"): 7,
    ("proxy",): 8,
    ("proxy", "mode"): 9,
    ("proxy", "backends"): 10,
    ("proxy", "backends", 0): 11,
    ("proxy", "backends", 1): 11,
    ("proxy", "backends", 2): 13,
    ("proxy", "text"): 15,
    ("proxy", "raw"): 19,
    ("proxy", "empty"): 21,
    ("proxy", "point"): 22,
    ("proxy", "point", "x"): 22,
    ("proxy", "point", "y"): 22,
    ("proxy", "point", "y", "z"): 22,
    ("proxy", "day"): 23,
    ("proxy", "a"): 24,
    ("proxy", "a", "b"): 24,
    ("proxy", "a", "b", "c"): 24,
    ("mysql_servers",): 25,
    ("mysql_servers", 0): 25,
    ("mysql_servers", 0, "hostname"): 26,
    ("mysql_servers", 1): 27,
    ("mysql_servers", 1, "hostname"): 28,
    ("mysql_servers", 1, "extra"): 29,
    ("mysql_servers", 1, "extra", "deep"): 30,
    ("mysql_servers", 1, "extra", "deep", 0): 30,
    ("mysql_servers", 1, "extra", "deep", 0, 0): 30,
    ("mysql_servers", 1, "extra", "deep", 0, 1): 30,
    ("mysql_servers", 1, "extra", "deep", 1): 30,
    ("mysql_servers", 1, "extra", "deep", 1, 0): 30,
}


def test_known_document() -> None:
    assert key_lines(DOCUMENT) == EXPECTED


def test_line_ends_of_windows() -> None:
    assert key_lines(DOCUMENT.replace("\n", "\r\n")) == EXPECTED


@pytest.mark.parametrize("text", ["", "\n\n", "# only a remark", "\t \n"])
def test_nothing_there(text: str) -> None:
    assert key_lines(text) == {}


def paths(value: object, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """Every path in a parsed document."""
    items: Iterator[tuple[str | int, object]]
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    else:
        return
    for key, below in items:
        yield (*prefix, key)
        yield from paths(below, (*prefix, key))


# Text that looks like structure, in every kind of string there is.
tricky = st.text(st.sampled_from("ab[]{}=#,. '\n"), max_size=8)
strings = st.one_of(
    tricky.map(lambda text: '"' + text.replace("\n", "\\n") + '\\"\\\\"'),
    tricky.map(lambda text: "'" + text.replace("\n", "").replace("'", "") + "'"),
    tricky.map(lambda text: f'"""{text}\\"""" {text}x"""'),
    tricky.map(lambda text: f'"""{text}""""'),
    tricky.map(lambda text: f'"""{text}"""""'),
    tricky.map(lambda text: "'''" + text.replace("'''", "") + "x'''"),
    tricky.map(lambda text: "'''" + text.replace("'", "") + "'''''"),
    st.sampled_from(['""', "''", '""""""', "''''''", '"""\n"""']),
)
scalars = st.one_of(
    strings,
    st.sampled_from(["1", "-1", "1_000", "0xff", "1e5", "-1.5", "inf", "nan", "true", "false"]),
    st.sampled_from(["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z"]),
    st.sampled_from(["1979-05-27 07:32:00", "1979-05-27 07:32:00.5+01:00"]),
)
gaps = st.sampled_from(["", " ", "\n", "  # , ] } =\n ", "\n\n"])
keys = st.sampled_from(["a", "b-1", "c_2", '"q k"', "'l.k'", '"e\\u00e9\\""', "1"])


@st.composite
def arrays(draw: st.DrawFn, below: st.SearchStrategy[str]) -> str:
    parts = [f"{draw(gaps)}{item}{draw(gaps)}" for item in draw(st.lists(below, max_size=4))]
    end = draw(st.sampled_from(["", ","])) if parts else ""
    return f"[{','.join(parts)}{end}{draw(gaps)}]"


@st.composite
def inline_tables(draw: st.DrawFn, below: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(keys, unique=True, max_size=3))
    return "{" + ", ".join(f"{name} = {draw(below)}" for name in names) + " }"


values = st.recursive(scalars, lambda below: arrays(below) | inline_tables(below), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Tables and array tables with unique names, so that every document is valid."""
    lines = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["table", "array", "sub"]))
        if kind == "table":
            lines.append(f"[t{number}]  # [x]")
        else:
            name = f"[[ r . {draw(keys)} ]]" if kind == "sub" else "[[s]]"
            lines.append(name)
            if draw(st.booleans()):
                lines.append(f"[{name.strip('[] ')} . {draw(keys)} . n{number}]")
        for key in draw(st.lists(keys, unique=True, max_size=3)):
            dotted = f"{key} . {draw(keys)}" if draw(st.booleans()) else key
            lines.append(f"{draw(gaps)}{dotted} = {draw(values)}{draw(gaps)}")
    return "\n".join(lines)


@given(documents())
def test_same_keys_as_the_parser(text: str) -> None:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert set(lines) == set(paths(tree))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
