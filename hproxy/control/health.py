# SPDX-License-Identifier: Apache-2.0
"""Whether it lives, and its numbers: for kubelets, load balancers and Prometheus.

/healthz/started    200 once it has begun to serve
/healthz/ready      200 while new clients are welcome: not while it starts, drains or pauses
/healthz/live       200 as long as this process answers at all
/metrics            text for Prometheus
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from hproxy.control.answer import Json
from hproxy.control.model import Context
from hproxy.telemetry.metrics import exposition

__all__ = ["Given", "router"]

METRICS = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(tags=["health"])


def context(request: Request) -> Context:
    """What handlers work with."""
    found: Context = request.app.state.context
    return found


Given = Annotated[Context, Depends(context)]


@router.get("/healthz/live")
@router.get("/healthz", include_in_schema=False)
async def live() -> Json:
    """It answers."""
    return Json({"live": True})


@router.get("/healthz/started", responses={503: {"description": "not yet"}})
async def started(given: Given) -> Json:
    """Whether it has begun to serve."""
    status = await given.port.status()
    return Json({"started": status["started"]}, 200 if status["started"] else 503)


@router.get("/healthz/ready", responses={503: {"description": "no new clients now"}})
async def ready(given: Given) -> Json:
    """Whether new clients are welcome, and why not."""
    status = await given.port.status()
    told = {"ready": status["ready"], "reasons": status["reasons"]}
    return Json(told, 200 if status["ready"] else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {METRICS: {}}}})
async def metrics(given: Given) -> Response:
    """All numbers of all workers, in the text format of Prometheus."""
    reading = await given.port.measured()
    text = await asyncio.to_thread(exposition, reading)
    return Response(text, media_type=METRICS)


# Load balancers ask without wanting the answer.
for _path, _handler in (
    ("/healthz", live),
    ("/healthz/live", live),
    ("/healthz/started", started),
    ("/healthz/ready", ready),
    ("/metrics", metrics),
):
    router.add_api_route(_path, _handler, methods=["HEAD"], include_in_schema=False)
