# SPDX-License-Identifier: Apache-2.0
"""What MariaDB and MySQL have in common: a folder, a socket, accounts, a login that answers."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from ci.servers.daemon import Daemon, ServiceError, run
from ci.servers.place import HERE, HOST, PASSWORD, USER, make_folder, shared_folder

START_S = 90.0


class Database(ABC):
    """One server; `<settings>.cnf` and `<settings>.sql` beside this file configure it."""

    name: ClassVar[str]
    port: ClassVar[int]
    settings: ClassVar[str] = ""
    """The name if empty."""

    def __init__(self) -> None:
        self.files = self.settings or self.name
        self.folder = shared_folder() / self.name
        self.data = self.folder / "data"
        self.socket = self.folder / "sock"
        self.daemon = Daemon(self.folder)

    @abstractmethod
    def install(self) -> None:
        """Make the programs available, or raise with the command that does."""

    @abstractmethod
    def initialise(self) -> None:
        """Create the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server program and the options that are its own."""

    @abstractmethod
    def client(self) -> str:
        """The path of its command line client."""

    @abstractmethod
    def ca(self) -> Path:
        """What verifies its TLS certificate."""

    def exports(self) -> dict[str, str]:
        """What tests need to know."""
        prefix = f"HPROXY_TEST_{self.name.upper()}"
        return {
            prefix: f"{HOST}:{self.port}",
            f"{prefix}_SOCKET": str(self.socket),
            f"{prefix}_CA": str(self.ca()),
            f"{prefix}_CLIENT": self.client(),
        }

    def answers(self) -> bool:
        """Whether the account every test may count on can log in over TCP."""
        return self.login(
            f"--host={HOST}", f"--port={self.port}", f"--user={USER}", f"--password={PASSWORD}"
        )

    def login(self, *options: str, statements: str = "SELECT 1") -> bool:
        """Whether the client can log in with `options` and run `statements`."""
        try:
            run([self.client(), "--no-defaults", *options], stdin=statements)
        except ServiceError:
            return False
        return True

    def accepts(self, *root: str) -> bool:
        """Whether accounts can be made."""
        return self.login(*root)

    def up(self) -> None:
        self.install()
        if self.daemon.pid is None:
            if self.answers():  # another user's, with the same accounts
                return
            self.start()
        root = ["--user=root", f"--socket={self.socket}"]
        self.daemon.wait_until(lambda: self.accepts(*root), START_S)
        accounts = (HERE / f"{self.files}.sql").read_text()
        run([self.client(), "--no-defaults", *root], stdin=accounts)
        self.daemon.wait_until(self.answers, START_S)

    def start(self) -> None:
        make_folder(self.folder)
        shutil.copy(HERE / f"{self.files}.cnf", self.folder / "cnf")
        # Renamed only when complete: an interrupted initialisation is begun again.
        if not self.data.exists():
            self.initialise()
        self.daemon.start(
            [
                *self.command(),
                f"--datadir={self.data}",
                f"--socket={self.socket}",
                f"--pid-file={self.folder / 'server.pid'}",
                f"--port={self.port}",
            ]
        )

    def down(self) -> bool:
        return self.daemon.stop()
