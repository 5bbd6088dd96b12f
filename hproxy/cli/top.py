# SPDX-License-Identifier: Apache-2.0
"""`hproxy top`: traffic, backends, pins and slow statements of a running service, live.

    look ── screen ── wait for a key or the interval ── look ...
    unreachable: the screen stays, says so, and it looks again: an upgrade is watched through

On a terminal it has the other screen and gives it back; into a pipe it writes look after look.
Keys: q, ESC leave; space holds the picture; t, c order statements by time or count.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

import click

from hproxy.cli.remote import Remote, remote
from hproxy.cli.top_screen import Look, lines
from hproxy.control.client import Client, explained
from hproxy.errors import AdminError

__all__ = ["look", "top"]

DIGESTS = 1000
PINS = 1000
PIPE_SIZE = (200, 60)
OTHER_SCREEN, OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, TO_END_OF_LINE, TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
ORDERS = {"t": "time", "c": "count"}
AWAY = ("admin.unreachable", "admin.late")
LEAVE = ("q", "\x1b", "\x03", "\x04")


def look(client: Client) -> Look:
    """At a service. Raises AdminError."""
    rows = client.items("/tables/stats_mysql_global")
    counters = {
        row["Variable_Name"]: int(row["Variable_Value"])
        for row in rows
        if str(row["Variable_Value"]).isdigit()
    }
    return Look(
        at=time.monotonic(),
        status=client.get("/status"),
        counters=counters,
        backends=client.items("/backends"),
        digests=client.items("/digests", limit=DIGESTS),
        pins=client.items("/pins", limit=PINS),
    )


@click.command(
    short_help="Watch a running service.",
    epilog="\b\nExamples:\n  hproxy top\n  hproxy top --interval 5\n  hproxy top --once",
)
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, metavar="SEC"
)
@click.option("--once", is_flag=True, help="One picture of one interval, and end.")
@remote
def top(client: Remote, interval: float, once: bool) -> None:
    """Watch a running service: traffic, processes, backends, what holds sessions to backends, and
    the statements that took most time since the last look.

    Keys: q leaves, space holds the picture, t and c order statements by time or by count.
    """
    before = look(client.client)
    if once or client.as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        _written(client, before, interval, once=once)
        return
    with _terminal() as pressed, contextlib.suppress(KeyboardInterrupt):
        _watch(client.client, before, interval, pressed)


def _written(client: Remote, before: Look, interval: float, *, once: bool) -> None:
    """Look after look, as lines."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(interval)
            now = look(client.client)
            if client.as_json:
                client.json(_plain(now))
            else:
                click.echo("\n".join(lines(before, now, *PIPE_SIZE)))
            if once:
                return
            click.echo()
            before = now


def _plain(now: Look) -> dict[str, object]:
    names = ("status", "counters", "backends", "digests", "pins")
    return {name: getattr(now, name) for name in names}


def _watch(client: Client, before: Look, interval: float, pressed: Callable[[float], str]) -> None:
    order, held, picture = "time", False, ["looking ..."]
    pair, shown_at = (before, before), -interval
    while True:
        width, height = shutil.get_terminal_size()
        if not held and time.monotonic() - shown_at >= interval:
            try:
                pair = (pair[1], look(client))
                picture = lines(*pair, width, height - 1, order=order)
            except AdminError as error:
                if error.full_code not in AWAY:
                    raise
                picture = [f"{explained(error)}; looking again"[:width], *picture[1:]]
            shown_at = time.monotonic()
        _paint(picture)
        key = pressed(interval if held else max(0.0, shown_at + interval - time.monotonic()))
        if key in LEAVE:
            return
        if key == " ":
            held = not held
        elif key in ORDERS:
            order = ORDERS[key]
            picture = lines(*pair, width, height - 1, order=order)


def _paint(picture: list[str]) -> None:
    out = HOME + "".join(f"{line}{TO_END_OF_LINE}\r\n" for line in picture) + TO_END
    sys.stdout.write(out)
    sys.stdout.flush()


@contextlib.contextmanager
def _terminal() -> Iterator[Callable[[float], str]]:
    """The other screen, and keys as they are pressed; all is as before at the end."""
    fd = sys.stdin.fileno()
    former = termios.tcgetattr(fd)

    def pressed(seconds: float) -> str:
        readable, _, _ = select.select([fd], [], [], seconds)
        return os.read(fd, 16).decode("utf-8", "replace")[:1] or "q" if readable else ""

    try:
        tty.setcbreak(fd)
        sys.stdout.write(OTHER_SCREEN)
        yield pressed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, former)
        sys.stdout.write(OWN_SCREEN)
        sys.stdout.flush()
