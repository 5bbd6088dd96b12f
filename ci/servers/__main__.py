# SPDX-License-Identifier: Apache-2.0
"""The command behind `ci/services`: up, down, status, env."""

from __future__ import annotations

import argparse
import fcntl
import shlex
import sys
import time

from ci.servers.clusters import Galera, Group
from ci.servers.daemon import ServiceError
from ci.servers.haproxy import HAProxy
from ci.servers.mariadb import MariaDB
from ci.servers.mysql9 import MySQL9
from ci.servers.place import shared_folder
from ci.servers.replication import Primary, Replica1, Replica2

Service = MariaDB | MySQL9 | HAProxy | Primary | Replica1 | Replica2 | Group | Galera

# In the order they start: HAProxy is up when the databases greet through it.
USUAL: tuple[type[Service], ...] = (MariaDB, MySQL9, HAProxy)
ON_DEMAND: tuple[type[Service], ...] = (Primary, Replica1, Replica2, Group, Galera)
SERVICES = USUAL + ON_DEMAND
GROUPS = {
    "usual": {service.name for service in USUAL},
    "replication": {service.name for service in ON_DEMAND},
    "all": {service.name for service in SERVICES},
}
WORDS = ", ".join([service.name for service in SERVICES] + [*GROUPS])


def up(services: list[Service]) -> int:
    """Start what does not answer yet; returns when all do."""
    for service in services:
        began = time.monotonic()
        service.up()
        took = time.monotonic() - began
        print(f"{service.name:8} up after {took:4.1f} s  {_address(service)}")
    return 0


def down(services: list[Service]) -> int:
    """Stop them; their data stays for the next time."""
    for service in reversed(services):
        print(f"{service.name:8} {'stopped' if service.down() else 'was not running'}")
    return 0


def status(services: list[Service]) -> int:
    """Say what answers; the exit code is 1 when something does not."""
    answering = [service.answers() for service in services]
    for service, answers in zip(services, answering, strict=True):
        print(f"{service.name:8} {'up' if answers else 'down':4}  {_address(service)}")
    return 0 if all(answering) else 1


def env(services: list[Service]) -> int:
    """Print shell lines: eval "$(ci/services env)"."""
    for service in services:
        for name, value in service.exports().items():
            print(f"export {name}={shlex.quote(value)}")
    return 0


def _address(service: Service) -> str:
    return "  ".join(value for value in service.exports().values() if value[0].isdigit())


def main() -> int:
    commands = {function.__name__: function for function in (up, down, status, env)}
    parser = argparse.ArgumentParser(prog="ci/services", description=__doc__)
    parser.add_argument("command", choices=commands)
    parser.add_argument("service", nargs="*", help=WORDS)
    arguments = parser.parse_args()
    # What is started on demand is found, and stopped, without being named.
    default = ["usual"] if arguments.command in ("up", "status") else ["all"]
    names: set[str] = set()
    for word in arguments.service or default:
        names |= GROUPS.get(word, {word})
    if unknown := names - GROUPS["all"]:
        parser.error(f"unknown service: {', '.join(sorted(unknown))}")
    services = [kind() for kind in SERVICES if kind.name in names]

    shared_folder().mkdir(parents=True, exist_ok=True)
    try:
        # Two `up` at once would initialise the same data folder.
        with (shared_folder() / "lock").open("w") as lock:
            if arguments.command in ("up", "down"):
                fcntl.flock(lock, fcntl.LOCK_EX)
            return commands[arguments.command](services)
    except ServiceError as error:
        print(f"ci/services: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
