# SPDX-License-Identifier: Apache-2.0
"""A real database server the tests run against, as `ci/services env` describes it."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, the account with all privileges, and its own client program."""

    name: str  # "mariadb" or "mysql"
    host: str
    port: int
    user: str
    password: str
    socket: Path
    ca: Path  # verifies its TLS certificate
    client: Path

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def answers(self) -> bool:
        """Whether something greets on its port."""
        try:
            with socket.create_connection((self.host, self.port), ANSWER_S) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False


def find_server(name: str) -> Server:
    """The server called `name`, from the environment or else from `ci/services env`."""
    prefix = f"HPROXY_TEST_{name.upper()}"
    known = os.environ if prefix in os.environ else services_environment()
    host, _, port = known[prefix].rpartition(":")
    return Server(
        name=name,
        host=host,
        port=int(port),
        user="hproxy",
        password="hproxy",
        socket=Path(known[f"{prefix}_SOCKET"]),
        ca=Path(known[f"{prefix}_CA"]),
        client=Path(known[f"{prefix}_CLIENT"]),
    )


@cache
def services_environment() -> Mapping[str, str]:
    """The variables `ci/services env` exports."""
    done = subprocess.run(
        [REPOSITORY / "ci/services", "env"], capture_output=True, text=True, check=True
    )
    words = [shlex.split(line) for line in done.stdout.splitlines()]
    return dict(word.split("=", 1) for _, word in words)
