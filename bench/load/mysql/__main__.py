# SPDX-License-Identifier: Apache-2.0
"""The command `python -m bench.load.mysql`: its options."""

import signal
import sys
from pathlib import Path
from typing import Any

import click

from bench.load.errors import BenchError
from bench.load.mysql import benchmark, workloads


def _names(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _numbers(context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    numbers = _names(context, option, value)
    if not all(number.isdigit() and 0 < int(number) <= 1024 for number in numbers):
        raise click.BadParameter("expected numbers from 1 to 1024, separated by commas")
    return tuple(int(number) for number in numbers)


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.option("--server", default="mariadb", help="mariadb, mysql9 (of ci/services) or HOST:PORT")
@click.option(
    "--workloads",
    default=",".join(workloads.DEFAULT),
    callback=_names,
    help="also: update_index, insert, delete; any of sysbench's with _prepared",
)
@click.option("--threads", default="8", callback=_numbers, help="of sysbench; several: 1,8,64")
@click.option("--prepared", is_flag=True, help="prepared statements in all of sysbench's workloads")
@click.option("--rounds", default=5, type=click.IntRange(1, 50))
@click.option("--seconds", default=5.0, type=click.FloatRange(0.5, 300), help="of each run")
@click.option("--idle", default=1000, type=click.IntRange(1, 10_000), help="idle clients")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=HOST:PORT[,pid=N]",
    help="measure this too; without a pid, a local listener's process is looked up",
)
@click.option(
    "--pool",
    default=32,
    type=click.IntRange(1, 10_000),
    help="connections to the database that proxies which multiplex may open per hostgroup",
)
@click.option(
    "--proxysql",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="start this ProxySQL and measure it too",
)
@click.option("--mysqlrouter", is_flag=True, help="start MySQL Router and measure it too")
@click.option("--second-haproxy", is_flag=True, help="HAProxy twice: shows how far noise reaches")
@click.option("--hproxy/--no-hproxy", default=True, help="measure hproxy, multiplexing")
@click.option("--session/--no-session", default=True, help="measure it with sessions that do not")
@click.option(
    "--rules",
    multiple=True,
    type=click.IntRange(1, 100_000),
    help="measure it with this many query rules as well; may be repeated",
)
@click.option("--hproxy-options", default="", help="more options for `hproxy run`, in one string")
@click.option("--syscalls", is_flag=True, help="count system calls too, in runs of their own")
@click.option(
    "--pin/--no-pin", default=True, help="client and database on one CPU, proxy on another"
)
@click.option(
    "--quiet-wait",
    default=60.0,
    type=click.FloatRange(0, 3600),
    help="seconds to wait for a quiet machine, all waits together",
)
@click.option("--json", type=click.Path(dir_okay=False, path_type=Path), help="write it all there")
@click.option("--budgets", is_flag=True, help="measure what hproxy aims at, and compare")
@click.option("--quick", is_flag=True, help="the gate of CI: four minutes, exit 1 when it fails")
def main(**options: Any) -> None:
    """Measure proxies in front of one MySQL or MariaDB server, side by side."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        passed = benchmark.run(benchmark.Settings(**options))
    except BenchError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
