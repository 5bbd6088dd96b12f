# SPDX-License-Identifier: Apache-2.0
"""Answers: JSON of what was asked, and of why it is refused.

    {"items": [...], "total": n}                              rows
    {"error": {"code", "message", "hint", "findings"}}        with a status of `status_of`

A code is one of ours (docs/errors.md, docs/operations/http.md); `message` is what the admin port
would say, without its prefix.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from hproxy.errors import (
    AdminError,
    ChannelClosed,
    ConfigError,
    HProxyError,
    RemoteError,
)

__all__ = ["Json", "refusal", "status_of"]

PREFIX = "ProxySQL Admin Error: "
# Codes of AdminError -> status; those not named here are 400.
STATUSES = {
    "admin.token": 401,
    "admin.forbidden": 403,
    "admin.read_only": 403,
    "admin.backend": 404,
    "admin.session": 404,
    "admin.table": 404,
    "admin.row": 404,
    "admin.path": 404,
    "admin.method": 405,
    "admin.slow": 408,
    "admin.paused": 409,
    "admin.exists": 409,
    "admin.body": 413,
    "admin.status": 422,
    "admin.address": 422,
    "admin.request": 422,
    "admin.blocked": 429,
    "admin.order": 501,
}
# Numbers of statements that were refused.
NUMBERS = {1094: 404, 1205: 409, 1317: 503, 3024: 503}


class Json(Response):
    """`content` as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            return orjson.dumps(content, default=_plain, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # half a character, or a number of more than 64 bits
            return json.dumps(content, default=_plain).encode()


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def status_of(error: HProxyError) -> int:
    """The status an error is told with."""
    if isinstance(error, ConfigError):
        return 422
    if isinstance(error, ChannelClosed | RemoteError):
        return 503
    if isinstance(error, AdminError):
        number = error.facts.get("number")
        found = NUMBERS.get(number) if isinstance(number, int) else None
        return found or STATUSES.get(error.full_code, 400)
    return 500


def refusal(error: HProxyError, headers: Mapping[str, str] | None = None) -> Json:
    """Why not."""
    told: dict[str, Any] = {
        "code": error.full_code,
        "message": (error.reason or str(error)).removeprefix(PREFIX),
    }
    if hint := error.facts.get("hint"):
        told["hint"] = str(hint)
    if isinstance(error, ConfigError) and error.findings:
        told["message"] = error.summary
        told["findings"] = [
            {
                "where": f.source,
                "key": f.key,
                "message": f.message,
                "value": f.value,
                "hint": f.hint,
            }
            for f in error.findings
        ]
    return Json({"error": told}, status_code=status_of(error), headers=headers)
