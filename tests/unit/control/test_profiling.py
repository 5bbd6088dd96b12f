# SPDX-License-Identifier: Apache-2.0
"""One profile at a time, in one folder, of the process that was meant."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hproxy.control import profiling, pyspy
from hproxy.control.profiling import Profiler, chosen
from hproxy.errors import AdminError
from tests.support.worker import Journal
from tests.unit.conftest import Run, until

ROWS: list[dict[str, Any]] = [
    {"role": "angel", "slot": None, "pid": 10},
    {"role": "head", "slot": None, "pid": 11},
    {"role": "worker", "slot": 0, "pid": 12},
    {"role": "worker", "slot": 1, "pid": 13},
]


class Port:
    """As much of one as profiles need."""

    def __init__(self) -> None:
        self.processes = ROWS
        self.orders: list[tuple[str, ...]] = []

    async def status(self) -> dict[str, Any]:
        return {"processes": self.processes}

    async def order(self, name: str, *arguments: str) -> str:
        self.orders.append((name, *arguments))
        return f"{name} of everything"


class Recorder:
    """Takes the place of py-spy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[int, bool]] = []
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        monkeypatch.setattr(pyspy, "required", lambda: "py-spy")
        monkeypatch.setattr(pyspy, "record", self.record)

    async def record(
        self, pid: int, seconds: float, file: Path, *, enough: asyncio.Event, **options: Any
    ) -> None:
        self.asked.append((pid, options["family"]))
        if self.error is not None:
            raise self.error
        waits = [asyncio.ensure_future(event.wait()) for event in (enough, self.go_on)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self.go_on.clear()
        file.write_text("<svg/>")  # noqa: ASYNC240 - in memory, in a test


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)


def profiler(folder: Path) -> tuple[Profiler, Port]:
    port = Port()
    when = datetime(2026, 1, 31, 9, 5, tzinfo=UTC)
    return Profiler(folder / "profiles", port, Journal(), clock=lambda: when), port


def test_one_file_when_stopped(run: Run, tmp_path: Path, recorder: Recorder) -> None:
    made, _ = profiler(tmp_path)

    async def work() -> None:
        name = await made.start(5)
        assert name == "mp_cpu_2026-01-31-09-05-00.svg"
        assert made.state()["recording"]["file"] == name
        with pytest.raises(AdminError, match="a profile is being recorded"):
            await made.start(5)
        assert await made.stop()
        assert not await made.stop()
        await made.finished()
        assert made.state()["recording"] is None
        assert made.names() == [name]
        assert made.file(f"/tmp/elsewhere/{name}").read_text() == "<svg/>"

    run(work())
    assert recorder.asked == [(10, True)]
    assert (tmp_path / "profiles").stat().st_mode & 0o777 == 0o700


def test_repeated_until_stopped(run: Run, tmp_path: Path, recorder: Recorder) -> None:
    made, _ = profiler(tmp_path)

    async def work() -> None:
        await made.start(5, repeat=True)
        for count in (1, 2):
            recorder.go_on.set()
            await until(lambda wanted=count: len(made.names()) == wanted)  # type: ignore[misc]
        await until(lambda: len(recorder.asked) == 3)
        await made.stop()
        assert len(made.names("mp_cpu_")) == 3

    run(work())


def test_a_failure_is_told_and_the_next_may_begin(
    run: Run, tmp_path: Path, recorder: Recorder
) -> None:
    made, _ = profiler(tmp_path)

    async def work() -> None:
        recorder.error = AdminError("py-spy: no", code="profile")
        await made.start(5, target="worker:1")
        with pytest.raises(AdminError, match="py-spy: no"):
            await made.finished()
        assert "py-spy: no" in made.state()["last_error"]
        recorder.error = None
        await made.start(5)
        await until(lambda: len(recorder.asked) == 2)
        await made.close()
        assert made.state()["recording"] is None

    run(work())
    assert recorder.asked == [(13, False), (10, True)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0}, "1 to 600 seconds"),
        ({"seconds": 601}, "1 to 600 seconds"),
        ({"form": "png"}, "no such format"),
        ({"target": "worker:7"}, r"no such process.*all, angel, head, worker:0, worker:1"),
    ],
)
def test_refused(
    run: Run, tmp_path: Path, recorder: Recorder, options: dict[str, Any], words: str
) -> None:
    made, _ = profiler(tmp_path)
    with pytest.raises(AdminError, match=words):
        run(made.start(**options))
    assert recorder.asked == []


def test_without_py_spy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyspy, "found", lambda: None)
    made, _ = profiler(tmp_path)
    with pytest.raises(AdminError, match="py-spy is not installed"):
        run(made.start(1))


@pytest.mark.parametrize(
    "name", ["../secret", "secret", "..", "", "/", ".hidden", "a/../../secret", "x\0y", "x" * 200]
)
def test_nothing_outside_the_folder_is_read(tmp_path: Path, name: str) -> None:
    made, _ = profiler(tmp_path)
    (tmp_path / "secret").write_text("no")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/.hidden").write_text("no")
    with pytest.raises(AdminError, match="no such profile"):
        made.file(name)


def test_links_out_of_the_folder_are_nobodys_to_make(tmp_path: Path) -> None:
    """Only who may write into our folder could: the user that the proxy runs as."""
    made, _ = profiler(tmp_path)
    assert made.names() == []
    assert not (tmp_path / "profiles").exists()


def test_the_oldest_go(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MOST_FILES", 3)
    made, port = profiler(tmp_path)
    folder = tmp_path / "profiles"
    folder.mkdir()
    for number in range(5):
        path = folder / f"{number}.sql_proxy"
        path.touch()
        os.utime(path, (number, number))
    file = run(made.dump_heap())
    assert file.read_text() == "heap of everything"
    assert made.names() == ["3.sql_proxy", "4.sql_proxy", "2026-01-31-09-05-00.sql_proxy"]
    assert port.orders == [("heap",)]


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "profiles").touch()
    made, _ = profiler(tmp_path)
    with pytest.raises(AdminError):
        run(made.dump_heap())


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("all", (10, True)),
        ("head", (11, False)),
        ("worker", (12, False)),
        ("worker:1", (13, False)),
    ],
)
def test_targets(target: str, found: tuple[int, bool]) -> None:
    assert chosen(ROWS, target) == found


def test_one_process_alone_is_all() -> None:
    assert chosen([{"role": "single", "slot": None, "pid": 5}], "all") == (5, True)
