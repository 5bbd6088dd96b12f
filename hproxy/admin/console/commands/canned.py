# SPDX-License-Identifier: Apache-2.0
"""What clients send without being asked, and get the answer they need to go on.

BEGIN, COMMIT, USE x, LOCK TABLES, /*!40101 ... */      OK, and nothing happens
SELECT $$                                               the error that tells a client its age
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hproxy.admin.console.commands.matcher import VERSIONED, Command, Found
from hproxy.admin.model import Answer, Done, Rows
from hproxy.errors import AdminError
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

# From this version on a server knows dollar quotes, and finds none here.
DOLLAR_QUOTES = (8, 1)


async def nothing(_: ConsoleSession, __: Found) -> Answer:
    """Accepted, and nothing happens."""
    return Done()


async def none_there(_: ConsoleSession, found: Found) -> Answer:
    """A count of a table's rows in a schema that is not here."""
    return Rows([column(found.group("name"))], [(0,)])


async def dollar_quote(session: ConsoleSession, _: Found) -> Answer:
    """SELECT $$: how clients of 8.1 and later probe the server."""
    announced = session.console.server_version
    numbers = tuple(int(part) for part in announced.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= DOLLAR_QUOTES:
        raise AdminError(
            "You have an error in your SQL syntax; check the manual that corresponds to your "
            "MySQL server version for the right syntax to use near '$$' at line 1",
            number=1064,
            sqlstate=b"42000",
        )
    raise AdminError("Unknown column '$$' in 'field list'", number=1054, sqlstate=b"42S22")


COMMANDS = (
    Command(
        "BEGIN START COMMIT ROLLBACK SAVEPOINT RELEASE",
        r"(?:BEGIN(?: .+)?|START TRANSACTION.*|COMMIT(?: .+)?|ROLLBACK(?! CONFIG).*|SAVEPOINT .+"
        r"|RELEASE SAVEPOINT .+)",
        nothing,
    ),
    Command("USE", r"USE .+", nothing),
    Command("LOCK UNLOCK", r"LOCK TABLES? .+|UNLOCK TABLES", nothing),
    Command(VERSIONED, r"/\*!.*\*/", nothing),
    Command(
        "SELECT",
        r"SELECT (?P<name>COUNT ?\(\*\)) FROM `?INFORMATION_SCHEMA`?\.`?TABLES`? WHERE .+",
        none_there,
    ),
    Command("SELECT", r"SELECT \$\$", dollar_quote),
)
