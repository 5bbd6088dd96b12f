# SPDX-License-Identifier: Apache-2.0
"""runtime_* tables: the configuration a worker runs on, as rows.

runtime_mysql_servers   the status is the one of now, monitors and traffic included
runtime_mysql_users     a row for clients and a row for backends, passwords hashed
the others              as they were loaded, active rows only where inactive ones are not

All but the variables may be read in ANY_THREAD: a configuration never changes, it is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.proxysql.rows import rows_in

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["ANY_THREAD", "CONFIGURED", "hashed"]

SECOND = "additional_password"
Reader = Callable[["Runtime"], Iterable[tuple[Any, ...]]]
# Rows of these that are not active are not at work, and so not shown.
ONLY_ACTIVE = frozenset({"mysql_query_rules", "mysql_users", "scheduler", "restapi_routes"})


def _rows(name: str, runtime: Runtime) -> list[dict[str, Any]]:
    return [
        row for row in rows_in(runtime.config, name) if name not in ONLY_ACTIVE or row["active"]
    ]


def _table(name: str, runtime: Runtime) -> list[tuple[Any, ...]]:
    names = CONFIG_TABLES[name].names
    return [tuple(row[column] for column in names) for row in _rows(name, runtime)]


def _servers(runtime: Runtime) -> list[tuple[Any, ...]]:
    names = CONFIG_TABLES["mysql_servers"].names
    topology = runtime.services.topology
    statuses = {
        (b.hostgroup, (b.path or b.host).lower(), 0 if b.path else b.port): health.status.value
        for b, (health, _) in topology.snapshot().items()
    }
    found = []
    for row in _rows("mysql_servers", runtime):
        port = 0 if row["hostname"].startswith("/") else row["port"]
        key = (row["hostgroup_id"], row["hostname"].lower(), port)
        shown = row | {"status": statuses.get(key, row["status"])}
        found.append(tuple(shown[column] for column in names))
    return found


def _users(runtime: Runtime) -> list[tuple[Any, ...]]:
    names = CONFIG_TABLES["mysql_users"].names
    found = []
    for backend in (1, 0):
        for row in _rows("mysql_users", runtime):
            if row["backend" if backend else "frontend"]:
                shown = {
                    "password": hashed(row["password"] or ""),
                    "attributes": _shown(row["attributes"]),
                    "backend": backend,
                    "frontend": 1 - backend,
                }
                found.append(tuple((row | shown)[column] for column in names))
    return found


def _shown(attributes: str) -> str:
    """Attributes without the clear text of a second password."""
    if SECOND not in attributes:
        return attributes
    found = json.loads(attributes)
    if isinstance(found, dict) and isinstance(found.get(SECOND), str):
        found[SECOND] = hashed(found[SECOND])
    return json.dumps(found)


def hashed(password: str) -> str:
    """A password as it may be shown: '*' and 40 hex digits, or the hash that it is."""
    if not password or password.startswith("$A$") or (password[0] == "*" and len(password) == 41):
        return password
    inner = sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + sha1(inner, usedforsecurity=False).hexdigest().upper()


def _variables(runtime: Runtime) -> list[tuple[Any, ...]]:
    return list(runtime.services.variables.items())


CONFIGURED: dict[str, Reader] = {
    **{f"runtime_{name}": partial(_table, name) for name in CONFIG_TABLES},
    "runtime_mysql_servers": _servers,
    "runtime_mysql_users": _users,
    "runtime_global_variables": _variables,
}
ANY_THREAD = CONFIGURED.keys() - {"runtime_global_variables"}
