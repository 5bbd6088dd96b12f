# SPDX-License-Identifier: Apache-2.0
"""SET, and SELECT of what clients ask any server for.

SET names, autocommit, ...     OK, and nothing happens
SET <variable> = <value>       UPDATE global_variables, in memory
SELECT @@x, version(), ...     a list of such, each answered under the name it was asked by
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import apsw

from hproxy.admin.console.commands import server
from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.failure import refuse
from hproxy.admin.console.sql import unquoted
from hproxy.admin.model import Answer, Done, Rows
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.errors import AdminError
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

# Variables of a session on a real server that drivers set without being asked.
IGNORED = (
    "autocommit|character_set_results|character_set_client|character_set_connection"
    "|collation_connection|sql_auto_is_null|sql_safe_updates|sql_quote_show_create|sql_mode"
    "|sql_notes|sql_select_limit|foreign_key_checks|unique_checks|time_zone|wait_timeout"
    "|interactive_timeout|net_write_timeout|net_read_timeout|tx_isolation|tx_read_only"
    "|transaction_isolation|transaction_read_only|session_track_\\w+|group_concat_max_len"
    "|max_execution_time|lock_wait_timeout|names"
)
SPELLED = {name.lower(): name for name in VARIABLES}
REFUSED = "mysql-init_connect"
ASSIGNMENT = re.compile(r"SET\s+(?:GLOBAL\s+)?([`'\"]?)([\w-]+)\1\s*:?=\s*(.*)", re.I | re.DOTALL)


def _who(session: ConsoleSession) -> str:
    return f"{session.client.user}@{session.client.host}"


FUNCTIONS: dict[str, Callable[[ConsoleSession], str]] = {
    "version()": lambda session: session.console.version,
    "database()": lambda session: session.database,
    "schema()": lambda session: session.database,
    "user()": _who,
    "current_user()": _who,
    "connection_id()": lambda session: "0",
    "timediff(now(), utc_timestamp())": lambda session: "00:00:00",
    "concat(@@version, ' ', @@version_comment)": lambda session: (
        f"{session.console.version} {server.COMMENT}"
    ),
}
_NAMES = "|".join(re.escape(name).replace(r"\ ", " ?") for name in FUNCTIONS)
_ITEM = rf"(?:@@[\w.`-]+|{_NAMES})(?: AS [\w`'\"-]+| [`'\"]\w+[`'\"])?"
ITEM = re.compile(
    rf"(?P<what>@@[\w.`-]+|{_NAMES})(?:(?: AS)? (?P<alias>[\w`'\"-]+))?(?: ?, ?|$)", re.I
)
LIST = re.compile(rf"SELECT (?P<items>{_ITEM}(?: ?, ?{_ITEM})*)(?: LIMIT \d+)?", re.I)


async def nothing(_: ConsoleSession, __: Found) -> Answer:
    """Accepted, and nothing happens."""
    return Done()


async def assign(session: ConsoleSession, found: Found) -> Answer:
    """SET variable = value."""
    match = ASSIGNMENT.fullmatch(found.text.rstrip("; \t\r\n"))
    if match is None:
        raise refuse("SET wants one variable and one value")
    name, value = match[2], unquoted(match[3])
    if name.lower() == REFUSED:
        raise refuse(f"{REFUSED} cannot be SET, UPDATE global_variables instead")
    known = SPELLED.get(name.lower())
    if known is None:
        session.warn(f"Unknown global variable: '{name}'", code=1193)
        return Done(info=f"ERROR: Unknown global variable: '{name}'.")
    answer = await session.sql(
        "INSERT INTO main.global_variables VALUES (?1, ?2) ON CONFLICT (variable_name)"
        " DO UPDATE SET variable_value = ?2",
        (known, value),
    )
    assert isinstance(answer, Done)
    return answer


async def select(session: ConsoleSession, found: Found) -> Answer:
    """A list of @@variables and functions."""
    names, values = [], []
    for item in ITEM.finditer(found.group("items")):
        names.append(unquoted(item["alias"]) if item["alias"] else item["what"])
        values.append(await _value(session, item["what"]))
    return Rows([column(name) for name in names], [tuple(values)])


async def _value(session: ConsoleSession, what: str) -> str:
    if not what.startswith("@@"):
        return _FUNCTIONS[what.lower().replace(" ", "")](session)
    name = what[2:].replace("`", "").lower()
    for scope in ("global.", "session.", "local."):
        name = name.removeprefix(scope)
    of_server = server.variables(session)
    if name in of_server:
        return of_server[name]
    if session.sees_configuration:
        for known in (name, f"mysql-{name}"):
            if known in SPELLED:
                return await session.own(_in_memory, SPELLED[known])
    raise AdminError(f"Unknown system variable '{name}'", number=1193, sqlstate=b"HY000")


def _in_memory(connection: apsw.Connection, name: str) -> str:
    """As it is being edited: what SHOW VARIABLES shows."""
    sql = "SELECT variable_value FROM main.global_variables WHERE variable_name = ?"
    for (value,) in connection.execute(sql, (name,)):
        return str(value)
    raise AdminError(f"Unknown system variable '{name}'", number=1193, sqlstate=b"HY000")


_FUNCTIONS = {name.replace(" ", ""): answer for name, answer in FUNCTIONS.items()}

COMMANDS = (
    Command("SET", r"SET (?:NAMES|CHARACTER SET|CHARSET) .+", nothing),
    Command("SET", r"SET (?:(?:SESSION|GLOBAL|LOCAL) )?TRANSACTION .+", nothing),
    Command(
        "SET",
        rf"SET (?:(?:SESSION|LOCAL|@@(?:SESSION\.|LOCAL\.)?)(?: ?))?(?:{IGNORED})\b.*",
        nothing,
    ),
    Command("SET", r"SET @[^@].*", nothing),
    Command("SET", r"SET .+", assign, changes=True),
    Command("SELECT", LIST.pattern, select),
)
