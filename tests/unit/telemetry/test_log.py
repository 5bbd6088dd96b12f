# SPDX-License-Identifier: Apache-2.0
"""Loggers: levels that change while running, bound context, every destination, no exception."""

from __future__ import annotations

import io
import logging
import os
import pty
import sys
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from hproxy.config.schema import LoggingOptions
from hproxy.errors import ConfigError
from hproxy.telemetry import configure, get_logger, log, reopen, set_level

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def former_output() -> Iterator[None]:
    """Each test configures; afterwards everything is as before the first."""
    output, root = log._output, logging.getLogger()
    sinks, threshold, handlers = output.sinks, output.threshold, list(root.handlers)
    yield
    for sink in output.sinks:
        sink.close()
    output.sinks, output.threshold, root.handlers[:] = sinks, threshold, handlers
    structlog.reset_defaults()


@pytest.fixture
def lines() -> Lines:
    """Logs go to a stream; returns what was written since the last call."""
    stream = io.StringIO()
    configure(LoggingOptions(level="trace"), stream)

    def taken() -> list[dict[str, Any]]:
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return [orjson.loads(line) for line in text.splitlines()]

    return taken


def test_fields_of_a_line(lines: Lines) -> None:
    get_logger("net").bind(conn=7).info("client connected", peer="::1")
    (line,) = lines()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "net",
        "event": "client connected",
        "conn": 7,
        "peer": "::1",
    }


def test_bind_makes_a_new_logger(lines: Lines) -> None:
    base = get_logger("net")
    bound = base.bind(conn=7)
    base.info("a")
    bound.unbind("conn").info("b")
    bound.info("c", conn=8)
    assert [line.get("conn") for line in lines()] == [None, None, 8]


@pytest.mark.parametrize("level", ["trace", "debug", "info", "warn", "error"])
def test_levels(lines: Lines, level: str) -> None:
    logger = get_logger("x")
    order = ["trace", "debug", "info", "warn", "error"]
    set_level(level)
    for name in order:
        assert logger.enabled(name) == (order.index(name) >= order.index(level))
    logger.trace("m")
    logger.debug("m")
    logger.info("m")
    logger.warn("m")
    logger.warning("m")
    logger.error("m")
    told = [line["level"] for line in lines()]
    assert sorted(set(told), key=order.index) == order[order.index(level) :]


def test_level_changes_for_loggers_that_exist(lines: Lines) -> None:
    logger = get_logger("x").bind(conn=1)
    set_level("error")
    logger.info("hidden")
    set_level("info")
    logger.info("shown")
    assert [line["event"] for line in lines()] == ["shown"]


def test_exception_with_its_traceback(lines: Lines) -> None:
    logger = get_logger("x")
    try:
        raise ZeroDivisionError("what")
    except ZeroDivisionError as error:
        logger.exception("failed", conn=1)
        kept = error
    logger.error("later", exc_info=kept)
    for line in lines():
        assert line["level"] == "error"
        assert "ZeroDivisionError: what" in line["exception"]
        assert "exc_info" not in line


def test_a_field_that_cannot_be_told_costs_only_the_fields(lines: Lines) -> None:
    class Sulking:
        def __str__(self) -> str:
            raise RuntimeError("no")

    get_logger("x").info("it happened", value=Sulking())
    (line,) = lines()
    assert (line["event"], line["unprintable"]) == ("it happened", "value")


def test_fields_cannot_replace_level_or_time(lines: Lines) -> None:
    get_logger("x").info("m", level="fake", ts="fake")
    (line,) = lines()
    assert line["level"] == "info"
    assert line["ts"] != "fake"


def test_before_configure_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log._output.sinks = ()
    set_level("info")  # whatever an earlier test left behind
    get_logger("x").info("early")
    assert "info  early" in capsys.readouterr().err


def test_json_when_not_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LoggingOptions())
    get_logger("x").info("m")
    assert capfd.readouterr().out.startswith("{")
    configure(LoggingOptions(format="text"))
    get_logger("x").info("m")
    assert " info  m" in capfd.readouterr().out


def test_without_stdout_and_file_lines_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LoggingOptions(stdout=False))
    get_logger("x").info("m")
    out, err = capfd.readouterr()
    assert out == ""
    assert '"event":"m"' in err


def test_file_beside_stdout_and_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "h.log"
    configure(LoggingOptions(file=path))
    get_logger("x").info("both")
    configure(LoggingOptions(file=path, stdout=False, format="text"))
    get_logger("x").info("alone")
    out, err = capfd.readouterr()
    assert (out.count("both"), out.count("alone"), err) == (1, 0, "")
    first, second = path.read_text().splitlines()
    assert orjson.loads(first)["event"] == "both"
    assert " info  alone" in second


def test_a_file_that_cannot_be_opened_is_refused_and_the_output_stays(
    tmp_path: Path, lines: Lines
) -> None:
    with pytest.raises(ConfigError) as raised:
        configure(LoggingOptions(file=tmp_path / "none/h.log"))
    assert raised.value.findings[0].key == "logging.file"
    get_logger("x").info("still")
    assert [line["event"] for line in lines()] == ["still"]


def test_configure_again_closes_the_former_file(tmp_path: Path) -> None:
    configure(LoggingOptions(file=tmp_path / "a.log", stdout=False))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        configure(LoggingOptions(file=tmp_path / "a.log", stdout=False))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_terminal_gets_text(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        configure(LoggingOptions(), terminal)
        get_logger("x").info("m")
        told = os.read(master, 4096)
    os.close(master)
    assert (b"\x1b[" in told) == coloured
    assert not told.startswith(b"{")


def test_started_without_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    configure(LoggingOptions())
    get_logger("x").info("nowhere")
    assert log._output.sinks[0].dropped == 1


def test_reopen_after_rotation(tmp_path: Path) -> None:
    path = tmp_path / "h.log"
    configure(LoggingOptions(file=path, stdout=False))
    get_logger("x").info("one")
    path.rename(tmp_path / "old.log")
    reopen()
    get_logger("x").info("two")
    assert '"two"' in path.read_text()
    assert '"one"' not in path.read_text()


def test_reopen_that_fails_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    configure(LoggingOptions(file=folder / "h.log", stdout=False))
    folder.rename(tmp_path / "moved")
    reopen()
    assert "log file not reopened" in (tmp_path / "moved/h.log").read_text()


def test_lines_of_standard_logging_arrive(lines: Lines) -> None:
    configure(LoggingOptions(), io.StringIO())  # a second time: still one line each
    stream = io.StringIO()
    configure(LoggingOptions(), stream)
    library = logging.getLogger("asyncio")
    library.warning("slow %s", "callback")
    library.error("broken", exc_info=ValueError("why"))
    library.info("not told")
    # Straight to our handler: the test runner's own would raise for this one.
    bad = logging.LogRecord("asyncio", logging.ERROR, "", 1, "bad %d format", ("x",), None)
    log._Bridge().handle(bad)
    told = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["level"], line["logger"], line["event"]) for line in told] == [
        ("warn", "asyncio", "slow callback"),
        ("error", "asyncio", "broken"),
        ("error", "asyncio", "bad %d format"),
    ]
    assert "ValueError: why" in told[1]["exception"]
    assert lines() == []


def test_structlog_itself_writes_here(lines: Lines) -> None:
    structlog.get_logger().info("m", a=1)
    (line,) = lines()
    assert (line["event"], line["a"], line["level"]) == ("m", 1, "info")


def test_a_line_below_the_level_costs_under_a_microsecond(lines: Lines) -> None:
    set_level("info")
    logger = get_logger("x").bind(conn=1)

    def call() -> None:
        logger.debug("m", a=1, b=2)

    best = min(timeit.repeat(call, number=1000, repeat=20)) / 1000
    assert best < 1e-6
    assert lines() == []
