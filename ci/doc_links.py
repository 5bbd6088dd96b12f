# SPDX-License-Identifier: Apache-2.0
"""Check that every relative link in a Markdown file leads to a file that exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def broken_links(page: Path) -> list[str]:
    """The targets in `page` that lead nowhere; addresses and anchors are not followed."""
    text = FENCE.sub("", page.read_text())
    targets = [target.partition("#")[0] for target in LINK.findall(text)]
    local = [target for target in targets if target and "://" not in target]
    return [target for target in local if not (page.parent / target).exists()]


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    pages = [Path(line) for line in listed.stdout.splitlines()]
    broken = [(page, link) for page in pages if page.exists() for link in broken_links(page)]
    for page, link in broken:
        print(f"{page}: {link} does not exist")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
