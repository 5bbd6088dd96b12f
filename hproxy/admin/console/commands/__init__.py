# SPDX-License-Identifier: Apache-2.0
"""Commands: statements that are no SQL, each family in a file of its own.

text ── one blank, no ";" ──> the first COMMANDS of its first word that matches ──> run
"""

from __future__ import annotations

from hproxy.admin.console.commands import (
    canned,
    checksums,
    cluster,
    move,
    order,
    route,
    schema,
    setting,
    show,
    versions,
)
from hproxy.admin.console.commands.matcher import Found, Matcher

__all__ = ["Found", "find"]

_MATCHER = Matcher(
    family.COMMANDS
    for family in (cluster, move, order, versions, route, checksums, show, setting, schema, canned)
)
find = _MATCHER.find
