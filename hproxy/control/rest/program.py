# SPDX-License-Identifier: Apache-2.0
"""Runs a program for its output: no shell, an end to time and bytes, nothing left behind.

started ── in a session of its own ──> ended: status, stdout, the end of stderr
      ├── timeout, too much output ──> TERM, after GRACE_SEC KILL, to all it has started
      └── who asked is gone ─────────> the same
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Outcome", "run"]

MOST_STDOUT = 1 << 20
MOST_STDERR = 4096
GRACE_SEC = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    status: int | None
    """Its exit status; None: it was ended here."""
    stdout: bytes = b""
    stderr: str = ""
    why: str = ""
    """Why it was ended, or could not be started."""


async def run(path: str, argument: str, timeout_sec: float) -> Outcome:
    """Run it with one argument and nothing to read."""
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            argument,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Outcome(None, why=getattr(error, "strerror", None) or str(error))
    kept, complaints = bytearray(), bytearray()
    try:
        async with asyncio.timeout(timeout_sec):
            assert process.stdout is not None
            assert process.stderr is not None
            tail = asyncio.ensure_future(_keep_tail(process.stderr, complaints))
            try:
                whole = await _keep(process.stdout, kept)
                if whole:
                    await process.wait()
            finally:
                tail.cancel()
    except TimeoutError:
        why = "it was not done in time"
    else:
        why = "" if whole else f"it wrote more than {MOST_STDOUT >> 10} KiB"
    finally:
        await asyncio.shield(_end(process))
    shown = complaints.decode("utf-8", "replace").strip()
    return Outcome(None if why else process.returncode, bytes(kept), shown, why)


async def _keep(reader: asyncio.StreamReader, kept: bytearray) -> bool:
    """Whether that was all, and not too much."""
    while chunk := await reader.read(65536):
        kept += chunk
        if len(kept) > MOST_STDOUT:
            return False
    return True


async def _keep_tail(reader: asyncio.StreamReader, kept: bytearray) -> None:
    while chunk := await reader.read(65536):
        kept += chunk
        del kept[:-MOST_STDERR]


async def _end(process: asyncio.subprocess.Process) -> None:
    """It and what it has started are gone after this."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        _signal(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE_SEC)
    # What it left in the background is in its session.
    _signal(process.pid, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
