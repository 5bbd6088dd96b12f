# SPDX-License-Identifier: Apache-2.0
"""Orders to the running service: the admin port's PROXYSQL ... and KILL, and some it has not.

Answered when it is done, or has begun, with {"done": ..., "message": ...}; a refusal says why.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path
from starlette.requests import Request

from hproxy.control.answer import Json
from hproxy.control.health import Given
from hproxy.control.model import Caller, Context

__all__ = ["caller_of", "router"]

router = APIRouter(tags=["order"])
DRAIN_SEC = 30.0
MAX_DRAIN_SEC = 86_400.0
BEGIN_SEC = 0.5
BEGUN: set[asyncio.Task[str]] = set()
"""What goes on although it was answered: the loop keeps no reference."""
Deadline = Annotated[float, Body(embed=True, ge=0, le=MAX_DRAIN_SEC)]


def caller_of(request: Request) -> Caller:
    """Who sent it."""
    found: Caller = request.scope["caller"]
    return found


async def _order(given: Context, request: Request, name: str, *arguments: str) -> str:
    caller = caller_of(request)
    told = " ".join((f"HTTP {request.method} {request.url.path}", *arguments))
    return await given.door.order(caller.user, caller.host, told, name, *arguments)


async def _ordered(given: Context, request: Request, name: str, *arguments: str) -> Json:
    return Json({"done": name, "message": await _order(given, request, name, *arguments)})


@router.post("/drain", responses={202: {"description": "it has begun"}})
async def drain(given: Given, request: Request, deadline_sec: Deadline = DRAIN_SEC) -> Json:
    """No new clients; those who idle are sent away, the others when they have ended, and at the
    deadline. Answered within a second, whether it is done or has begun: /status says how many are
    left."""
    work = _order(given, request, "drain", f"{deadline_sec:g}")
    task = asyncio.get_running_loop().create_task(work, name="http drain")
    done, _ = await asyncio.wait({task}, timeout=BEGIN_SEC)
    if done:
        return Json({"done": "drain", "message": task.result()})
    BEGUN.add(task)
    task.add_done_callback(partial(_ended, given.log))
    return Json({"done": "drain", "message": "draining"}, 202)


def _ended(log: Any, task: asyncio.Task[str]) -> None:
    BEGUN.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("drain failed", reason=str(error))


def _simple(path: str, name: str, about: str) -> None:
    async def handler(given: Given, request: Request) -> Json:
        return await _ordered(given, request, name)

    router.add_api_route(
        path, handler, methods=["POST"], name=name, description=about, summary=about
    )


for _path, _name, _about in (
    ("/pause", "pause", "Take no new clients until /resume."),
    ("/resume", "resume", "Take clients again."),
    ("/reload", "reload", "Read file and certificates anew; a wrong file changes nothing."),
    ("/restart", "restart", "Drain, and begin anew."),
    ("/shutdown", "shutdown_slow", "Drain, and end."),
    ("/logs/flush", "flush_logs", "Open log files anew."),
    ("/cache/flush", "flush_query_cache", "Forget cached results."),
    ("/hosts/flush", "flush_client_hosts", "Forgive hosts that were turned away."),
    ("/tls/reload", "reload_tls", "Read certificates anew."),
):
    _simple(_path, _name, _about)


@router.post("/upgrade")
async def upgrade(
    given: Given, request: Request, reload: Annotated[bool, Body(embed=True)] = False
) -> Json:
    """Start the program anew and hand over; undone if that fails. What runs goes on, saved or not;
    with `reload` what has changed in the file counts."""
    return await _ordered(given, request, "upgrade", *["reload"] * reload)


@router.post("/sessions/{number}/kill")
async def kill(
    given: Given,
    request: Request,
    number: Annotated[int, Path(ge=0)],
    what: Annotated[Literal["connection", "query"], Body(embed=True)] = "connection",
) -> Json:
    """End a session, or only the statement it runs."""
    return await _ordered(given, request, f"kill_{what}", str(number))


def told_of(request: Request, body: Any = None) -> str:
    """A request as the audit log and the history say it; `body` is without secrets."""
    text = f"HTTP {request.method} {request.url.path}"
    return text if body is None else f"{text} {body}"
