# SPDX-License-Identifier: Apache-2.0
"""A MariaDB primary with two replicas (GTID), for failover tests; started when asked for.

    primary :23310 ──> replica1 :23311 (read_only)
                  └──> replica2 :23312 (read_only)

`up` makes them this again, whatever a test left behind: a replica that cannot follow (it was
promoted, and has written) is made anew from the primary's binary log.
"""

from __future__ import annotations

import shutil
from typing import ClassVar

from ci.servers.daemon import ServiceError, run, wait_until
from ci.servers.mariadb import MariaDB
from ci.servers.place import HOST, PRIMARY_PORT, REPLICA1_PORT, REPLICA2_PORT

FOLLOW_S = 30.0

FOLLOW = f"""
STOP SLAVE;
SET GLOBAL read_only = ON;
CHANGE MASTER TO master_host = '{HOST}', master_port = {PRIMARY_PORT}, master_user = 'repl',
  master_password = 'repl', master_use_gtid = slave_pos, master_connect_retry = 1,
  master_delay = 0, master_demote_to_slave = 0;
START SLAVE;
"""


class Member(MariaDB):
    """One of the three; `hproxy`, `app`, `monitor` are its accounts."""

    settings = "replication"
    number: ClassVar[int]

    def command(self) -> list[str]:
        return [*super().command(), f"--server-id={self.number}"]

    def ask(self, statements: str) -> str:
        """Run statements as root; what the client prints. Raises ServiceError."""
        root = ("--no-defaults", "--user=root", f"--socket={self.socket}")
        return run([self.client(), *root, "--batch"], stdin=statements)


class Primary(Member):
    """Where is written at first."""

    name = "primary"
    port = PRIMARY_PORT
    number = 10

    def up(self) -> None:
        super().up()
        if self.daemon.pid is not None:
            self.ask("STOP ALL SLAVES; RESET SLAVE ALL; SET GLOBAL read_only = OFF")


class Replica(Member):
    """Follows the primary. Nobody writes to it before it does, not even when it starts anew."""

    def command(self) -> list[str]:
        return [*super().command(), "--read-only=ON"]

    def up(self) -> None:
        super().up()
        if self.daemon.pid is None:
            return  # somebody else's
        if not self._follow():
            self.down()
            shutil.rmtree(self.data)
            super().up()
            if not self._follow():
                status = self.ask("SHOW SLAVE STATUS\\G")
                raise ServiceError(f"{self.name} does not follow the primary:\n{status}")

    def _follow(self) -> bool:
        """Whether it has come to where the primary is, within the time."""
        try:
            self.ask(FOLLOW)
        except ServiceError:
            return False
        own = position(self)
        wanted = position(Primary())  # read last: it may be written to meanwhile
        if sequence(own) > sequence(wanted) or (
            sequence(own) == sequence(wanted) and own != wanted
        ):
            return False  # it has written what the primary never had; waiting would not tell
        waiting = f"SELECT MASTER_GTID_WAIT('{wanted}', {FOLLOW_S})"
        if self.ask(waiting).split()[-1] != "0":
            return False
        return wait_until(self._runs, FOLLOW_S)

    def _runs(self) -> bool:
        status = self.ask("SHOW SLAVE STATUS\\G")
        return all(f"Slave_{thread}_Running: Yes" in status for thread in ("IO", "SQL"))


def position(member: Member) -> str:
    """The last transaction it has, as domain-server-sequence; "" for none."""
    return [*member.ask("SELECT @@global.gtid_current_pos").split("\n"), ""][1]


def sequence(gtid: str) -> int:
    return int(gtid.rpartition("-")[2] or 0)


class Replica1(Replica):
    name = "replica1"
    port = REPLICA1_PORT
    number = 11


class Replica2(Replica):
    name = "replica2"
    port = REPLICA2_PORT
    number = 12
