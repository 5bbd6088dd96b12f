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
from bench.load.mysql import configs
from bench.load.mysql.client import Address
from bench.load.mysql.server import answers, usual_plugin
from bench.load.sample import DIRECT, HAPROXY, HPROXY, HPROXY_SESSION, MYSQLROUTER, PROXYSQL
from ci.servers.mysql9 import MySQL9

REPOSITORY = Path(__file__).resolve().parents[3]
MAX_PAIRS = 9_800  # two descriptors each out of the usual 20,000, some left for the rest


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
    """Starts proxies in front of one database; `pool` limits what a hostgroup may open to it."""

    def __init__(self, children: Children, database: Address, pool: int) -> None:
        self._children = children
        self._database = database
        self._pool = pool

    def direct(self) -> Target:
        """Give the database without anything in between."""
        return Target(DIRECT, self._database)

    def haproxy(self, name: str = HAPROXY) -> Target:
        """Start HAProxy in TCP mode: the price of relaying bytes in C."""
        program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if program is None:
            raise BenchError("haproxy is missing: apt-get install haproxy")
        port = self._children.free_port()
        config = self._write(f"{name}.cfg", configs.HAPROXY_CONFIG, port)
        return self._start(name, port, [program, "-db", "-f", str(config)])

    def hproxy(self, options: str = "") -> Target:
        """Start this repository's proxy: accounts of its own, multiplexing, read/write split."""
        plugin = usual_plugin(self._database)
        return self._hproxy(HPROXY, configs.HPROXY_CONFIG, options, auth_plugin=plugin)

    def hproxy_rules(self, count: int) -> Target:
        """Start it with `count` query rules: the last one matches, the others are for nobody."""
        plugin = usual_plugin(self._database)
        template = configs.HPROXY_CONFIG + configs.hproxy_rules(count)
        return self._hproxy(f"{HPROXY}+{count}", template, auth_plugin=plugin)

    def hproxy_session(self) -> Target:
        """Start it once more: the backend checks passwords, a connection for every client."""
        return self._hproxy(HPROXY_SESSION, configs.HPROXY_SESSION_CONFIG)

    def proxysql(self, program: Path) -> Target:
        """Start a ProxySQL that somebody installed, with hproxy's rules."""
        port = self._children.free_port()
        config = self._write(
            "proxysql.cnf",
            configs.PROXYSQL_CONFIG,
            port,
            admin_port=self._children.free_port(),
            pgsql_port=self._children.free_port(),
            auth_plugin=usual_plugin(self._database),
        )
        data = self._children.folder / "proxysql"
        data.mkdir()
        argv = [str(program), "-f", "--initial", "-c", str(config), "-D", str(data)]
        return self._start(PROXYSQL, port, argv)

    def mysqlrouter(self) -> Target:
        """Start MySQL Router, which ci/services unpacks together with MySQL 9."""
        program = MySQL9.tree / "wrappers/mysqlrouter"
        if not program.exists():
            raise BenchError("mysqlrouter is missing: `ci/services up` unpacks it")
        plugins = MySQL9.tree / "usr/lib/mysqlrouter/plugin"
        port = self._children.free_port()
        config = self._write("mysqlrouter.conf", configs.MYSQLROUTER_CONFIG, port, plugins=plugins)
        return self._start(MYSQLROUTER, port, [str(program), "-c", str(config)])

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

    def _hproxy(self, name: str, template: str, options: str = "", **more: object) -> Target:
        program = Path(sys.executable).with_name("hproxy")
        if not program.exists():
            raise BenchError(f"{program} is missing: make venv native")
        port = self._children.free_port()
        config = self._write(f"{name}.toml", template, port, **more)
        argv = [str(program), "run", "--single", "-c", str(config)]
        argv += ["--listen", f"127.0.0.1:{port}"]
        return self._start(name, port, argv + shlex.split(options))

    def _write(self, file: str, template: str, port: int, **more: object) -> Path:
        path = self._children.folder / file
        path.write_text(
            template.format(
                port=port,
                host=self._database.host,
                database_port=self._database.port,
                user=self._database.user,
                password=self._database.password,
                pairs=MAX_PAIRS,
                pool=self._pool,
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
