# SPDX-License-Identifier: Apache-2.0
"""What ProxySQL does with wrong values at LOAD, for when admin-strict has let them in.

    a variable that is unknown          is deleted from memory
    a variable with a wrong value       gets back the value that runs
    a rule whose regex cannot be used   is switched off

silently there; here SHOW WARNINGS says each. With admin-strict on nothing of it can be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from hproxy.admin.console import layer
from hproxy.config.proxysql.module import Module
from hproxy.config.proxysql.variables import VARIABLES

if TYPE_CHECKING:
    from hproxy.admin.console.check import Checks
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["settle"]

RESET = "UPDATE main.global_variables SET variable_value = ? WHERE variable_name = ?"
# What is to be said, "" for nothing, and the statement that changes it.
Repair = tuple[str, str, tuple[str | int, ...]]


async def settle(session: ConsoleSession, module: Module) -> None:
    """Repair the memory layer's rows of `module`; what was wrong becomes warnings."""
    console = session.console
    if module.prefix or module.name == "mysql_query_rules":
        running = dict(console.values.items(module.prefix)) if module.prefix else {}
        for text in await session.own(_repair, module, console.checks, running):
            session.warn(text)


def _repair(
    connection: apsw.Connection, module: Module, checks: Checks, running: dict[str, str]
) -> list[str]:
    rows = layer.read(connection, "main", module)
    repairs = (
        _variables(rows["global_variables"], checks, running)
        if module.prefix
        else _rules(rows["mysql_query_rules"], checks)
    )
    if repairs:
        with connection:
            for _, statement, values in repairs:
                connection.execute(statement, values)
    return [text for text, _, _ in repairs if text]


def _variables(rows: list[layer.Row], checks: Checks, running: dict[str, str]) -> list[Repair]:
    found: list[Repair] = []
    for row in rows:
        name, value = row["variable_name"], row["variable_value"]
        reason = checks.variable(name, value)
        if reason is None:
            kept = value if running.get(name) == value else VARIABLES[name].check(value)
            if kept != value:  # TRUE and true are the same, and shall look so
                found.append(("", RESET, (kept, name)))
        elif name not in VARIABLES:
            statement = "DELETE FROM main.global_variables WHERE variable_name = ?"
            found.append((f"{reason}: deleted", statement, (name,)))
        else:
            old = running.get(name, VARIABLES[name].default)
            found.append((f"{reason}: reset to what runs", RESET, (old, name)))
    return found


def _rules(rows: list[layer.Row], checks: Checks) -> list[Repair]:
    found: list[Repair] = []
    for row in rows:
        for column in ("match_digest", "match_pattern"):
            reason = checks.regex(row[column], row["re_modifiers"]) if row["active"] else None
            if reason is not None:
                statement = "UPDATE main.mysql_query_rules SET active = 0 WHERE rule_id = ?"
                text = f"rule {row['rule_id']}, {column}: {reason}: switched off"
                found.append((text, statement, (row["rule_id"],)))
                break
    return found
