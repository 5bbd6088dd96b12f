# SPDX-License-Identifier: Apache-2.0
"""An HTTP API that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Asked", "FakeApi", "listed"]

TOKEN = "a-token-of-the-tests"

Asked = tuple[str, str, Any]
"""Method, path with its query, body."""
Answer = Any | Callable[[], Any]


def listed(*rows: dict[str, Any]) -> dict[str, Any]:
    """A list as the API tells it."""
    return {"items": list(rows), "total": len(rows)}


class _Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whom we hung up on; nothing else fails here."""


class _Tcp(_Threads, socketserver.TCPServer):
    allow_reuse_address = True


class _Unix(_Threads, socketserver.UnixStreamServer):
    pass


class FakeApi:
    """`answers` by "METHOD /path" below /api/v1: JSON, bytes, (status, JSON), or what makes one."""

    def __init__(self, answers: Mapping[str, Answer], path: Path | None = None) -> None:
        self.answers: dict[str, Answer] = dict(answers)
        self.asked: list[Asked] = []
        self.keep_alive = True
        self.connections: list[socket.socket] = []
        handler = _handler(self)
        self._server: socketserver.BaseServer = (
            _Tcp(("127.0.0.1", 0), handler) if path is None else _Unix(str(path), handler)
        )
        address = self._server.server_address
        self.url = f"unix:{path}" if path else f"http://127.0.0.1:{address[1]}"  # type: ignore[index]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Answer nothing any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.hang_up()

    def hang_up(self) -> None:
        """On whoever is connected."""
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.connections.clear()

    def find(self, method: str, path: str) -> tuple[int, bytes]:
        """Status and bytes of the answer."""
        found = self.answers.get(f"{method} {path.partition('?')[0].removeprefix('/api/v1')}")
        if callable(found):
            found = found()
        if found is None:
            error = {"code": "admin.path", "message": "not found"}
            return 404, json.dumps({"error": error}).encode()
        if isinstance(found, bytes):
            return 200, found
        status, content = found if isinstance(found, tuple) else (200, found)
        return status, content if isinstance(content, bytes) else json.dumps(content).encode()


def _handler(api: FakeApi) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            api.connections.append(self.request)
            super().setup()

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            api.asked.append((self.command, self.path, body))
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                status, data = api.find(self.command, self.path)
            else:
                error = {"code": "admin.token", "message": "a token is needed", "hint": "give one"}
                status, data = 401, json.dumps({"error": error}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if not api.keep_alive:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def address_string(self) -> str:
            return "client"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: tests look at `asked`."""

    return Handler
