# SPDX-License-Identifier: Apache-2.0
"""A small database that needs no installation: SQLite behind the MySQL protocol.

For the demo and for tests. It lives in a temporary folder (its journal lets readers and a
writer work side by side, which a database in memory does not) and goes with the process.
"""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from hproxy import __version__
from hproxy.admin.embedded.engine import Engine
from hproxy.admin.embedded.function import register
from hproxy.admin.embedded.session import EmbeddedSession
from hproxy.admin.embedded.table import schema_views
from hproxy.admin.embedded.variables import Variables
from hproxy.admin.model import Client
from hproxy.auth import Account
from hproxy.protocols.mysql.auth import Secret
from hproxy.protocols.mysql.constants import (
    Capability,
    Charset,
    MariadbCapability,
    ServerStatus,
)
from hproxy.protocols.mysql.profile import Profile

__all__ = ["EmbeddedDatabase"]

THREADS = 16
BUDGET_SEC = 10.0
PAGE_BYTES = 4096
MAX_DATABASE_BYTES = 256 << 20
MAX_VALUE_BYTES = 16 << 20
# Clients look at the number to decide what they may ask for.
VERSION = f"8.0.36-hproxy-{__version__}"
CAPABILITIES = (
    Capability.LONG_PASSWORD
    | Capability.FOUND_ROWS
    | Capability.LONG_FLAG
    | Capability.CONNECT_WITH_DB
    | Capability.ODBC
    | Capability.IGNORE_SPACE
    | Capability.PROTOCOL_41
    | Capability.INTERACTIVE
    | Capability.IGNORE_SIGPIPE
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_STATEMENTS
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.DEPRECATE_EOF
    | Capability.QUERY_ATTRIBUTES
)


class EmbeddedDatabase:
    """Implements `hproxy.admin.model.Database`; `close` it when its server is closed."""

    def __init__(
        self,
        name: str,
        accounts: Mapping[str, str],
        script: Iterable[str] = (),
        *,
        schema: str = "demo",
        read_only: bool = False,
        budget_sec: float = BUDGET_SEC,
    ) -> None:
        """`script` fills it, in SQLite's SQL; `name` is what @@hostname says.

        A statement that runs for longer than `budget_sec` is interrupted."""
        self.name = name
        self.profile = Profile(
            VERSION.encode(),
            CAPABILITIES,
            MariadbCapability(0),
            Charset.UTF8MB4,
            ServerStatus.AUTOCOMMIT,
        )
        self._accounts = {
            user.encode(): Account(user.encode(), secret, credential=secret.credential)
            for user, secret in ((user, Secret.parse(text)) for user, text in accounts.items())
        }
        self._schema = schema
        self._read_only = read_only
        self._budget_sec = budget_sec
        self._began = monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="hproxy-embedded-")
        self._path = Path(self._folder.name) / f"{name}.db"
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        # Held open to the end: the last connection that closes would take the journal away under
        # the one that is just opening.
        self._keeper = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._fill(script)

    def _fill(self, script: Iterable[str]) -> None:
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = OFF",
            "BEGIN",
            *script,
            *schema_views(self._schema),
            "COMMIT",
        ):
            self._keeper.execute(statement)

    def find(self, user: bytes) -> Account | None:
        """The account of this name."""
        return self._accounts.get(user)

    async def open(self, client: Client) -> EmbeddedSession:
        """A session of its own connection."""
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(self._executor, self._connect)
        variables = Variables(
            {
                "hostname": self.name,
                "pseudo_thread_id": client.id,
                "read_only": int(self._read_only),
                "super_read_only": int(self._read_only),
                "version": VERSION,
                "version_comment": f"hproxy embedded database, SQLite {sqlite3.sqlite_version}",
                "version_compile_machine": platform.machine(),
                "version_compile_os": platform.system(),
            }
        )
        engine = Engine(connection, self._schema, variables, client, self._status)
        register(connection, engine.functions())
        return EmbeddedSession(engine, self._executor, self._budget_sec)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA max_page_count = {MAX_DATABASE_BYTES // PAGE_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA foreign_keys = ON")
        # From here on waiting for locks is the session's business.
        connection.execute("PRAGMA busy_timeout = 0")
        if self._read_only:
            connection.execute("PRAGMA query_only = ON")
        # No client may reach another file: ATTACH and VACUUM INTO need an attached database.
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        return connection

    def _status(self) -> list[tuple[str, str]]:
        return [("Uptime", str(int(monotonic() - self._began)))]

    def close(self) -> None:
        """Give up threads and files; call it when no session is left."""
        self._executor.shutdown(wait=True)
        self._keeper.close()
        self._folder.cleanup()
