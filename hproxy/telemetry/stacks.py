# SPDX-License-Identifier: Apache-2.0
"""What this process is doing: where each thread is, and what each task waits for, as text.

Tasks that wait at the same place are told once, with their number: ten thousand sessions are a
few lines.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections import defaultdict
from types import FrameType

__all__ = ["stacks"]

MOST_FRAMES = 20
MOST_GROUPS = 50
MOST_NAMES = 5


def stacks() -> str:
    """Of this process, now; call it on the event loop."""
    lines = [f"process {os.getpid()}", ""]
    for heading, names, frames in (*_threads(), *_tasks()):
        lines.append(f"{heading}: {names}")
        lines += [f"    {frame}" for frame in frames]
    return "\n".join(lines)


Part = tuple[str, str, list[str]]


def _threads() -> list[Part]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        ("thread", names.get(ident, f"{ident}, not ours"), _of_frame(frame))
        for ident, frame in sys._current_frames().items()
    ]


def _tasks() -> list[Part]:
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for task in asyncio.all_tasks():
        groups[tuple(_awaited(task))].append(task.get_name())
    parts = []
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    for frames, names in ordered[:MOST_GROUPS]:
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        heading = "task" if len(names) == 1 else f"{len(names)} tasks"
        parts.append((heading, ", ".join(sorted(names)[:MOST_NAMES]) + more, list(frames)))
    if len(ordered) > MOST_GROUPS:
        parts.append(("tasks", f"at {len(ordered) - MOST_GROUPS} other places", []))
    return parts


def _awaited(task: asyncio.Task[object]) -> list[str]:
    """The chain of coroutines, the innermost last; a task itself knows only the outermost."""
    found: list[str] = []
    inner: object = task.get_coro()
    while inner is not None and len(found) < MOST_FRAMES:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)
        if frame is None:
            break
        found.append(_line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname))
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    # A future at the end, or a coroutine of compiled code, has no frame.
    if inner is not None:
        found.append(f"waits for a {type(inner).__qualname__}")
    return found


def _of_frame(frame: FrameType) -> list[str]:
    walked = traceback.StackSummary.extract(
        traceback.walk_stack(frame), limit=MOST_FRAMES, lookup_lines=False
    )
    return [_line(entry.filename, entry.lineno or 0, entry.name) for entry in reversed(walked)]


def _line(file: str, number: int, name: str) -> str:
    return f"{file}:{number} {name}"
