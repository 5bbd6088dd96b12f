# SPDX-License-Identifier: Apache-2.0
"""A real `hproxy run` with its admin port, and those who come to it: operators and clients.

operator ── admin() ──> admin port ┐
                                   ├ one process ──> real servers
client ──── client() ──> port ─────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

from tests.support.console import Admin
from tests.support.proxy import Proxy
from tests.support.server import Server

__all__ = ["Operated", "operated", "sections", "server_row"]

USER = "hproxy"


class Operated(Proxy):
    """Serves, and its admin port is open."""

    number: int
    """The admin port."""

    def __init__(
        self,
        folder: Path,
        sections: Mapping[str, Any] | Path,
        flags: Sequence[str] = (),
        *,
        single: bool = True,
    ) -> None:
        super().__init__(folder, sections, flags, single=single)
        try:
            address = self.wait_for_log("admin port open")["address"]
        except AssertionError:
            self.kill()
            raise
        self.number = int(address.split(";")[0].rpartition(":")[2])

    def connect(self, user: str = "admin", password: str = "admin", **options: Any) -> Any:
        """A connection to the admin port."""
        options = {"autocommit": None, "ssl_disabled": True, "host": "127.0.0.1"} | options
        return pymysql.connect(port=self.number, user=user, password=password, **options)

    @contextmanager
    def admin(
        self, user: str = "admin", password: str = "admin", **options: Any
    ) -> Iterator[Admin]:
        connection = self.connect(user, password, **options)
        try:
            yield Admin(connection)
        finally:
            connection.close()

    @contextmanager
    def client(self, user: str = USER, password: str = USER, **options: Any) -> Iterator[Admin]:
        """A client of the proxy, in database `test`."""
        made: dict[str, Any] = {"host": self.host, "port": self.port, "database": "test"}
        made |= {"user": user, "password": password, "autocommit": True} | options
        connection: Any = pymysql.connect(**made)
        try:
            yield Admin(connection)
        finally:
            connection.close()


def server_row(server: Server, hostgroup: int = 0, **more: Any) -> dict[str, Any]:
    """A row of mysql_servers."""
    return {"hostgroup_id": hostgroup, "hostname": server.host, "port": server.port} | more


def sections(folder: Path, *servers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A configuration of these backends, on free ports, everything it keeps in `folder`."""
    made: dict[str, Any] = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
        "admin": {"address": "127.0.0.1:0"},
        "logging": {"format": "json"},
        "proxy": {"auth": "table", "monitor_username": USER, "monitor_password": USER},
        "mysql_servers": list(servers),
        "mysql_users": [{"username": USER, "password": USER}],
    }
    for name, section in more.items():
        merge = isinstance(section, Mapping) and name in made
        made[name] = {**made[name], **section} if merge else section
    return made


@contextmanager
def operated(folder: Path, *servers: Mapping[str, Any], **more: Any) -> Iterator[Operated]:
    """One that runs, and is ended orderly."""
    with Operated(folder, sections(folder, *servers, **more)) as proxy:
        yield proxy
