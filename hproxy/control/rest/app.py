# SPDX-License-Identifier: Apache-2.0
"""What the REST port answers, as ProxySQL's does.

    GET /sync/<uri>?a=1    the row of that uri and method: its program gets {"a": "1"}
    POST /sync/<uri>       its program gets the body, which must be JSON
        ├── exits with 0 and has written JSON ──> 200, what it has written
        ├── anything else ──────────────────────> 424 {"type": "out", "error", "error_code", ...}
        └── no row, no parameters, no JSON ─────> 400 {"error", ...}
    GET /metrics           numbers for Prometheus

Nobody logs in, so no page of a browser may ask: what says that it comes from one is refused.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hproxy.config.http import HttpOptions
from hproxy.control.gate import Gate
from hproxy.control.model import Role
from hproxy.control.rest.program import Outcome, run
from hproxy.control.tokens import Tokens
from hproxy.telemetry.metrics import Reading, exposition

__all__ = ["RestRoute", "make_app"]

METRICS = "text/plain; version=0.0.4; charset=utf-8"
MOST_PROGRAMS = 16
"""At once; one more is asked to come again."""
LONGEST_ARGUMENT = 120 << 10
"""Linux takes 128 KiB in one argument."""
BROWSERS = ("origin", "sec-fetch-site")
SHOWN = 4096


class RestRoute(Protocol):
    """A row of restapi_routes."""

    @property
    def active(self) -> bool: ...
    @property
    def timeout_ms(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def script(self) -> str: ...


class Measured(Protocol):
    """The service."""

    async def measured(self) -> Reading: ...


class OpenGate(Gate):
    """Bodies and deadlines as on the API; no token."""

    def _needed(self, method: str, path: str) -> Role:
        return Role.NOBODY


def make_app(
    routes: Callable[[], Iterable[RestRoute]], port: Measured, options: HttpOptions, log: Any
) -> ASGIApp:
    """The application; `routes` gives the rows of now."""
    programs = _Programs(routes, log)

    async def metrics(_: Request) -> Response:
        text = await asyncio.to_thread(exposition, await port.measured())
        return Response(text, media_type=METRICS)

    app = Starlette(
        routes=[
            Route("/sync/{uri}", programs.answer, methods=["GET", "POST"]),
            Route("/metrics", metrics, methods=["GET"]),
        ]
    )
    return OpenGate(app, options, Tokens(None, None), log)


class _Programs:
    def __init__(self, routes: Callable[[], Iterable[RestRoute]], log: Any) -> None:
        self._routes = routes
        self._log = log
        self._running = 0

    async def answer(self, request: Request) -> Response:
        """Of one request."""
        if any(request.headers.get(name, "none") != "none" for name in BROWSERS):
            return _told(403, error="a page of a browser may not ask here")
        given = (await request.body()).decode("utf-8", "replace")
        given = given or (json.dumps(dict(request.query_params)) if request.query_params else "")
        if not given:
            return _told(400, error="Empty parameters")
        try:
            json.loads(given)
        except (ValueError, RecursionError) as error:
            return _told(400, type="in", error=str(error))
        if len(given.encode()) > LONGEST_ARGUMENT or "\0" in given:
            return _told(413, type="in", error=f"more than {LONGEST_ARGUMENT >> 10} KiB")
        uri = request.path_params["uri"]
        route = self._find(request.method, uri)
        if route is None:
            asked = f"method [{request.method}] and route [{request.url.path}]"
            return _told(400, error=f"The script for {asked} was not found.")
        if self._running >= MOST_PROGRAMS:
            return _told(503, error=f"{MOST_PROGRAMS} programs run already: come again")
        self._running += 1
        try:
            outcome = await run(route.script, given, route.timeout_ms / 1000)
        finally:
            self._running -= 1
        response = _response(outcome)
        failed = response.status_code != 200
        (self._log.warning if failed else self._log.info)(
            "rest request", method=request.method, uri=uri, program=route.script,
            client=request.client.host if request.client else "", status=response.status_code,
            **({"reason": outcome.why or f"exit status {outcome.status}",
                "stderr": outcome.stderr} if failed else {}),
        )  # fmt: skip
        return response

    def _find(self, method: str, uri: str) -> RestRoute | None:
        found = (r for r in self._routes() if r.active and r.uri == uri and r.method == method)
        return next(found, None)


def _response(outcome: Outcome) -> Response:
    if outcome.why:
        late = "in time" in outcome.why
        error = "Script execution timed out." if late else outcome.why
        return _told(424, type="out", error=error, error_code=str(errno.ETIME if late else 0))
    if outcome.status:
        code = str(outcome.status)
        return _told(424, type="out", error="Script failed to be executed.", error_code=code)
    text = outcome.stdout.decode("utf-8", "replace")
    if not text:
        empty = "Script response is empty, only valid JSONs are accepted."
        return _told(424, type="out", error=empty, error_code="0")
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return _told(
            424, type="out", error=str(error), error_code="0",
            script_stdout=text[:SHOWN], script_stderr=outcome.stderr,
        )  # fmt: skip
    return Response(outcome.stdout, media_type="application/json")


def _told(status: int, **facts: str) -> Response:
    return Response(json.dumps(facts), status, media_type="application/json")
