# SPDX-License-Identifier: Apache-2.0
"""py-spy, run beside a process for some seconds: a flame graph of where its time goes.

    record(...) ── samples, without stopping the process ──> file.part ──> file
                   └ cancelled: ended early, what it has is written all the same

It is a program of its own and no dependency: it need not be installed, and must be allowed to read
the memory of another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

from hproxy.errors import AdminError

__all__ = ["FORMATS", "found", "record"]

FORMATS = {"svg": "flamegraph", "raw": "raw", "speedscope": "speedscope"}
RATE = 100
"""Samples a second: half a percent of a core."""
GRACE_SEC = 10.0
"""To write its file, once it has sampled long enough."""
MOST_STDERR = 4096
NOTHING = "No stack counts found"
"""What it fails with when the process slept all the time, which is an answer as well."""
EMPTY = {
    "svg": '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="40">'
    '<text x="10" y="25">nothing ran while this was recorded</text></svg>\n'
}


def found() -> str | None:
    """Where py-spy is: on the path, or beside this interpreter."""
    beside = Path(sys.executable).with_name("py-spy")
    return shutil.which("py-spy") or (str(beside) if os.access(beside, os.X_OK) else None)


def required() -> str:
    """The same. Raises AdminError when it is not installed."""
    program = found()
    if program is None:
        raise AdminError(
            "py-spy is not installed", code="profile", hint="pip install py-spy, beside hproxy"
        )
    return program


async def record(
    pid: int,
    seconds: float,
    file: Path,
    *,
    form: str = "svg",
    family: bool = False,
    native: bool = False,
    enough: asyncio.Event | None = None,
) -> None:
    """Sample `pid`, its children too if `family`, into `file`; earlier if `enough` is set.

    `native` shows compiled functions as well and stops the process for each sample. Raises
    AdminError (admin.profile); then there is no file."""
    part = file.with_name(f".{file.name}.part")
    command = [
        *(required(), "record", "--pid", str(pid), "--rate", str(RATE), "--threads"),
        *("--format", FORMATS[form], "--duration", str(max(1, round(seconds)))),
        *("--output", str(part)),
        "--native" if native else "--nonblocking",
        *(("--subprocesses",) if family else ()),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "RUST_BACKTRACE": "0"},
        start_new_session=True,  # Ctrl-C at the terminal is for the proxy alone
    )
    try:
        said = await _ended(process, seconds, enough)
        if NOTHING in said:
            part.write_text(EMPTY.get(form, ""))
        elif process.returncode or not part.exists():
            raise AdminError(_reason(said), code="profile", pid=pid)
        part.replace(file)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await _said(process)
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


async def _ended(
    process: asyncio.subprocess.Process, seconds: float, enough: asyncio.Event | None
) -> str:
    """What it said until it ended, of itself or since it was enough."""
    loop = asyncio.get_running_loop()
    reading = loop.create_task(_said(process), name="profile: what py-spy says")
    stopping = loop.create_task((enough or asyncio.Event()).wait(), name="profile: stop")
    try:
        await asyncio.wait(
            {reading, stopping}, timeout=seconds + GRACE_SEC, return_when=asyncio.FIRST_COMPLETED
        )
        if stopping.done() and process.returncode is None:
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(GRACE_SEC):
                return await reading
        except TimeoutError:
            raise AdminError("py-spy does not end", code="profile") from None
    finally:
        for task in (reading, stopping):
            task.cancel()
        await asyncio.gather(reading, stopping, return_exceptions=True)


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(65536):
        kept = (kept + chunk)[:MOST_STDERR]
    await process.wait()
    return kept.decode("utf-8", "replace")


def _reason(said: str) -> str:
    """py-spy's own words, on one line, and what may be done."""
    text = "; ".join(
        line.strip().removeprefix("Error: ").removeprefix("0: ")
        for line in said.splitlines()
        if line.strip() and not line.startswith(("py-spy>", "Caused by"))
    )
    text = f"py-spy: {text or 'no samples'}"
    if "ermission" in text or "not permitted" in text:
        text += (
            " (reading another process takes root, CAP_SYS_PTRACE, or kernel.yama.ptrace_scope=0)"
        )
    return text
