# SPDX-License-Identifier: Apache-2.0
"""MariaDB from Debian's package, with a data folder of its own; never the system service."""

from __future__ import annotations

import shutil
from pathlib import Path

from ci.servers.daemon import find, run
from ci.servers.database import Database
from ci.servers.place import HOST, MARIADB_PORT

CERTIFICATE_DAYS = "3650"


class MariaDB(Database):
    """The oracle for mysql_native_password, client_ed25519 and MariaDB's own extensions."""

    name = "mariadb"
    port = MARIADB_PORT

    def install(self) -> None:
        find("mariadbd", "mariadb-server")

    def client(self) -> str:
        return find("mariadb", "mariadb-client")

    def ca(self) -> Path:
        return self.folder / "certificate.pem"

    def command(self) -> list[str]:
        return [
            find("mariadbd", "mariadb-server"),
            f"--defaults-file={self.folder / 'cnf'}",
            f"--ssl-cert={self.folder / 'certificate.pem'}",
            f"--ssl-key={self.folder / 'key.pem'}",
        ]

    def initialise(self) -> None:
        self._make_certificate()
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        run(
            [
                find("mariadb-install-db", "mariadb-server"),
                f"--defaults-file={self.folder / 'cnf'}",
                f"--datadir={new}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ],
            as_service=True,
        )
        new.rename(self.data)

    def _make_certificate(self) -> None:
        """Self-signed, so it is its own authority; names the address tests connect to."""
        run(
            [
                find("openssl", "openssl"),
                *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", CERTIFICATE_DAYS),
                *("-subj", "/CN=hproxy test MariaDB"),
                *("-addext", f"subjectAltName=IP:{HOST},DNS:localhost"),
                *("-keyout", self.folder / "key.pem"),
                *("-out", self.folder / "certificate.pem"),
            ],
            as_service=True,
        )
