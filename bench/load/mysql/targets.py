# SPDX-License-Identifier: Apache-2.0
"""What is measured: the database itself and the proxies in front of it.

Every proxy the benchmark starts has one thread (or one worker), keeps no log of connections, and
listens on a loopback port of the benchmark's own range.
"""

import dataclasses
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.load import proc
from bench.load.children import Children
from bench.load.errors import BenchError
from bench.load.mysql.client import Address
from bench.load.mysql.server import answers
from bench.load.sample import DIRECT, HAPROXY, HPROXY
from ci.servers.mysql9 import MySQL9

REPOSITORY = Path(__file__).resolve().parents[3]
MAX_PAIRS = 9_800  # two descriptors each out of the usual 20,000, some left for the rest

HAPROXY_CONFIG = """
global
    nbthread 1
    maxconn {pairs}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{port} maxconn {pairs}
    server database {host}:{database_port}
"""

HPROXY_CONFIG = """
[server]
max_connections = {pairs}
worker_threads = 1
[logging]
level = "error"
[proxy]
mode = "mysql"
[[mysql_servers]]
hostname = "{host}"
port = {database_port}
max_connections = {pairs}
"""

MYSQLROUTER_CONFIG = """
[DEFAULT]
logging_folder={folder}
runtime_folder={folder}
data_folder={folder}
plugin_folder={plugins}
max_total_connections={pairs}
[logger]
level=WARNING
[io]
threads=1
[routing:bench]
bind_address=127.0.0.1
bind_port={port}
destinations={host}:{database_port}
routing_strategy=first-available
protocol=classic
client_ssl_mode=DISABLED
server_ssl_mode=DISABLED
"""


@dataclasses.dataclass(slots=True)
class Target:
    """Something clients can be pointed at."""

    name: str
    address: Address
    pid: int | None = None  # None: the database itself, or a proxy on another machine
    # Starts it anew; None for what the benchmark did not start.
    restart: Callable[[], None] | None = None
    # How it ended, when it has.
    last_words: Callable[[], str | None] = lambda: None

    def pids(self) -> list[int]:
        """Give the processes of this proxy; a supervisor and its workers are one."""
        return [] if self.pid is None else proc.tree(self.pid)


class Launcher:
    """Starts proxies in front of one database."""

    def __init__(self, children: Children, database: Address) -> None:
        self._children = children
        self._database = database

    def direct(self) -> Target:
        """Give the database without anything in between."""
        return Target(DIRECT, self._database)

    def haproxy(self, name: str = HAPROXY) -> Target:
        """Start HAProxy in TCP mode: the price of relaying bytes in C."""
        program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if program is None:
            raise BenchError("haproxy is missing: apt-get install haproxy")
        port = self._children.free_port()
        config = self._write(f"{name}.cfg", HAPROXY_CONFIG, port)
        return self._start(name, port, [program, "-db", "-f", str(config)])

    def hproxy(self, options: str = "") -> Target:
        """Start this repository's proxy."""
        program = Path(sys.executable).with_name("hproxy")
        if not program.exists():
            raise BenchError(f"{program} is missing: make venv native")
        port = self._children.free_port()
        config = self._write("hproxy.toml", HPROXY_CONFIG, port)
        argv = [str(program), "run", "-c", str(config), "--listen", f"127.0.0.1:{port}"]
        return self._start(HPROXY, port, argv + shlex.split(options))

    def mysqlrouter(self) -> Target:
        """Start MySQL Router, which ci/services unpacks together with MySQL 9."""
        program = MySQL9.tree / "wrappers/mysqlrouter"
        if not program.exists():
            raise BenchError("mysqlrouter is missing: `ci/services up` unpacks it")
        plugins = MySQL9.tree / "usr/lib/mysqlrouter/plugin"
        port = self._children.free_port()
        config = self._write("mysqlrouter.conf", MYSQLROUTER_CONFIG, port, plugins=plugins)
        return self._start("mysqlrouter", port, [str(program), "-c", str(config)])

    def extra(self, text: str) -> Target:
        """Parse NAME=HOST:PORT[,pid=N]; without a pid a local listener is looked up."""
        name, _, rest = text.partition("=")
        where, _, pid_text = rest.partition(",pid=")
        host, _, port = where.rpartition(":")
        if not (name and host and port.isdigit() and (not pid_text or pid_text.isdigit())):
            raise BenchError(f"--target {text}: expected NAME=HOST:PORT[,pid=N]")
        address = dataclasses.replace(self._database, host=host, port=int(port))
        if not answers(address):
            raise BenchError(f"--target {name}: nobody answers {address.user}@{address}")
        local = host.startswith("127.") or host == "localhost"
        found = proc.listener_pid(int(port)) if local else None
        return Target(name, address, int(pid_text) if pid_text else found)

    def _write(self, file: str, template: str, port: int, **more: object) -> Path:
        path = self._children.folder / file
        path.write_text(
            template.format(
                port=port,
                host=self._database.host,
                database_port=self._database.port,
                pairs=MAX_PAIRS,
                folder=self._children.folder,
                **more,
            )
        )
        return path

    def _start(self, name: str, port: int, argv: list[str]) -> Target:
        address = dataclasses.replace(self._database, host="127.0.0.1", port=port)

        def launch() -> subprocess.Popen[str]:
            return self._children.start(name, argv, lambda: answers(address), cwd=REPOSITORY)

        process = launch()
        target = Target(name, address, process.pid)

        def restart() -> None:
            nonlocal process
            self._children.stop(process)
            process = launch()
            target.pid = process.pid

        target.restart = restart
        target.last_words = lambda: self._children.last_words(name, process)
        return target
