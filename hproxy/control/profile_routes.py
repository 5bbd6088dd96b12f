# SPDX-License-Identifier: Apache-2.0
"""HTTP for profiles: haentgl's addresses, and ours below /api/v1/profile.

    POST /api/v1/profile/cpu       record one          GET /start_cpu_prof?duration=60
    POST /api/v1/profile/stop      end it early        GET /stop_cpu_prof
    GET  /api/v1/profile           what is there       GET /list_cpu_profile?profile_path=X
    GET  /api/v1/profile/files/F   one of them         GET /print_cpu_prof?profile_file=F
    GET  /api/v1/profile/heap      memory, as text     GET /mem_dump
    PUT  /api/v1/profile/tracing   allocations too     GET /mem_prof_analysis/F
    GET  /api/v1/profile/stacks    threads and tasks

All of them reveal what the proxy does: whoever includes these routes asks for the token. haentgl's
take paths; here they are names in one folder, see `profiling`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field

from hproxy.control.profiling import CPU, HEAP, MAX_SECONDS, Profiler
from hproxy.errors import AdminError
from hproxy.runtime.heap import MAX_FRAMES

__all__ = ["profile_routes"]

# Flame graphs zoom by a script of their own; it may do nothing else.
SVG_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; "
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    ),
    "X-Content-Type-Options": "nosniff",
}
TYPES = {".svg": "image/svg+xml", ".json": "application/json"}


class CpuProfile(BaseModel, extra="forbid"):
    """What to record."""

    seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] = 10
    target: Annotated[str, Field(description="all, head, worker, worker:1")] = "all"
    format: Literal["svg", "raw", "speedscope"] = "svg"
    native: Annotated[
        bool, Field(description="Compiled functions too; stops the process for each sample.")
    ] = False


class Tracing(BaseModel, extra="forbid"):
    """Whether allocations are traced; it costs half the speed while it is on."""

    on: bool
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = 1


def profile_routes(profiler: Profiler) -> APIRouter:
    """Routes over `profiler`, without protection of their own."""
    router = APIRouter(tags=["profile"])
    _ours(router, profiler)
    _haentgl(router, profiler)
    return router


def _ours(router: APIRouter, profiler: Profiler) -> None:
    base = "/api/v1/profile"

    @router.get(base)
    async def profiles() -> dict[str, Any]:
        """What is being recorded, and the files."""
        return profiler.state()

    @router.post(f"{base}/cpu", status_code=202)
    async def record(wanted: CpuProfile) -> dict[str, Any]:
        """Begin a CPU profile; poll /api/v1/profile until it is not `recording`."""
        file = await profiler.start(
            wanted.seconds, target=wanted.target, form=wanted.format, native=wanted.native
        )
        return {"file": file, "seconds": wanted.seconds, "target": wanted.target}

    @router.post(f"{base}/stop")
    async def stop() -> dict[str, bool]:
        """End it; what was sampled is kept."""
        return {"stopped": await profiler.stop()}

    @router.get(f"{base}/files/{{name}}")
    async def file(name: str) -> Response:
        """A flame graph, or whatever the file holds."""
        return _content(profiler.file(name))

    @router.get(f"{base}/heap", response_class=PlainTextResponse)
    async def heap() -> str:
        """What memory is used for, as text."""
        return f"{await profiler.heap()}\n"

    @router.put(f"{base}/tracing")
    async def tracing(wanted: Tracing) -> dict[str, str]:
        """Trace allocations, which makes `heap` tell lines of source."""
        return {"message": await profiler.trace(wanted.frames if wanted.on else 0)}

    @router.get(f"{base}/stacks", response_class=PlainTextResponse)
    async def stacks() -> str:
        """Where threads are and what tasks wait for, as text."""
        return f"{await profiler.stacks()}\n"


def _haentgl(router: APIRouter, profiler: Profiler) -> None:
    @router.get("/start_cpu_prof")
    async def start_cpu_prof(
        duration: Annotated[int, Query(ge=1, le=MAX_SECONDS)] = 60, profile_path: str = ""
    ) -> dict[str, str]:
        """Flame graphs of `duration` seconds each, until stopped."""
        if profiler.recording:
            return {"cpu_prof_start": "false"}
        try:
            await profiler.start(duration, repeat=True)
        except AdminError as error:
            return {"cpu_prof_start": str(error)}
        return {"cpu_prof_start": "true"}

    @router.get("/stop_cpu_prof")
    async def stop_cpu_prof() -> dict[str, str]:
        """End it."""
        return {"cpu_prof_stop": "true" if await profiler.stop() else "false"}

    @router.get("/list_cpu_profile")
    async def list_cpu_profile(profile_path: str | None = None) -> Response:
        """Names of flame graphs."""
        if profile_path is None:
            return PlainTextResponse("profile_path is missing\n", 400)
        return JSONResponse(profiler.names(CPU))

    @router.get("/print_cpu_prof")
    async def print_cpu_prof(profile_file: str | None = None) -> Response:
        """One of them."""
        if profile_file is None:
            return PlainTextResponse("profile_file is missing\n", 400)
        try:
            return _content(profiler.file(profile_file))
        except (AdminError, OSError) as error:
            return PlainTextResponse(f"{error}\n", 500)

    @router.get("/mem_dump")
    async def mem_dump() -> dict[str, str]:
        """A summary of the heap into a file; the folder it is in."""
        try:
            file = await profiler.dump_heap()
        except (AdminError, OSError) as error:
            return {"mem_heap_dump_err": str(error)}
        return {"mem_heap_dump": str(file.parent)}

    @router.get("/mem_prof_analysis/{dump_path:path}", response_class=Response)
    async def mem_prof_analysis(dump_path: str) -> Response:
        """A dump as folded stacks, into the file `collapsed`; nothing is answered."""
        try:
            await profiler.collapse(dump_path)
        except (AdminError, OSError, UnicodeDecodeError) as error:
            return PlainTextResponse(f"{error}\n", 500)
        return Response()


def _content(path: Path) -> Response:
    kind = "text/plain" if path.suffix == HEAP else TYPES.get(path.suffix, "text/plain")
    return Response(path.read_bytes(), media_type=kind, headers=SVG_HEADERS)
