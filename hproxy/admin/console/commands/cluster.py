# SPDX-License-Identifier: Apache-2.0
"""What peers say here: PROXYSQL CLUSTER_NODE_UUID, and PROXY_SELECT of what they copy.

PROXY_SELECT ── one of the known texts ──> the rows that were loaded, of which the checksum is
             └─ any other ───────────────> SELECT
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hproxy.admin.console.account import Role
from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.model import Answer, Done, Rows
from hproxy.config.proxysql.cluster import PULLS, Pull
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.database import ConsoleDatabase
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

LONGEST_NAME = 255
KNOWN = {
    pull.statement.upper(): (module, pull) for module, pulls in PULLS.items() for pull in pulls
}


async def pull(session: ConsoleSession, found: Found) -> Answer:
    """PROXY_SELECT: the stats user gets what SELECT gives it."""
    known = KNOWN.get(found.match[0].upper())
    if known is None or session.role is Role.STATS:
        return await session.sql(found.text)
    console = session.console
    rows = await console.in_thread(_rows, console, *known)
    return Rows([column(name) for name in known[1].columns], rows)


def _rows(console: ConsoleDatabase, module: str, asked: Pull) -> Sequence[Sequence[Any]]:
    rows = console.shared(module).get(asked.table, ())
    return [tuple(row.get(name) for name in asked.columns) for row in rows]


async def announced(session: ConsoleSession, found: Found) -> Answer:
    """PROXYSQL CLUSTER_NODE_UUID: who reads here."""
    uuid, interfaces = (found.group(name)[:LONGEST_NAME] for name in ("uuid", "interfaces"))
    session.console.nodes.seen(session.client, uuid, interfaces)
    return Done()


COMMANDS = (
    Command(
        "PROXYSQL",
        r"PROXYSQL CLUSTER_NODE_UUID (?P<uuid>\S+)(?: (?P<interfaces>\S+))?",
        announced,
        True,
        True,
    ),
    Command("PROXY_SELECT", r"PROXY_SELECT .+", pull),
)
