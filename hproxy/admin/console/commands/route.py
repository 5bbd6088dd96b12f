# SPDX-License-Identifier: Apache-2.0
"""What ProxySQL cannot answer: where a statement would go and why, and what holds a session.

EXPLAIN ROUTE <sql> [AS user[@schema]]    port.explaining, a step a row; <sql> may stand in quotes
SHOW PINS                                 stats_hproxy_pins
SHOW SESSION n                            a session's row of the processlist, and its pins
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.failure import refuse
from hproxy.admin.console.sql import unquoted
from hproxy.admin.model import Answer, Rows
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

HEAD = re.compile(r"EXPLAIN\s+ROUTE\s+", re.IGNORECASE)
WHO = re.compile(
    r"(?<=\s)AS\s++(?P<user>'[^']*'|\"[^\"]*\"|`[^`]*`|[\w.$%-]+)"
    r"(?:@(?P<schema>'[^']*'|\"[^\"]*\"|`[^`]*`|[\w$-]+))?\s*\Z",
    re.IGNORECASE,
)
STEPS = ("step", "result", "why")


async def explain(session: ConsoleSession, found: Found) -> Answer:
    """EXPLAIN ROUTE."""
    statement = HEAD.sub("", found.text, count=1)
    who = WHO.search(statement)
    user = schema = ""
    if who is not None:
        user, schema = unquoted(who["user"]), unquoted(who["schema"] or "")
        statement = statement[: who.start()].rstrip()
    statement = unquoted(statement.rstrip("; \t\r\n"))  # no statement begins with a quote
    if not statement.strip():
        raise refuse("EXPLAIN ROUTE wants a statement")
    rows = await session.console.port.explaining(statement, user, schema)
    width = max((len(row) for row in rows), default=len(STEPS))
    names = [*STEPS, *(f"more_{i}" for i in range(width))][:width]
    padded = [(*row, *(None,) * (width - len(row))) for row in rows]
    return Rows([column(name) for name in names], padded)


async def pins(session: ConsoleSession, _: Found) -> Answer:
    """SHOW PINS."""
    return await session.sql("SELECT * FROM stats.stats_hproxy_pins ORDER BY since_s DESC")


async def one_session(session: ConsoleSession, found: Found) -> Answer:
    """SHOW SESSION n."""
    number = int(found.group("id"))
    process = await session.sql(
        "SELECT * FROM stats.stats_mysql_processlist WHERE SessionID = ?", (number,)
    )
    held = await session.sql(
        "SELECT reason, since, statement, hint FROM stats.stats_hproxy_pins WHERE session = ?",
        (number,),
    )
    assert isinstance(process, Rows)
    assert isinstance(held, Rows)
    if not process.rows:
        raise refuse(f"there is no session {number}", 1094, b"HY000")
    rows = [
        (definition.name, value)
        for definition, value in zip(process.columns, process.rows[0], strict=True)
    ]
    for reason, since, statement, hint in held.rows:
        rows.append((f"pin {reason!s}", f"since {since!s} by: {statement!s}; {hint!s}"))
    return Rows([column("Name"), column("Value")], rows)


COMMANDS = (
    Command("EXPLAIN", r"EXPLAIN ROUTE .+", explain),
    Command("SHOW", r"SHOW PINS", pins),
    Command("SHOW", r"SHOW SESSION (?P<id>\d{1,18})", one_session),
)
