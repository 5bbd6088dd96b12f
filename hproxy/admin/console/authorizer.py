# SPDX-License-Identifier: Apache-2.0
"""What a session's SQL may do; asked by SQLite while it compiles each statement.

    who          may
    admin        read all; write main and disk; tables, indexes and views of its own there
    read-only    read all
    stats        read stats, monitor, stats_history

Nobody may ATTACH, set a PRAGMA, change a table of the catalogue, or make triggers and virtual
tables: those reach further than rows.
"""

from __future__ import annotations

import apsw

from hproxy.admin.console.layer import CATALOGUE

__all__ = ["Authorizer"]

READS = frozenset(
    {
        apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE,
    }
)  # fmt: skip
ROWS = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
CREATES = frozenset(
    {
        apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_CREATE_TEMP_TABLE, apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_CREATE_TEMP_VIEW, apsw.SQLITE_CREATE_INDEX, apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_DROP_TABLE, apsw.SQLITE_DROP_TEMP_TABLE, apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_TEMP_VIEW, apsw.SQLITE_DROP_INDEX, apsw.SQLITE_DROP_TEMP_INDEX,
    }
)  # fmt: skip
WRITABLE = frozenset({"main", "disk", "temp"})
PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info"})
FORBIDDEN_FUNCTIONS = frozenset(
    {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
)
KNOWN = frozenset(name for tables in CATALOGUE.values() for name in tables)
HISTORY = "hproxy_config_history"
HIDDEN = "hproxy_"  # tables of ours that are no part of the catalogue
NAMES = {
    code: name.removeprefix("SQLITE_").replace("_", " ")
    for name, code in apsw.mapping_authorizer_function.items()
    if isinstance(name, str) and isinstance(code, int)
}


class Authorizer:
    """One session's rights. `lifted` while the console works for itself, `denied` says why not."""

    def __init__(self, *, read_only: bool) -> None:
        self.read_only = read_only
        self.lifted = False
        self.denied = ""

    def __call__(
        self, action: int, one: str | None, two: str | None, schema: str | None, _: str | None
    ) -> int:
        if self.lifted or self._allows(action, one or "", two or "", schema or ""):
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY

    def _allows(self, action: int, one: str, two: str, schema: str) -> bool:
        if action in READS:
            return not _hidden(one) or self._deny(f"table {one} is not readable")
        if action == apsw.SQLITE_FUNCTION:
            return two.lower() not in FORBIDDEN_FUNCTIONS or self._deny(f"{two}() is not allowed")
        if action == apsw.SQLITE_PRAGMA:
            return one.lower() in PRAGMAS or self._deny(f"PRAGMA {one} is not allowed")
        if action not in ROWS | CREATES:
            return self._deny(f"{NAMES.get(action, str(action))} is not allowed")
        if self.read_only:
            return self._deny("this session may only read")
        if _hidden(one) or one == HISTORY or (action in CREATES and one.lower() in KNOWN):
            return self._deny(f"table {one} cannot be changed")
        return schema in WRITABLE or self._deny(f"database {schema} is read-only")

    def _deny(self, reason: str) -> bool:
        self.denied = reason
        return False


def _hidden(table: str) -> bool:
    return table.startswith(HIDDEN) and table not in KNOWN
