# SPDX-License-Identifier: Apache-2.0
"""Files that belong together are all there: module and test, native source, map and stub."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hproxy"
UNIT = ROOT / "tests/unit"
NATIVE = ROOT / "tests/native"

# What needs no server to be tested: every module has its own test file.
MIRRORED = ("auth", "config", "pool", "protocols", "routing", "topology")

# Modules without behaviour of their own; each is exercised by its users' tests.
WITHOUT_TEST = {
    "protocols/model.py",  # dataclasses without methods
    "protocols/mysql/constants.py",  # numbers from the specification
}

NATIVE_SOURCES = sorted(path.stem for path in (ROOT / "_native").glob("*.pyx"))


def modules(folder: str) -> list[str]:
    found = (PACKAGE / folder).rglob("*.py")
    return sorted(str(path.relative_to(PACKAGE)) for path in found if path.name != "__init__.py")


@pytest.mark.parametrize("module", [m for folder in MIRRORED for m in modules(folder)])
def test_module_has_test(module: str) -> None:
    path = Path(module)
    test = UNIT / path.parent / f"test_{path.name}"
    assert test.exists() != (module in WITHOUT_TEST), test.relative_to(ROOT)


def test_unit_test_has_module() -> None:
    """`test_driver.py` and `test_driver_timeouts.py` both belong to `driver.py`."""
    orphans = [
        str(test.relative_to(UNIT))
        for test in UNIT.glob("*/**/test_*.py")
        if not any(
            re.fullmatch(rf"test_{module.stem}(_\w+)?", test.stem)
            for module in (PACKAGE / test.parent.relative_to(UNIT)).glob("*.py")
        )
    ]
    assert orphans == []


@pytest.mark.parametrize("name", NATIVE_SOURCES)
def test_native_module_is_mapped_stubbed_and_tested(name: str) -> None:
    wanted = [PACKAGE / f"_native/{name}.pxd", PACKAGE / f"_native/{name}.pyi"]
    missing = [str(path.relative_to(ROOT)) for path in wanted if not path.exists()]
    if not list(NATIVE.glob(f"test_{name}*.py")):
        missing.append(f"tests/native/test_{name}.py")
    assert missing == []


@pytest.mark.parametrize("suffix", [".pxd", ".pyi"])
def test_native_map_has_source(suffix: str) -> None:
    described = {path.stem for path in (PACKAGE / "_native").glob(f"*{suffix}")}
    assert described - {"__init__"} <= set(NATIVE_SOURCES)


def test_every_source_names_its_licence() -> None:
    folders = [ROOT / name for name in ("_native", "bench", "ci", "hproxy", "tests")]
    sources = [ROOT / "setup.py"]
    for folder in folders:
        for suffix in ("py", "pyi", "pyx", "pxd", "h"):
            sources += folder.rglob(f"*.{suffix}")
    # The first line, or the second below `#!`.
    missing = [
        str(path.relative_to(ROOT))
        for path in sources
        if "SPDX-License-Identifier: Apache-2.0" not in "".join(head(path))
    ]
    assert missing == []


def head(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [next(lines, ""), next(lines, "")]
