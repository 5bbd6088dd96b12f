# SPDX-License-Identifier: Apache-2.0
"""Clusters of one node each, whose members say what they can do; started when asked for.

group   :23313  MySQL 9, Group Replication       galera  :23314  MariaDB, Galera
"""

from __future__ import annotations

from pathlib import Path

from ci.servers.daemon import ServiceError, run
from ci.servers.mariadb import MariaDB
from ci.servers.mysql9 import MySQL9
from ci.servers.place import GALERA_PORT, GROUP_PORT, HERE, HOST

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
STATE = "SELECT member_state FROM performance_schema.replication_group_members"


class Group(MySQL9):
    """Founds its group anew whenever it starts."""

    name = "group"
    port = GROUP_PORT

    def command(self) -> list[str]:
        # What the plugin understands it does not while the data folder is made.
        options = (HERE / "group.options").read_text().split() if self.data.exists() else []
        return [*super().command(), *options]

    def accepts(self, *root: str) -> bool:
        """Until it is ONLINE nothing can be written, no account either."""
        client = [self.client(), "--no-defaults", *root]
        try:
            state = run(client, stdin=STATE).split()[-1]
            if state == "OFFLINE":  # a test has stopped it
                run(client, stdin="START GROUP_REPLICATION")
        except ServiceError:
            return False
        return state == "ONLINE"


class Galera(MariaDB):
    """Bootstraps its cluster whenever it starts, however it ended."""

    name = "galera"
    port = GALERA_PORT

    def install(self) -> None:
        super().install()
        if not PROVIDER.exists():
            raise ServiceError(
                f"{PROVIDER} is missing: sudo apt-get install --no-install-recommends galera-4"
            )

    def start(self) -> None:
        state = self.data / "grastate.dat"
        if state.exists():  # after a kill it fears that another node knows more
            state.write_text(state.read_text().replace("bootstrap: 0", "bootstrap: 1"))
        super().start()

    def command(self) -> list[str]:
        options = []
        if self.data.exists():
            options = [
                "--wsrep-on=ON",
                f"--wsrep-provider={PROVIDER}",
                "--wsrep-cluster-address=gcomm://",
                f"--wsrep-node-address={HOST}",
                f"--wsrep-provider-options=gmcast.listen_addr=tcp://{HOST}:{GALERA_PORT + 100};"
                "gcache.size=8M",
            ]
        return [*super().command(), *options]
