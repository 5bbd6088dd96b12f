# SPDX-License-Identifier: Apache-2.0
"""Where the configuration came from, to read it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The file and the flags; the environment is every process's own."""

    path: Path | None = None
    flags: Mapping[str, object] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """As another process can be told: flags that were not given are left out, since an empty
        tuple would arrive as a list, which is a flag that was given."""
        given = {name: value for name, value in self.flags.items() if value not in (None, ())}
        return {"path": self.path and str(self.path), "flags": given}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What another process told."""
        return cls(Path(facts["path"]) if facts["path"] else None, facts["flags"])
