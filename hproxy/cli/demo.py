# SPDX-License-Identifier: Apache-2.0
"""`hproxy demo`: two small databases, the proxy in front, real queries, and what went where.

    clients ── MySQL protocol ──> Runtime (table mode) ──> writer, reader (SQLite behind Server)
    operators ── its SQL ───────> Head ──┘

All in one process and on loopback; nothing to install, nothing left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import click
import uvloop

from hproxy import __version__
from hproxy.admin import Server
from hproxy.cli.burst import Burst, Share, run_burst
from hproxy.cli.demo_data import ACCOUNTS, PASSWORD, SCHEMA, databases
from hproxy.config.address import Address, AddressError, parse_listen
from hproxy.config.schema import Config, LoggingOptions
from hproxy.errors import ConfigError, ConfigFinding
from hproxy.net.loop import ReactorLoop
from hproxy.process.boot import open_store
from hproxy.process.head import Head, Origin
from hproxy.runtime import Runtime
from hproxy.telemetry import log as logs

__all__ = ["run"]

USUAL = Address("127.0.0.1", 6033)
DRAIN_SEC = 1.0


def run(*, once: bool, listen: str | None) -> int:
    """Show it; the exit status. Raises ConfigError for an address that cannot be had."""
    logs.configure(LoggingOptions(level="warn"))
    return uvloop.run(_show(once, _address(listen)))


def _address(listen: str | None) -> Address:
    """Where the proxy shall listen: as told, else the usual port, else any that is free."""
    if listen is not None:
        try:
            return parse_listen(listen)
        except AddressError as error:
            finding = ConfigFinding(
                "flag --listen", "server.listen_addr", str(error), value=listen, hint=error.hint
            )
            raise ConfigError(findings=[finding]) from error
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((USUAL.host, USUAL.port))
        except OSError:
            return Address(USUAL.host, 0)
    return USUAL


async def _show(once: bool, listen: Address) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _stage(listen) as (runtime, servers, head, reactor):
        ends = ("shutdown", "shutdown_slow", "kill")
        runtime.port.control.process |= dict.fromkeys(ends, lambda: _end(stop))
        address = _reachable(runtime)
        _introduce(runtime, servers)
        work = asyncio.ensure_future(run_burst(reactor, address))
        ended = asyncio.ensure_future(stop.wait())
        await asyncio.wait((work, ended), return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            work.cancel()
            await asyncio.wait((work,))
            return 0
        burst = work.result()
        _report(burst, servers)
        if not once:
            _invite(address, _admin(head))
            await ended
        ended.cancel()
        return 1 if once and burst.errors else 0


def _end(stop: asyncio.Event) -> str:
    stop.set()
    return "the demo ends"


@contextlib.asynccontextmanager
async def _stage(listen: Address) -> AsyncIterator[tuple[Runtime, dict[str, Server], Head, object]]:
    """The databases, their servers and the proxy in front, up and then gone again."""
    log = logs.get_logger("demo")
    with tempfile.TemporaryDirectory(prefix="hproxy-demo-") as folder:
        reactor_loop = ReactorLoop()
        found = databases()
        servers = {d.name: Server(d, reactor_loop.reactor, log) for d in found}
        try:
            for server in servers.values():
                server.open()
            config, told = _config(listen, servers, Path(folder)), logs.get_logger("proxy")
            runtime = Runtime(config, told)
            head = Head(runtime, open_store(config, told), Origin(), told)
            try:
                runtime.start()
                await head.start()
                yield runtime, servers, head, reactor_loop.reactor
            finally:
                await runtime.drain(DRAIN_SEC)
                await head.stop()
                await runtime.stop()
        finally:
            for server in servers.values():
                await server.close()
            for database in found:
                database.close()
            reactor_loop.close()


def _config(listen: Address, servers: dict[str, Server], folder: Path) -> Config:
    """What a file for this would say."""
    return Config.model_validate(
        {
            "server": {
                "listen_addr": str(listen),
                "data_dir": folder,
                "max_connections": 1000,
            },
            "admin": {"address": f"{USUAL.host}:0"},
            "http": {"address": ""},
            "mysql_servers": [
                {"hostgroup": group, "hostname": "127.0.0.1", "port": servers[name].port}
                for group, members in ACCOUNTS.values()
                for name in members
            ],
            "mysql_users": [
                {
                    "username": user,
                    "password": PASSWORD,
                    "default_hostgroup": group,
                    "default_schema": SCHEMA,
                }
                for user, (group, _) in ACCOUNTS.items()
            ],
        }
    )


def _reachable(runtime: Runtime) -> Address:
    """Where clients of this machine find it."""
    listen = runtime.config.server.listen
    if listen.path is not None:
        return listen
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    return Address(everywhere.get(listen.host, listen.host), runtime.listener.port)


def _admin(head: Head) -> Address:
    """Where operators find it: any port that is free."""
    assert head.server is not None
    return parse_listen(head.server.listeners.addresses[0])


# -- what is printed ------------------------------------------------------------------------


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _say(text: str = "", **style: object) -> None:
    if style and _colour():
        text = click.style(text, **style)  # type: ignore[arg-type]
    click.echo(text)


def _introduce(runtime: Runtime, servers: dict[str, Server]) -> None:
    _say(f"hproxy {__version__} demo", bold=True)
    backends = ", ".join(f"{name} {server.address}" for name, server in servers.items())
    _say(f"  proxy on {runtime.listener.address}; behind it {backends}")
    _say()


def _report(burst: Burst, servers: dict[str, Server]) -> None:
    heads = ("", "sessions", "queries", "queries/s", "p50 ms", "p99 ms", "sent", "received")
    rows = [_line(name, burst.shares.get(name, Share()), burst.seconds) for name in servers]
    rows.append(_line("together", burst.total, burst.seconds))
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join((first.strip().ljust(widths[0]), *others))
        _say(f"  {line}", bold=row is heads or row is rows[-1])
    _say()
    for user, (_, members) in ACCOUNTS.items():
        spread = ", ".join(
            f"{burst.shares[name].sessions.get(user, 0)} on {name}"
            for name in members
            if name in burst.shares
        )
        _say(f"  user {user:6}  {spread} (hostgroup: {' and '.join(members)})")
    _say("  (clients, proxy and databases share one thread here; `make bench` measures the proxy)")
    _say(f"  errors: {len(burst.errors)}", fg="red" if burst.errors else "green")
    for error in burst.errors[:5]:
        _say(f"    {error}", fg="red")
    _say()


def _line(name: str, share: Share, seconds: float) -> tuple[str, ...]:
    count = len(share.latencies)
    return (
        name,
        str(sum(share.sessions.values())),
        str(count),
        f"{count / seconds:.0f}" if seconds else "-",
        f"{share.percentile_ms(0.50):.2f}",
        f"{share.percentile_ms(0.99):.2f}",
        f"{share.bytes_sent / 1024:.1f} KiB",
        f"{share.bytes_received / 1024:.1f} KiB",
    )


def _invite(address: Address, admin: Address) -> None:
    _say("  connect with:")
    _say(f"    mysql {_where(address)} -udemo -p{PASSWORD}", fg="cyan")
    _say("  and ask it: SELECT @@hostname; SELECT * FROM city;")
    _say("  demo gets either database, writer and reader one each; the reader refuses writes")
    _say("  operate it:")
    _say(f"    mysql {_where(admin)} -uadmin -padmin", fg="cyan")
    _say("  and ask it: SELECT * FROM stats_mysql_query_digest; SHOW PROCESSLIST;")
    _say("              EXPLAIN ROUTE SELECT * FROM city AS demo;")
    _say("  Ctrl-C ends it")
    sys.stdout.flush()


def _where(address: Address) -> str:
    return f"-S{address.path}" if address.is_unix else f"-h{address.host} -P{address.port}"
