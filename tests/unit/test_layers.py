# SPDX-License-Identifier: Apache-2.0
"""The part of the layer rule that import-linter cannot see: compiled modules have no .py file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hproxy"

# Above these, native code is met through what they offer.
REACH_NATIVE = {"auth", "net", "pool", "protocols", "telemetry"}

PYX_IMPORT = re.compile(r"^\s*(?:from|import|cimport)\s+(hproxy[\w.]*)", re.MULTILINE)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_native_is_reached_through_few_rooms() -> None:
    offenders = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in REACH_NATIVE | {"_native"}
        and any(name.startswith("hproxy._native") for name in imported(path))
    }
    assert offenders == set()


@pytest.mark.parametrize("path", sorted((ROOT / "_native").glob("*.pyx")), ids=lambda p: p.stem)
def test_native_imports_only_native_and_errors(path: Path) -> None:
    names = set(PYX_IMPORT.findall(path.read_text()))
    above = {name for name in names if not name.startswith(("hproxy._native.", "hproxy.errors"))}
    assert above == set()
