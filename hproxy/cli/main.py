# SPDX-License-Identifier: Apache-2.0
"""The commands of `hproxy`, each one function; a refused configuration or start is exit code 1.

Click itself ends with 2 for a wrong command line. What a command needs is imported when it
runs, so that `hproxy version` and `--help` answer at once.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, get_args

import click

from hproxy import __version__
from hproxy.config.section import LogLevel
from hproxy.errors import ConfigError, HProxyError

if TYPE_CHECKING:
    from hproxy.config.schema import Config

__all__ = ["main"]

EXIT_REFUSED = 1
ELSEWHERE = {"ctl": "hproxy.cli.ctl", "top": "hproxy.cli.top"}
"""Commands with a module of their own."""
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Commands(click.Group):
    """A group that reports our errors as a message, accepts a second name for a command, and
    imports those of `ELSEWHERE` when they are wanted."""

    aliases: ClassVar = {"validate": "check"}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        name = self.aliases.get(name, name)
        if name in ELSEWHERE:
            found: click.Command = getattr(import_module(ELSEWHERE[name]), name)
            return found
        return super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HProxyError as error:
            _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    click.echo(f"hproxy: {message}", err=True)
    sys.exit(EXIT_REFUSED)


def _examples(*lines: str) -> str:
    # \b keeps click from flowing the lines together.
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def config_option(*, required: bool) -> Callable[[Decorated], Decorated]:
    return click.option(
        "-c",
        "--config",
        "path",
        metavar="FILE",
        required=required,
        type=click.Path(path_type=Path),
        envvar="HPROXY_CONFIG",
        show_envvar=True,
        help="Configuration, TOML.",
    )


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_examples(
        "hproxy demo                                      see it work, nothing to install",
        "hproxy run --backend 10.0.0.1:3306               relay port 6033 to one server",
        "hproxy config -m mysql -o hproxy.toml            a file to start from",
        "hproxy check -c hproxy.toml                      is it right?",
        'hproxy explain -c hproxy.toml "SELECT 1"         where would it go?',
        "hproxy ctl status                                how is the running one?",
        "hproxy top                                       watch it",
    ),
)
@click.version_option(__version__, prog_name="hproxy", message="%(prog)s %(version)s")
def main() -> None:
    """A database proxy for MySQL and MariaDB."""


@main.command(
    short_help="Serve until told to stop.",
    epilog=_examples(
        "hproxy run --backend 10.0.0.1:3306,10.0.0.2:3306",
        "hproxy run -c hproxy.toml --listen 127.0.0.1:3307 --log-level debug",
        "hproxy run -c hproxy.toml --test",
    ),
)
@config_option(required=False)
@click.option("--listen", metavar="ADDR", help="HOST:PORT, :PORT, [IPv6]:PORT or /socket/path.")
@click.option(
    "--backend",
    metavar="ADDR[,ADDR...]",
    multiple=True,
    help="Server to connect to; may be repeated. Takes the place of proxy.backends.",
)
@click.option(
    "--auth",
    type=click.Choice(["relay", "table"]),
    help="Who checks passwords: the backend (relay) or the proxy, from mysql_users (table).",
)
@click.option("--log-level", type=click.Choice(get_args(LogLevel), case_sensitive=False))
@click.option(
    "--admin", metavar="ADDR", help="Admin port; '' for none. Takes the place of admin.address."
)
@click.option(
    "--http", metavar="ADDR", help="HTTP API; '' for none. Takes the place of http.address."
)
@click.option(
    "--initial", is_flag=True, help="Start from the file: what operators saved is set aside."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes that serve clients. Takes the place of server.worker_threads.",
)
@click.option("--single", is_flag=True, help="Serve in this one process.")
@click.option(
    "-d", "--daemon", is_flag=True, default=None, help="Go on in the background once it serves."
)
@click.option("-p", "--pid-file", metavar="FILE", help="File for the process id.")
@click.option(
    "-e", "--error-log", metavar="FILE", help="File that takes stdout and stderr with --daemon."
)
@click.option(
    "-u", "--upgrade", is_flag=True, help="Take over from the service that runs: then QUIT it."
)
@click.option(
    "--reload", is_flag=True,
    help="With --upgrade: what has changed in the file counts. By default what runs goes on.",
)  # fmt: skip
@click.option("--upgrade-sock", metavar="FILE", help="Unix socket where the two meet.")
@click.option("-t", "--test", is_flag=True, help="Load everything, then exit without serving.")
def run(
    path: Path | None,
    test: bool,
    initial: bool,
    single: bool,
    upgrade: bool,
    reload: bool,
    **flags: object,
) -> None:
    """Serve until told to stop (SIGTERM or Ctrl-C).

    Settings come from defaults, the file, HPROXY_* variables and these flags; later wins.
    """
    if single and upgrade:
        raise click.UsageError("--upgrade is for a service of processes: leave out --single")
    if reload and not upgrade:
        raise click.UsageError("--reload is for --upgrade: a start reads the file anyway")
    from hproxy.config.load import load_config
    from hproxy.process.activation import given_sockets
    from hproxy.process.notify import Notifier

    # What systemd passed, before anything forks; its sockets go over flags and file.
    notifier, given = Notifier.from_environ(os.environ), given_sockets(os.environ)
    flags |= given.flags()
    config = load_config(path, flags, os.environ)
    config.require_runnable()
    from hproxy.process.origin import Origin
    from hproxy.process.outside import Outside
    from hproxy.telemetry import log

    if test:
        _try_certificates(config)
        _show_doubts(path, config)
        click.echo("Server Test passed, exiting")
        return

    outside = Outside(
        config.server.daemon, notifier=notifier, given=given, upgrade=upgrade, reload=reload
    )
    if outside.dropping:  # the folder of root: the default of another user differs
        flags["server.data_dir"] = str(config.server.state_dir)
        config = load_config(path, flags, os.environ)
    with outside.started(config):
        log.configure(config.logging)
        _warn(config)
        origin = Origin(path, flags)
        # Imported here: the angel, which is alive for as long as the service, needs no more.
        if single:
            from hproxy.process.single import serve

            status = serve(config, origin, outside, initial=initial)
        else:
            from hproxy.process.angel import guard

            workers = config.server.worker_threads or len(os.sched_getaffinity(0))
            status = guard(config, origin, outside, initial=initial, workers=workers)
    sys.exit(status)


def _warn(config: Config) -> None:
    from hproxy.telemetry import log

    dormant = config.dormant_keys()
    if dormant:
        log.get_logger("config").warning(
            "accepted but without effect in this version", keys=", ".join(dormant)
        )


@main.command(
    short_help="Check a configuration file.",
    epilog=_examples("hproxy check -c hproxy.toml", "hproxy validate -c hproxy.toml  (the same)"),
)
@config_option(required=True)
def check(path: Path) -> None:
    """Check a configuration file: every mistake as FILE:LINE: KEY: MESSAGE (HINT).

    Exit code 0 when `hproxy run` would accept it, 1 when not. What is allowed but most likely
    not meant is a warning and changes no exit code. HPROXY_* variables count, as they would for
    `run`. A file for a mode that this version does not serve can be checked too.
    """
    from hproxy.config.load import load_config

    try:
        config = load_config(path, {}, os.environ)
        _try_certificates(config)
    except ConfigError as error:
        for finding in error.findings:
            click.echo(str(finding if finding.source else replace(finding, source=str(path))))
        sys.exit(EXIT_REFUSED)
    click.echo(f"{path}: ok ({_summary(config)})")
    dormant = config.dormant_keys()
    if dormant:
        keys = ", ".join(dormant)
        click.echo(f"{path}: accepted but without effect in this version: {keys}", err=True)
    _show_doubts(path, config)


def _show_doubts(path: Path | None, config: Config) -> None:
    """What is allowed and most likely not meant, on stderr."""
    for doubt in config.warnings():
        source = doubt.source or str(path or "hproxy")
        click.echo(f"warning: {replace(doubt, source=source)}", err=True)


@main.command(
    short_help="Tell where a statement would go, and why.",
    epilog=_examples(
        'hproxy explain -c hproxy.toml "SELECT * FROM t WHERE id = 1" --user app',
        'hproxy explain -c proxysql.cnf --user app --schema shop "UPDATE t SET a = 1"',
    ),
)
@config_option(required=True)
@click.argument("sql")
@click.option("--user", default="", metavar="NAME", help="Account whose session sends it.")
@click.option("--schema", default="", metavar="NAME", help="Instead of the account's own.")
@click.option("--client", default="", metavar="ADDRESS", help="Where the client is.")
def explain(path: Path, sql: str, user: str, schema: str, client: str) -> None:
    """Tell where a statement would go under a configuration file, and why: the digest, each rule
    that matches, the hostgroup.

    Nothing is run and no proxy is needed. Of a proxy that runs, and may have been changed since,
    ask the admin port: EXPLAIN ROUTE <sql> AS user@schema.
    """
    from hproxy.config.load import load_config
    from hproxy.runtime.offline import scene
    from hproxy.session import explaining

    config = load_config(path, {}, os.environ)
    config.require_runnable()
    steps = explaining.explain(scene(config), sql, user, schema, client)
    width = max(len(step) for step, _ in steps)
    for step, detail in steps:
        click.echo(f"{step:<{width}}  {detail}")


def _try_certificates(config: Config) -> None:
    """Load what [tls] names as serving would; nothing is made or written."""
    from hproxy.net.tls import backend_context, client_context

    tls = config.tls
    if tls.cert is not None and tls.client != "off":
        client_context(tls.cert, tls.key, tls.ca, tls.min_version)
    backend_context(
        tls.backend,
        ca=tls.backend_ca,
        cert=tls.backend_cert,
        key=tls.backend_key,
        min_version=tls.min_version,
    )


def _summary(config: Config) -> str:
    proxy = config.proxy
    if proxy.mode == "mysql":
        backends = len(config.servers)
        plural = "" if backends == 1 else "s"
        return (
            f"mode mysql on {config.server.listen_addr}, {backends} backend{plural}, "
            f"auth {config.auth_mode}"
        )
    return f"mode {proxy.mode}, which `hproxy run` does not serve yet in this version"


@main.command(
    short_help="See it work, nothing to install.",
    epilog=_examples("hproxy demo", "hproxy demo --once --listen 127.0.0.1:0"),
)
@click.option("--once", is_flag=True, help="End after the burst of queries instead of staying up.")
@click.option("--listen", metavar="ADDR", default=None, help="Where the proxy listens.")
def demo(once: bool, listen: str | None) -> None:
    """Two small servers, the proxy in front of them, real queries, and what went where."""
    from hproxy.cli import demo as show

    sys.exit(show.run(once=once, listen=listen))


@main.command()
def version() -> None:
    """Versions of hproxy and of what it runs on."""
    from importlib.metadata import version as installed

    click.echo(f"hproxy {__version__}")
    click.echo(f"python {platform.python_version()}")
    click.echo(f"uvloop {installed('uvloop')}")


@main.command(
    short_help="Write a commented configuration file.",
    epilog=_examples("hproxy config -m mysql > hproxy.toml", "hproxy config -o hproxy.toml"),
)
@click.option("-m", "--mode", type=click.Choice(["mysql"]), default="mysql", show_default=True)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Instead of stdout."
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def config(mode: str, output: Path | None, force: bool) -> None:
    """Write a commented configuration file with every option and its default."""
    from hproxy.config.document import template

    text = template()
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _refuse(f"{output} is there already (--force replaces it)")
    except OSError as error:
        _refuse(f"{output} cannot be written: {error.strerror}")
    click.echo(f"wrote {output} ({mode} mode)", err=True)


if __name__ == "__main__":
    main()
