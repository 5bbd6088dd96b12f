# SPDX-License-Identifier: Apache-2.0
"""The HTTP API for tests: real sockets, a real console behind its door, a port that remembers.

test ── http.client ──> Http (a thread with its own loop) ──> Door ──> ConsoleDatabase ──> port
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hproxy.admin.console import ConsoleDatabase
from hproxy.admin.console.door import Door
from hproxy.admin.model import Client
from hproxy.config.schema import Config
from hproxy.control.server import Http
from hproxy.telemetry.metrics import Reading
from tests.support.aside import aside
from tests.support.console import FakePort, check_regex
from tests.support.worker import Journal

__all__ = ["ANSWER_S", "READER", "TOKEN", "Answer", "Api", "ServicePort", "api"]

HERE = "127.0.0.1"
TOKEN = "0123456789abcdef0123"
READER = "reader-0123456789abcdef"
ANSWER_S = 20.0


class ServicePort(FakePort):
    """One that is asked for its state as well."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, Any] = {"ready": True, "reasons": [], "started": True}
        self.statuses: list[tuple[int | None, str, str]] = []
        self.broken = False

    async def status(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("not an error of ours")
        return dict(self.state)

    async def measured(self) -> Reading:
        return Reading(totals={}, memory={}, version="1")

    async def setting_status(self, hostgroup: int | None, address: str, status: str) -> int:
        self.statuses.append((hostgroup, address, status))
        return 1


@dataclass
class Answer:
    """Of one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error."""
        return str(self.json["error"]["code"])


@dataclass
class Api:
    """One that serves; requests carry the full token unless told otherwise."""

    port: ServicePort
    server: Http
    number: int
    loop: asyncio.AbstractEventLoop
    log: Journal
    told: list[tuple[str, str]] = field(default_factory=list)
    """What the audit log was told: user and statement."""

    def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN
    ) -> Answer:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["content-type"] = "application/json"
        connection = http.client.HTTPConnection(HERE, self.number, timeout=ANSWER_S)
        try:
            sent = body if isinstance(body, bytes | None) else json.dumps(body)
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Any:
        """What a GET that is answered gives."""
        answer = self("GET", path, **options)
        assert answer.status == 200, answer.body
        return answer.json

    def connect(self) -> socket.socket:
        """A connection for who speaks otherwise."""
        return socket.create_connection((HERE, self.number), timeout=ANSWER_S)

    def call(self, work: Callable[[], Any]) -> Any:
        """Do something on the loop."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(ANSWER_S)


@contextmanager
def api(
    folder: Path, *, port: ServicePort | None = None, patient: bool = False, **options: Any
) -> Iterator[Api]:
    """One on a free port; `options` are those of [http]. `patient`: as if nobody had asked for
    the address."""
    made = {"address": f"{HERE}:0", "token": TOKEN, "read_token": READER} | options
    made = {name: value for name, value in made.items() if value is not None}
    config = Config.model_validate(
        {"server": {"data_dir": folder}, "http": made, "admin": {"address": f"{HERE}:0"}}
    )
    if patient:
        config.http.model_fields_set.discard("address")
    wanted, log = port or ServicePort(), Journal()

    async def make() -> AsyncIterator[Api]:
        told: list[tuple[str, str]] = []

        def hear(client: Client, statement: str) -> None:
            told.append((client.user, statement))

        loop = asyncio.get_running_loop()
        console = ConsoleDatabase(wanted, check_regex=check_regex, told=hear)
        try:
            await console.start()
            server = Http(config, wanted, Door(console), log)
            server.start()
            first = server.addresses[0] if server.addresses else ""
            number = int(first.rpartition(":")[2] or 0) if not first.startswith("/") else 0
            yield Api(wanted, server, number, loop, log, told)
            await server.stop()
        finally:
            console.close()

    with aside(make, "http api") as served:
        yield served
