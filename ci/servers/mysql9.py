# SPDX-License-Identifier: Apache-2.0
"""MySQL 9, unpacked once from Debian sid into the cache folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from ci.servers import sid
from ci.servers.daemon import run
from ci.servers.database import Database
from ci.servers.place import MYSQL9_PORT, shared_folder

PACKAGES = ("mysql-server-core", "mysql-client-core", "mysql-router")
PROGRAMS = {
    "mysql": "usr/bin/mysql",
    "mysqldump": "usr/bin/mysqldump",
    "mysqlslap": "usr/bin/mysqlslap",
    "mysqld": "usr/sbin/mysqld",
    "mysqlrouter": "usr/bin/mysqlrouter",
}


class MySQL9(Database):
    """The oracle for caching_sha2_password; it no longer knows mysql_native_password."""

    name = "mysql"
    port = MYSQL9_PORT
    # Bump the number when PACKAGES or PROGRAMS change: an existing folder is taken as it is.
    tree = shared_folder() / "mysql9-1"

    def install(self) -> None:
        if not self.tree.exists():
            sid.unpack(self.tree, PACKAGES, PROGRAMS)

    def client(self) -> str:
        return str(self.tree / "wrappers/mysql")

    def ca(self) -> Path:
        return self.data / "ca.pem"

    def command(self) -> list[str]:
        usr = self.tree / "usr"
        return [
            str(self.tree / "wrappers/mysqld"),
            f"--defaults-file={self.folder / 'cnf'}",
            f"--basedir={usr}",
            f"--lc-messages-dir={usr}/share/mysql",
            f"--character-sets-dir={usr}/share/mysql/charsets",
            f"--plugin-dir={usr}/lib/mysql/plugin",
        ]

    def initialise(self) -> None:
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        run([*self.command(), f"--datadir={new}", "--initialize-insecure"], as_service=True)
        new.rename(self.data)

    def exports(self) -> dict[str, str]:
        wrappers = self.tree / "wrappers"
        return super().exports() | {
            "HPROXY_TEST_MYSQLDUMP": str(wrappers / "mysqldump"),
            "HPROXY_TEST_MYSQLROUTER": str(wrappers / "mysqlrouter"),
        }
