# SPDX-License-Identifier: Apache-2.0
"""The application: all routes, and how refusals are told; made when it is first served.

Gate (who may, bodies) ──> FastAPI ──> health   /healthz/*, /metrics
                                   ├── read     /api/v1/...          what is
                                   ├── change   PUT, PATCH, DELETE   rows, variables, modules
                                   ├── order    POST                 drain, kill, reload, ...
                                   └── profile_routes                CPU, memory, tasks
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp

from hproxy import __version__
from hproxy.config.http import HttpOptions
from hproxy.control import change, health, order, read
from hproxy.control.answer import Json, refusal
from hproxy.control.gate import Gate
from hproxy.control.model import Context, Door, Port
from hproxy.control.profile_routes import profile_routes
from hproxy.control.profiling import Profiler
from hproxy.control.tokens import Tokens
from hproxy.errors import AdminError, ConfigError, ConfigFinding, HProxyError

__all__ = ["make_app"]

ABOUT = "Look at a running hproxy, and change it as its admin port would."
HTTP_CODES = {404: "path", 405: "method"}


def make_app(
    port: Port,
    door: Door,
    options: HttpOptions,
    tokens: Tokens,
    log: Any,
    *,
    failures: int = 60,
    profiler: Profiler | None = None,
) -> ASGIApp:
    """The application behind its gate."""
    app = FastAPI(
        title="hproxy",
        description=ABOUT,
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        default_response_class=Json,
    )
    app.state.context = Context(port, door, log)
    app.include_router(health.router)
    # The gate has looked at the token already; this says so in the document.
    bearer = [Depends(HTTPBearer(auto_error=False))]
    for routes in (read, order, change):
        app.include_router(routes.router, prefix="/api/v1", dependencies=bearer)
    if profiler is not None:
        app.include_router(profile_routes(profiler), dependencies=bearer)
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_exception_handler(HProxyError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(Exception, _broke)
    return Gate(app, options, tokens, log, failures=failures)


async def _index() -> Json:
    return Json(
        {
            "name": "hproxy",
            "version": __version__,
            "paths": ["/api/v1/openapi.json", "/healthz/started", "/healthz/ready",
                      "/healthz/live", "/metrics"],
        }
    )  # fmt: skip


async def _refused(_: Request, error: Exception) -> Json:
    assert isinstance(error, HProxyError)
    return refusal(error)


async def _invalid(_: Request, error: Exception) -> Json:
    """What the types of a handler's arguments refuse; the values are not shown, nor logged."""
    assert isinstance(error, RequestValidationError)
    findings = [
        ConfigFinding(str(item["loc"][0]), ".".join(map(str, item["loc"][1:])), item["msg"])
        for item in error.errors()
    ]
    return refusal(ConfigError(findings=findings, code="request"))


async def _failed(_: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)
    code = HTTP_CODES.get(error.status_code, "request")
    made = refusal(AdminError(str(error.detail).lower(), code=code), error.headers)
    made.status_code = error.status_code
    return made


async def _broke(_: Request, __: Exception) -> Json:
    """A mistake of ours: the gate tells the log of it."""
    return refusal(HProxyError())
