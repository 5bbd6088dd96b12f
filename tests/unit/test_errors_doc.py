# SPDX-License-Identifier: Apache-2.0
"""docs/errors.md and the code say the same: every code, its number, its SQLSTATE, its log line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hproxy import errors
from hproxy.protocols.mysql.refusal import REFUSALS

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs/errors.md"
HEADING = re.compile(r"^### `([a-z0-9_.]+)`$", re.MULTILINE)
CLIENT = re.compile(r"^- \*\*Client\*\*: (?:(\d{4}) \(([0-9A-Z]{5})\)|[^\d])", re.MULTILINE)
LOG = re.compile(r"^- \*\*Log\*\*: (.*(?:\n  .*)*)", re.MULTILINE)
PARTS = ("Cause", "Client", "Log", "Do")

CLASSES: Mapping[str, str] = {
    name: thing.code
    for name, thing in vars(errors).items()
    if isinstance(thing, type) and issubclass(thing, errors.HProxyError)
}
# Rooms whose errors never meet a client or the log of the proxy: they have codes of their own.
ELSEWHERE = ("admin", "cli")


def sources() -> Iterator[Path]:
    for path in sorted((ROOT / "hproxy").rglob("*.py")):
        if path.relative_to(ROOT / "hproxy").parts[0] not in ELSEWHERE:
            yield path


def keyword(call: ast.Call, name: str) -> str | None:
    """The value of a keyword argument that is a literal text."""
    for argument in call.keywords:
        if argument.arg == name and isinstance(argument.value, ast.Constant):
            return str(argument.value.value)
    return None


def codes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = str(getattr(node.func, "id", None) or getattr(node.func, "attr", ""))
            code = keyword(node, "code")
            if name in CLASSES and path.name != "errors.py":
                yield f"{CLASSES[name]}.{code}" if code else CLASSES[name]
            elif code and node.args:  # a line in the log
                yield code
        elif isinstance(node, ast.ClassDef) and path.name != "errors.py":
            for part in node.body:
                target = getattr(part, "targets", [None])[0]
                if isinstance(target, ast.Name) and target.id == "code":
                    yield ast.literal_eval(part.value)  # type: ignore[attr-defined]


def codes_of_channels() -> Iterator[str]:
    """What _native/channel.pyx raises, by whose bytes they were."""
    source = (ROOT / "_native/channel.pyx").read_text()
    for code in re.findall(r'self\.fail\("(\w+)"', source):
        yield f"client.{code}"
        yield "backend.lost" if code == "gone" else f"backend.protocol.{code}"


def codes_in_use() -> set[str]:
    found = set(REFUSALS) | set(codes_of_channels())
    # Classes whose code is a leaf: nothing is added to it where they are raised.
    found |= {code for code in CLASSES.values() if code.startswith("handover.")}
    for path in sources():
        found.update(codes_in(path))
    # Raised where no session is: these end the process or the command.
    return {code for code in found if code.partition(".")[0] not in ("config", "admin")}


def sections() -> dict[str, str]:
    text = DOC.read_text()
    heads = list(HEADING.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return {head[1]: text[head.end() : end] for head, end in zip(heads, ends, strict=bool(heads))}


SECTIONS = sections()


def test_every_code_is_documented() -> None:
    assert codes_in_use() - set(SECTIONS) == set()


def test_every_section_has_a_code() -> None:
    assert set(SECTIONS) - codes_in_use() - {"config"} == set()


def test_sections_are_in_order_and_unique() -> None:
    names = HEADING.findall(DOC.read_text())
    assert len(names) == len(set(names))


@pytest.mark.parametrize("code", SECTIONS)
def test_section_is_complete(code: str) -> None:
    missing = [part for part in PARTS if f"- **{part}**: " not in SECTIONS[code]]
    assert missing == []


@pytest.mark.parametrize("code", SECTIONS)
def test_number_and_sqlstate(code: str) -> None:
    told = CLIENT.search(SECTIONS[code])
    assert told is not None
    if told[1] is None:
        return  # nothing, or the server's own words
    prefix = code
    while prefix not in REFUSALS and "." in prefix:
        prefix = prefix.rpartition(".")[0]
    number, state, _ = REFUSALS.get(prefix, REFUSALS["internal"])
    assert (int(told[1]), told[2]) == (number, state.decode())


@pytest.mark.parametrize("code", SECTIONS)
def test_log_lines_exist(code: str) -> None:
    """Every `event` named as a log line is one that some source writes."""
    told = LOG.search(SECTIONS[code])
    assert told is not None
    events = re.findall(r'"([a-z][^"]+)"', told[1])
    written = "\n".join(path.read_text() for path in sources())
    assert [event for event in events if f'"{event}"' not in written] == []
    assert events or told[1].startswith("none")
