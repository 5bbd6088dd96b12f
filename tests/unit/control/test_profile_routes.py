# SPDX-License-Identifier: Apache-2.0
"""Profiles over HTTP: haentgl's answers word for word, and ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from hproxy.control import pyspy
from hproxy.control.profile_routes import profile_routes
from hproxy.control.profiling import Profiler
from tests.support.worker import Journal
from tests.unit.conftest import Run
from tests.unit.control.test_profiling import Port

Talk = Callable[[httpx.AsyncClient], Any]


class Site:
    """The routes, and a folder with a profile in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = Port()
        self.profiler = Profiler(folder, self.port, Journal())
        self.app = FastAPI()
        self.app.include_router(profile_routes(self.profiler))
        (folder / "mp_cpu_1.svg").write_text("<svg>one</svg>")

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://proxy")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    async def record(
        pid: int, seconds: float, file: Path, *, enough: asyncio.Event, **options: Any
    ) -> None:
        await enough.wait()
        file.write_text("<svg>two</svg>")  # noqa: ASYNC240 - in memory, in a test

    monkeypatch.setattr(pyspy, "required", lambda: "py-spy")
    monkeypatch.setattr(pyspy, "record", record)
    return Site(tmp_path)


def test_haentgl_cpu(run: Run, site: Site) -> None:
    async def work() -> None:
        async with site.client() as client:
            start = "/start_cpu_prof?duration=1&profile_path=/tmp/sql_proxy_cpu_prof/"
            assert (await client.get(start)).json() == {"cpu_prof_start": "true"}
            assert (await client.get(start)).json() == {"cpu_prof_start": "false"}
            assert (await client.get("/stop_cpu_prof")).json() == {"cpu_prof_stop": "true"}
            assert (await client.get("/stop_cpu_prof")).json() == {"cpu_prof_stop": "false"}
            assert (await client.get("/list_cpu_profile")).status_code == 400
            names = (await client.get("/list_cpu_profile?profile_path=/tmp/x/")).json()
            assert names[0] == "mp_cpu_1.svg"
            assert len(names) == 2
            assert (await client.get("/print_cpu_prof")).status_code == 400
            shown = await client.get(f"/print_cpu_prof?profile_file=/tmp/x/{names[1]}")
            assert shown.headers["content-type"] == "image/svg+xml"
            assert shown.text == "<svg>two</svg>"
            missing = await client.get("/print_cpu_prof?profile_file=/etc/passwd")
            assert missing.status_code == 500

    run(work())


def test_haentgl_says_why_not(run: Run, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.port.processes = []

    async def work() -> None:
        async with site.client() as client:
            said = (await client.get("/start_cpu_prof")).json()["cpu_prof_start"]
            assert "no such process" in said

    run(work())


def test_haentgl_memory(run: Run, site: Site) -> None:
    async def work() -> None:
        async with site.client() as client:
            assert (await client.get("/mem_dump")).json() == {"mem_heap_dump": str(site.folder)}
            (file,) = site.folder.glob("*.sql_proxy")
            assert file.read_text() == "heap of everything"
            heap = "process 7: x\n   objects        KiB  type\n        12    1200.4  dict\n"
            file.write_text(f"-- head\n{heap}\n         3       5.0  /src/a.py:7\n")
            assert (await client.get(f"/mem_prof_analysis//tmp/{file.name}")).content == b""
            assert (site.folder / "collapsed").read_text() == "process 7;dict 1200\n"
            assert (await client.get("/mem_prof_analysis/none")).status_code == 500
            (site.folder / "collapsed").unlink()
            file.unlink()
            (site.folder / "mp_cpu_1.svg").unlink()
            site.folder.rmdir()
            site.folder.touch()
            assert "mem_heap_dump_err" in (await client.get("/mem_dump")).json()

    run(work())


def test_ours(run: Run, site: Site) -> None:
    async def work() -> None:
        async with site.client() as client:
            base = "/api/v1/profile"
            begun = await client.post(f"{base}/cpu", json={"seconds": 2, "target": "worker:1"})
            assert begun.status_code == 202
            file = begun.json()["file"]
            assert (await client.get(base)).json()["recording"]["target"] == "worker:1"
            assert (await client.post(f"{base}/stop")).json() == {"stopped": True}
            state = (await client.get(base)).json()
            assert state["recording"] is None
            assert file in state["files"]
            got = await client.get(f"{base}/files/{file}")
            assert got.text == "<svg>two</svg>"
            assert "sandbox" in got.headers["content-security-policy"]
            assert (await client.get(f"{base}/heap")).text == "heap of everything\n"
            assert (await client.get(f"{base}/stacks")).text == "stacks of everything\n"
            for on, frames in ((True, "4"), (False, "0")):
                await client.put(f"{base}/tracing", json={"on": on, "frames": 4})
                assert site.port.orders[-1] == ("trace_heap", frames)

    run(work())


@pytest.mark.parametrize(
    "body", [{"seconds": 0}, {"seconds": 601}, {"format": "png"}, {"second": 1}]
)
def test_wrong_bodies(run: Run, site: Site, body: dict[str, Any]) -> None:
    async def work() -> None:
        async with site.client() as client:
            answer = await client.post("/api/v1/profile/cpu", json=body)
            assert answer.status_code == 422

    run(work())
