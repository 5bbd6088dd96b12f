# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl drain`, `reload`, `upgrade`, `kill` and the other orders to a running service.

drain ── told ──> watches /status ── nobody left, gone ──> 0
                                   └ deadline and some seconds passed ──> 1
upgrade ── done when the service says so, and what answers is another process; else 1
"""

from __future__ import annotations

import time
from typing import Any

import click

from hproxy.cli.remote import Remote, remote
from hproxy.errors import AdminError

__all__ = ["COMMANDS"]

SLOW_SEC = 300.0
"""For orders that are answered when they are done: an upgrade starts a program and hands over."""
BEGUN_SEC = 2.0
LOOK_SEC = 0.2
SPARE_SEC = 5.0
"""After the deadline of a drain, to end what is left."""


def told(client: Remote, path: str, body: Any = None, done: str = "") -> None:
    """Give an order, and show what was said to it."""
    answer = client.client.send("POST", path, body, timeout_sec=SLOW_SEC)
    client.said(answer, answer.get("message") or done or "done")


def _simple(name: str, path: str, about: str) -> click.Command:
    @click.command(name, short_help=about, help=about)
    @remote
    def command(client: Remote) -> None:
        told(client, path)

    return command


@click.command(short_help="Take no new clients, let those there are finish, and end.")
@click.option(
    "--deadline", type=click.FloatRange(0), default=30.0, show_default=True, metavar="SEC",
    help="Whoever is left then is cut off.",
)  # fmt: skip
@click.option("--wait/--no-wait", default=True, help="Until nobody is left; so by default.")
@remote
def drain(client: Remote, deadline: float, wait: bool) -> None:
    """Take no new clients, let those there are finish, and end.

    Readiness turns false first. Those who idle outside transactions are sent away at once. As a
    preStop hook it keeps the container until nobody is left.
    """
    # Some services answer when it is done, some when it has begun.
    within = deadline + SLOW_SEC if wait else BEGUN_SEC
    try:
        answer = client.client.send(
            "POST", "/drain", {"deadline_sec": deadline}, timeout_sec=within
        )
    except AdminError as error:
        if wait or error.full_code != "admin.late":
            raise
        answer = {"done": "drain", "message": "draining"}
    if not wait:
        client.said(answer, answer.get("message") or "draining")
        return
    left = _left(client, deadline + SPARE_SEC)
    if left:
        raise AdminError(f"{left} sessions are left after the deadline", code="drain")
    client.said(answer, "drained")


def _left(client: Remote, seconds: float) -> int:
    """Sessions once there are none, the service is gone, or so many seconds have passed."""
    end = time.monotonic() + seconds
    while True:
        try:
            status = client.client.get("/status")
        except AdminError as error:
            # Gone is what it was told to be; another process may answer in its place soon.
            if error.full_code == "admin.unreachable":
                return 0
            raise
        if not status["sessions"] or not status["draining"]:
            return 0
        if time.monotonic() > end:
            return int(status["sessions"])
        time.sleep(LOOK_SEC)


@click.command(short_help="Read file, certificates and scripts anew.")
@remote
def reload(client: Remote) -> None:
    """Read file, certificates and scripts anew. A file that is wrong changes nothing, and every
    mistake in it is told."""
    told(client, "/reload", done="reloaded")


@click.command(short_help="Start the program anew, hand everything over, end the old one.")
@click.option(
    "--reload", is_flag=True,
    help="What has changed in the file counts. By default what runs goes on, saved or not.",
)  # fmt: skip
@remote
def upgrade(client: Remote, reload: bool) -> None:
    """Start the program anew, as it is installed now, and hand over sockets, sessions and the
    configuration that runs.

    When the new one does not come up the old one goes on, and this says why. What of the
    configuration the new one does not know, or refuses, is told.
    """
    told(client, "/upgrade", {"reload": True} if reload else None, done="upgraded")


@click.command(short_help="End a session, or only what it runs.")
@click.argument("number", type=int)
@click.option("--query", is_flag=True, help="Only the statement it runs.")
@remote
def kill(client: Remote, number: int, query: bool) -> None:
    """End session NUMBER (`ctl sessions` tells it), or only the statement it runs."""
    what = "query" if query else "connection"
    told(client, f"/sessions/{number}/kill", {"what": what}, done="killed")


FLUSHES = {"logs": "/logs/flush", "cache": "/cache/flush", "hosts": "/hosts/flush"}


@click.command(short_help="logs: open files anew; cache, hosts: forget them.")
@click.argument("what", type=click.Choice([*FLUSHES]))
@remote
def flush(client: Remote, what: str) -> None:
    """logs: open log files anew. cache: forget cached results. hosts: forgive hosts that were
    turned away after too many failures."""
    told(client, FLUSHES[what], done="flushed")


COMMANDS: tuple[click.Command, ...] = (
    drain,
    reload,
    upgrade,
    kill,
    flush,
    _simple("pause", "/pause", "Take no new clients until `ctl resume`."),
    _simple("resume", "/resume", "Take clients again."),
    _simple("restart", "/restart", "Drain, and begin anew."),
    _simple("shutdown", "/shutdown", "Drain, and end."),
)
