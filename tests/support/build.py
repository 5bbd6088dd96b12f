# SPDX-License-Identifier: Apache-2.0
"""Another build of the program: the same sources with another version, and what a test changes."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import hproxy

__all__ = ["build"]

SOURCES = Path(hproxy.__file__).parent


def build(folder: Path, version: str, **formats: int) -> list[str]:
    """Put it into `folder`; the command that runs it.

    `formats`: the FORMAT of a module by its path with dots for slashes, underscored."""
    package = folder / "hproxy"
    shutil.copytree(SOURCES, package, ignore=shutil.ignore_patterns("__pycache__", "_native"))
    (package / "_native").symlink_to(SOURCES / "_native", target_is_directory=True)
    _rewrite(package / "__init__.py", r'__version__ = ".*"', f'__version__ = "{version}"')
    for module, number in formats.items():
        path = package / f"{module.replace('__', '/')}.py"
        _rewrite(path, r"(?m)^FORMAT = \d+$", f"FORMAT = {number}")
    # Without the safe path a child would find the sources it stands in first.
    where = ["env", f"PYTHONPATH={folder}", "PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1"]
    return [*where, sys.executable, "-m", "hproxy.cli.main", "run"]


def _rewrite(path: Path, pattern: str, text: str) -> None:
    before = path.read_text()
    after, count = re.subn(pattern, text, before)
    assert count == 1, (path, pattern)
    path.write_text(after)
