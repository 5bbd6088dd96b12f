# SPDX-License-Identifier: Apache-2.0
"""What every request passes before a handler sees it.

    path open? ── no ──> token ── none, wrong ──> 401; too many wrong ones from there ──> 429
                           └ may it? ── no ──> 403
    body ── announced or found too long ──> 413;  not here in time ──> 408
    handler ── fails ──> 500, and the log says why

A body nobody wants is thrown away for DISCARD_SEC, so that its sender lives to read why: who is
closed on while sending sees only a broken connection. /healthz is open, for a kubelet has no
token; so is /metrics unless http.metrics_token.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hproxy.auth.guard import Guard
from hproxy.config.http import HttpOptions
from hproxy.control.answer import refusal
from hproxy.control.model import Caller, Role
from hproxy.control.tokens import Tokens
from hproxy.errors import AdminError, HProxyError

__all__ = ["OPEN", "Gate"]

OPEN = ("/", "/api/v1/openapi.json")
API = "/api/v1/"
ASKING = ("/api/v1/explain",)
"""POSTs that change nothing."""
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
CLOSE = {"connection": "close"}
DISCARD_SEC = 1.0
DISCARD_BYTES = 32 << 20


class Gate:
    """An ASGI application around another."""

    def __init__(
        self, app: ASGIApp, options: HttpOptions, tokens: Tokens, log: Any, *, failures: int = 60
    ) -> None:
        """`failures`: wrong tokens a minute from one address; 0 is no limit."""
        self._app = app
        self._options = options
        self._tokens = tokens
        self._log = log
        self._guard = Guard(monotonic, per_host=failures)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            caller = scope["caller"] = self._caller(scope)
            body = await self._body(scope, receive)
            if self._needed(scope["method"], scope["path"]) is Role.OPERATOR:
                self._log.info("http request", method=scope["method"], path=scope["path"],
                               client=caller.host)  # fmt: skip
            await self._app(scope, _replay(body, receive), told)
        except HProxyError as error:
            if not started:
                await _discard(scope, receive)
                await refusal(error, _headers_of(error))(scope, receive, told)
        except Exception as error:
            loop = asyncio.get_running_loop()
            message = f"{scope['method']} {scope['path']} failed"
            loop.call_exception_handler({"message": message, "exception": error})
            if not started:
                await refusal(HProxyError())(scope, receive, told)

    # -- who -----------------------------------------------------------------------

    def _caller(self, scope: Scope) -> Caller:
        """Who asks. Raises AdminError for one who may not."""
        client = scope.get("client")
        host = client[0] if client else ""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        role = self._role(given, host)
        needed = self._needed(scope["method"], scope["path"])
        if role >= needed:
            return Caller(role, host)
        if role is not Role.NOBODY:
            raise AdminError("this token may only read", code="forbidden")
        raise AdminError(
            "a token is needed" if not given else "the token is not known",
            code="token",
            hint="Authorization: Bearer <http.token>",
        )

    def _role(self, given: bytes, host: str) -> Role:
        if not given:
            return Role.NOBODY
        if not self._guard.admit(host):
            raise AdminError("too many wrong tokens from this address", code="blocked")
        role = self._tokens.role(given)
        if role is Role.NOBODY:
            self._guard.failed(host)
            self._log.warning("http token refused", client=host)
        else:
            self._guard.succeeded(host)
        return role

    def _needed(self, method: str, path: str) -> Role:
        reads = method in ("GET", "HEAD")
        if reads and (path in OPEN or path == "/healthz" or path.startswith("/healthz/")):
            return Role.NOBODY
        if reads and path == "/metrics":
            return Role.READER if self._options.metrics_token else Role.NOBODY
        if path.startswith(API) and (reads or path in ASKING):
            return Role.READER
        return Role.OPERATOR

    # -- what ----------------------------------------------------------------------

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most = self._options.max_body_kib << 10
        length = next((v for name, v in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > most:
            raise _too_long(most)
        body = bytearray()
        try:
            async with asyncio.timeout(self._options.timeout_sec):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return b""
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise _too_long(most)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise AdminError("the request was not here in time", code="slow") from None


def _too_long(most: int) -> AdminError:
    return AdminError(f"the body is longer than {most >> 10} KiB", code="body")


def _headers_of(error: HProxyError) -> dict[str, str]:
    """Beside the answer; after it the connection ends, for the body may not be through yet."""
    found = {
        "admin.token": {"www-authenticate": 'Bearer realm="hproxy"'},
        "admin.blocked": {"retry-after": "60"},
    }.get(error.full_code, {})
    return found | CLOSE


async def _discard(scope: Scope, receive: Receive) -> None:
    if any(name == b"expect" for name, _ in scope["headers"]):
        return  # asking for it would have it sent
    size = 0
    try:
        async with asyncio.timeout(DISCARD_SEC):
            while size < DISCARD_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
