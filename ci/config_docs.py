# SPDX-License-Identifier: Apache-2.0
"""Write the generated pages of docs/operations and examples/reference.toml from the schema.

`python -m ci.config_docs` writes them; with `--check` it only says whether they are current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hproxy.config.document import manual, template
from hproxy.config.proxysql.manual import tables_page, variables_page

ROOT = Path(__file__).resolve().parent.parent

GENERATED = {
    "docs/operations/config.md": manual,
    "docs/operations/tables.md": tables_page,
    "docs/operations/variables.md": variables_page,
    "examples/reference.toml": template,
}


def main(arguments: list[str]) -> int:
    stale = []
    for name, make in GENERATED.items():
        path = ROOT / name
        text = make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if stale and "--check" in arguments:
        print(f"stale: {', '.join(stale)}; run python -m ci.config_docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
