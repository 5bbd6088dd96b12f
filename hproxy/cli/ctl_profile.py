# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl profile ...`: where time and memory of a running service go."""

from __future__ import annotations

import time
from pathlib import Path

import click

from hproxy.cli.remote import Remote, remote
from hproxy.control.client import segment
from hproxy.errors import AdminError

__all__ = ["profile"]

LOOK_SEC = 0.2
SPARE_SEC = 20.0


@click.group(short_help="Where time and memory go: CPU, heap, tasks.")
def profile() -> None:
    """Where time and memory of the running service go."""


@profile.command(short_help="A flame graph of some seconds.")
@click.option("--seconds", type=click.IntRange(1, 600), default=10, show_default=True)
@click.option("--target", default="all", show_default=True, help="all, head, worker, worker:1.")
@click.option(
    "--format", "form", type=click.Choice(["svg", "raw", "speedscope"]), default="svg",
    show_default=True,
)  # fmt: skip
@click.option("--native", is_flag=True, help="Compiled functions too; stops it for each sample.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Else a file of the name it has there."
)
@remote
def cpu(
    client: Remote, seconds: int, target: str, form: str, native: bool, output: Path | None
) -> None:
    """Record for some seconds what the processes do (py-spy has to be there), and fetch it."""
    wanted = {"seconds": seconds, "target": target, "format": form, "native": native}
    answer = client.client.send("POST", "/profile/cpu", wanted)
    end = time.monotonic() + seconds + SPARE_SEC
    while (state := client.client.get("/profile"))["recording"] is not None:
        if time.monotonic() > end:
            raise AdminError("the profile does not end", code="profile")
        time.sleep(LOOK_SEC)
    if answer["file"] not in state["files"]:
        raise AdminError(state["last_error"] or "there is no profile", code="profile")
    data = client.client.raw("GET", f"/profile/files/{segment(answer['file'])}")
    file = output or Path(answer["file"])
    try:
        file.write_bytes(data)
    except OSError as error:
        raise AdminError(f"{file} cannot be written: {error.strerror}", code="profile") from error
    client.said(answer | {"written": str(file)}, f"wrote {file}")


@profile.command(short_help="End the profile that is recorded now.")
@remote
def stop(client: Remote) -> None:
    """End the profile that is recorded now; what was sampled is kept."""
    answer = client.client.send("POST", "/profile/stop")
    client.said(answer, "stopped" if answer["stopped"] else "none is recorded")


@profile.command("list", short_help="Profiles that are there.")
@remote
def listing(client: Remote) -> None:
    """Profiles that are there, and which is recorded now."""
    state = client.client.get("/profile")
    now = state["recording"]
    client.said(state, *state["files"], f"recording {now['file']}" if now else "")


@profile.command(short_help="One of them.")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Else stdout.")
@remote
def get(client: Remote, name: str, output: Path | None) -> None:
    """Fetch the profile NAME."""
    data = client.client.raw("GET", f"/profile/files/{segment(name)}")
    if output is None:
        click.echo(data, nl=False)
    else:
        output.write_bytes(data)


@profile.command(short_help="What memory is used for.")
@remote
def heap(client: Remote) -> None:
    """What memory is used for, process by process; with `tracing on` also where it was had."""
    click.echo(client.client.raw("GET", "/profile/heap"), nl=False)


@profile.command(short_help="Where threads are, and what tasks wait for.")
@remote
def stacks(client: Remote) -> None:
    """Where threads are and what tasks wait for, process by process."""
    click.echo(client.client.raw("GET", "/profile/stacks"), nl=False)


@profile.command(short_help="on, off: trace where memory is allocated.")
@click.argument("what", type=click.Choice(["on", "off"]))
@click.option("--frames", type=click.IntRange(1, 25), default=1, show_default=True)
@remote
def tracing(client: Remote, what: str, frames: int) -> None:
    """Trace where memory is allocated; it costs time while it is on."""
    answer = client.client.send("PUT", "/profile/tracing", {"on": what == "on", "frames": frames})
    client.said(answer, answer["message"])
