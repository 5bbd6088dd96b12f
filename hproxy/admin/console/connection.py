# SPDX-License-Identifier: Apache-2.0
"""A SQLite connection with the five databases, for one session or for the console itself.

The stats user's has `stats` twice, as main as well: bare names and stats.names both work, and
nothing of the configuration is there to be read.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import apsw

from hproxy.admin.console.check import Checks
from hproxy.admin.console.layer import MODULE
from hproxy.admin.console.vtab import Module, Snapshot

__all__ = ["connect"]

FLAGS = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
PRESS_SEC = 0.005
MAX_VALUE_BYTES = 64 << 20
ADMIN = ("disk", "stats", "monitor", "stats_history")
STATS = ("stats", "monitor", "stats_history")


def connect(
    places: Mapping[str, str],
    snapshot: Snapshot,
    checks: Checks,
    stop: threading.Event,
    *,
    stats_only: bool = False,
    lock_wait_sec: float = 5.0,
) -> apsw.Connection:
    """Open and attach; whoever waits for a lock gives up after `lock_wait_sec`, or at `stop`."""
    main = places["stats" if stats_only else "main"]
    # Without a cache of statements: each is authorized by what holds when it runs.
    connection = apsw.Connection(main, flags=FLAGS, statementcachesize=0)
    tries = int(lock_wait_sec / PRESS_SEC)
    connection.set_busy_handler(lambda count: count < tries and not stop.wait(PRESS_SEC))
    # Double quotes around what is no name make a string: three tools rely on it.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 1)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)
    for schema in STATS if stats_only else ADMIN:
        connection.execute(f"ATTACH ? AS {schema}", (places[schema],))
    connection.execute("PRAGMA temp_store = MEMORY")
    if not stats_only:
        connection.execute("PRAGMA disk.synchronous = EXTRA")  # as the store itself
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.create_module(
        MODULE, Module(snapshot), use_bestindex_object=True, iVersion=1, read_only=True
    )
    checks.register(connection)
    return connection
