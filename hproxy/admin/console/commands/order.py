# SPDX-License-Identifier: Apache-2.0
"""Orders to the running proxy: PROXYSQL ..., KILL, LOGENTRY; and VACUUM.

PROXYSQL PAUSE ──> port.order("pause") ──> its text in the OK
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.failure import refuse
from hproxy.admin.console.sql import unquoted
from hproxy.admin.model import Answer, Done

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

# PROXYSQL <words> -> the order.
ORDERS = {
    "START": "start",
    "STOP": "stop",
    "PAUSE": "pause",
    "RESUME": "resume",
    "RESTART": "restart",
    "SHUTDOWN": "shutdown",
    "SHUTDOWN SLOW": "shutdown_slow",
    "KILL": "kill",
    "FLUSH LOGS": "flush_logs",
    "FLUSH QUERY CACHE": "flush_query_cache",
    "FLUSH MYSQL QUERY CACHE": "flush_query_cache",
    "FLUSH MYSQL CLIENT HOSTS": "flush_client_hosts",
    "RELOAD TLS": "reload_tls",
}


async def proxysql(session: ConsoleSession, found: Found) -> Answer:
    """PROXYSQL <order>."""
    name = ORDERS[found.group("order").upper()]
    return Done(info=await session.console.port.order(name))


async def read_only(session: ConsoleSession, found: Found) -> Answer:
    """PROXYSQL READONLY | READWRITE: the variable changes where it runs and in memory."""
    name = found.group("order").lower()
    value = "true" if name == "readonly" else "false"
    info = await session.console.port.order(name)
    session.console.values.update({"admin-read_only": value})
    await session.own(_remember, value)
    return Done(info=info)


def _remember(connection: apsw.Connection, value: str) -> None:
    connection.execute(
        "UPDATE main.global_variables SET variable_value = ? WHERE variable_name = ?",
        (value, "admin-read_only"),
    )


async def flush_config(session: ConsoleSession, _: Found) -> Answer:
    """PROXYSQL FLUSH CONFIGDB: everything written so far is in the file itself."""
    await session.own(_checkpoint)
    return Done()


def _checkpoint(connection: apsw.Connection) -> None:
    connection.wal_checkpoint("disk")


async def nothing(_: ConsoleSession, __: Found) -> Answer:
    """What a ProxySQL that looks at us asks first, whether our servers are of now: it hangs up on
    an error."""
    return Done()


async def unknown(session: ConsoleSession, found: Found) -> Answer:
    """PROXYSQL and what is no order."""
    orders = ", ".join(sorted((*ORDERS, "FLUSH CONFIGDB", "READONLY", "READWRITE")))
    raise refuse(f"PROXYSQL takes no order {found.group('order')!r}; there are {orders}")


async def kill(session: ConsoleSession, found: Found) -> Answer:
    """KILL [CONNECTION | QUERY] n: a client's session by its SessionID."""
    what = found.group("what").lower() or "connection"
    info = await session.console.port.order(f"kill_{what}", found.group("id"))
    return Done(info=info)


async def log_entry(session: ConsoleSession, found: Found) -> Answer:
    """LOGENTRY text: a line in the log."""
    text = found.text.split(None, 1)[1].rstrip("; \n")
    return Done(info=await session.console.port.order("logentry", unquoted(text)))


async def vacuum(session: ConsoleSession, _: Found) -> Answer:
    """VACUUM: the store's file gives back what it does not need."""
    await session.own(_vacuum)
    return Done()


def _vacuum(connection: apsw.Connection) -> None:
    connection.execute("VACUUM disk")


COMMANDS = (
    Command("PROXYSQL", r"PROXYSQL (?P<order>READONLY|READWRITE)", read_only, True, True),
    Command("PROXYSQL", r"PROXYSQL FLUSH CONFIGDB", flush_config, True),
    Command("PROXYSQL", rf"PROXYSQL (?P<order>{'|'.join(ORDERS)})", proxysql, True),
    Command("PROXYSQL", r"PROXYSQL ?(?P<order>.*)", unknown),
    Command("KILL", r"KILL (?:(?P<what>CONNECTION|QUERY) )?(?P<id>\d+)", kill, True),
    Command("LOGENTRY", r"LOGENTRY .+", log_entry, True),
    Command("PULL", r"PULL VERSION MYSQL SERVERS", nothing, True),
    Command("VACUUM", r"VACUUM(?: disk)?", vacuum, True),
)
