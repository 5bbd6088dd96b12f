# SPDX-License-Identifier: Apache-2.0
"""A client of the HTTP API, for `hproxy ctl` and `hproxy top`: one connection, JSON both ways.

    Client(Target.parse(url), token).get("/status")
    http://HOST:PORT   https://HOST:PORT   unix:/path/of/socket

Every failure is an AdminError: what the service said, with its code, hint and findings, or
admin.unreachable, admin.late. A request is sent again only when it reads and the connection had
gone stale.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import orjson

from hproxy import __version__
from hproxy.errors import AdminError

__all__ = ["API", "Client", "Target", "explained", "segment"]

API = "/api/v1"
DEFAULT_PORT = 6080
TIMEOUT_SEC = 30.0
MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service answers."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    secure: bool = False
    path: str = ""
    """Of a Unix socket, instead of host and port."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises AdminError for what is no such address."""
        text = url.strip()
        if text.startswith(("unix:", "/")):
            return cls(path=text.removeprefix("unix:").removeprefix("//"))
        parts = urlsplit(text if "://" in text else f"http://{text}")
        try:
            port = parts.port
        except ValueError:
            raise _wrong(url) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise _wrong(url)
        return cls(parts.hostname, port or DEFAULT_PORT, parts.scheme == "https")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"


def _wrong(url: str) -> AdminError:
    return AdminError(
        f"{url!r} is no address of a service",
        code="url",
        hint="http://HOST:PORT, https://HOST:PORT or unix:/path",
    )


class Client:
    """Of one service; closes its connection at the end of a `with`."""

    def __init__(
        self,
        target: Target,
        token: str = "",
        *,
        context: ssl.SSLContext | None = None,
        timeout_sec: float = TIMEOUT_SEC,
    ) -> None:
        """`context` for https; without it certificates are verified as the system says."""
        self.target = target
        self._token = token
        self._context = context
        self._timeout = timeout_sec
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- requests ----------------------------------------------------------------------

    def get(self, path: str, **query: object) -> Any:
        """What is at /api/v1`path`; a query's value of None is left out."""
        return _decoded(self.raw("GET", path, query=query))

    def items(self, path: str, **query: object) -> list[dict[str, Any]]:
        """The rows of a list."""
        found: list[dict[str, Any]] = self.get(path, **query)["items"]
        return found

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout_sec: float | None = None,
        **query: object,
    ) -> Any:
        """POST, PUT, PATCH or DELETE; what was answered."""
        return _decoded(self.raw(method, path, body, timeout_sec=timeout_sec, query=query))

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout_sec: float | None = None,
        query: dict[str, object] | None = None,
    ) -> bytes:
        """The bytes of an answer that is no refusal."""
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        address = f"{API}{path}{'?' if given else ''}{urlencode(given)}"
        sent = None if body is None else orjson.dumps(body)
        status, data = self._exchanged(method, address, sent, timeout_sec or self._timeout)
        if status >= 300:
            raise _refusal(status, data)
        return data

    def _exchanged(
        self, method: str, address: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        used = self._connection is not None
        try:
            return self._exchange(method, address, body, timeout)
        except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError) as error:
            # It may hang up on who idles; what changes something is not said twice.
            self.close()
            if not (used and method == "GET"):
                raise self._unreachable(error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        return self._exchanged(method, address, body, timeout)

    def _exchange(
        self, method: str, address: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect(timeout)
        connection = self._connection
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        headers = {"Accept": "application/json", "User-Agent": f"hproxy/{__version__}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, address, body, headers)
        response = connection.getresponse()
        data = response.read(MOST_BYTES)
        if response.will_close:
            self.close()
        return response.status, data

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        target = self.target
        if target.path:
            return _UnixConnection(target.path, timeout)
        if target.secure:
            context = self._context or ssl.create_default_context()
            return http.client.HTTPSConnection(
                target.host, target.port, timeout=timeout, context=context
            )
        return http.client.HTTPConnection(target.host, target.port, timeout=timeout)

    def _unreachable(self, error: Exception) -> AdminError:
        if isinstance(error, TimeoutError):
            return AdminError(f"{self.target}: no answer in time", code="late")
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted: {error.verify_message}"
        elif isinstance(error, http.client.RemoteDisconnected):
            why = "it hung up"
        elif isinstance(error, ConnectionRefusedError | FileNotFoundError):
            why = f"{error.strerror}; no service runs there, or its http.address is another (-c)"
        else:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return AdminError(f"{self.target}: {why}", code="unreachable")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def segment(text: str) -> str:
    """A name as a part of a path."""
    return quote(text, safe="")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decoded(data: bytes) -> Any:
    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise AdminError(
            "the answer is no JSON", code="answer", hint="is this the address of an hproxy?"
        ) from None


def _refusal(status: int, data: bytes) -> AdminError:
    """What was said, as an error of ours: facts status, remote (its code), hint, findings."""
    try:
        told = orjson.loads(data)["error"]
        reason, facts = (
            str(told["message"]),
            {k: told[k] for k in ("hint", "findings") if k in told},
        )
        remote = str(told["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason, remote = http.client.responses.get(status, f"status {status}"), ""
        facts = {}
    return AdminError(reason, code="refused", status=status, remote=remote, **facts)


def explained(error: AdminError) -> str:
    """A refusal for people: the reason, every finding on a line, and what may help."""
    facts = error.facts
    lines = [error.reason or str(error)]
    for finding in facts.get("findings") or ():  # type: ignore[attr-defined]
        where = ": ".join(str(finding[name]) for name in ("where", "key") if finding.get(name))
        value = "" if finding.get("value") is None else f", got {finding['value']}"
        hint = f" ({finding['hint']})" if finding.get("hint") else ""
        lines.append(f"  {where}{': ' if where else ''}{finding['message']}{value}{hint}")
    if facts.get("hint"):
        lines[0] += f" ({facts['hint']})"
    return "\n".join(lines)
