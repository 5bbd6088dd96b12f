# SPDX-License-Identifier: Apache-2.0
"""The log: structlog with five levels, bound context, and a level that changes while running.

    log = get_logger("net.listener")          at import time, before `configure` as well
    log = log.bind(conn=17)                   every line of a connection carries its id
    log.info("client connected", peer=peer)   a short fixed text; facts as fields

A call below the level costs one comparison; guard costly arguments with `log.enabled("debug")`.
Nothing here raises into the program: a line that cannot be made or written is dropped.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from hproxy.config.schema import LogFormat, LoggingOptions
from hproxy.errors import ConfigError, ConfigFinding
from hproxy.telemetry.render import Event, Render, as_colour, as_json, as_text
from hproxy.telemetry.sink import Sink, file_sink, stream_sink

__all__ = ["LEVELS", "Logger", "configure", "get_logger", "on_reopen", "reopen", "set_level"]

TRACE, DEBUG, INFO, WARN, ERROR = 5, 10, 20, 30, 40
LEVELS = {"trace": TRACE, "debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}

Processor = Callable[[Any, str, MutableMapping[str, Any]], Any]


class Output:
    """The one place all loggers write through: the level and the sinks, both replaceable."""

    def __init__(self) -> None:
        self.threshold = INFO
        self.sinks: tuple[Sink, ...] = ()

    def emit(self, event: Event) -> None:
        for sink in self.sinks or (stream_sink(sys.stderr, as_text),):
            sink.emit(event)


def _stamp(_: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["ts"] = datetime.now(UTC)
    event["level"] = level
    return event


def _whole(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[Event], dict[str, Any]]:
    # Each sink renders for itself, so the chain ends with the event and not with a text.
    return (event,), {}


PROCESSORS: list[Processor] = [_stamp, structlog.processors.format_exc_info, _whole]


class Logger(structlog.BoundLoggerBase):
    """A named logger with bound fields; `bind`, `unbind` and `new` are structlog's."""

    _logger: Output

    def trace(self, event: str, /, **fields: object) -> None:
        if self._logger.threshold <= TRACE:
            self._tell("trace", event, fields)

    def debug(self, event: str, /, **fields: object) -> None:
        if self._logger.threshold <= DEBUG:
            self._tell("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        if self._logger.threshold <= INFO:
            self._tell("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        if self._logger.threshold <= WARN:
            self._tell("warn", event, fields)

    warn = warning

    def error(self, event: str, /, **fields: object) -> None:
        self._tell("error", event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An error line with the traceback of the exception being handled."""
        self._tell("error", event, {"exc_info": True, **fields})

    def enabled(self, level: str) -> bool:
        """Whether lines of this level are written now."""
        return self._logger.threshold <= LEVELS[level]

    def _tell(self, level: str, event: str, fields: dict[str, object]) -> None:
        try:
            args, _ = self._process_event(level, event, fields)
            self._logger.emit(args[0])
        except Exception:
            # A field whose __str__ raises must not end a session; say at least what happened.
            plain = {"ts": datetime.now(UTC), "level": level, "event": event}
            self._logger.emit({**plain, "unprintable": ", ".join(fields)})


_output = Output()


def get_logger(name: str) -> Logger:
    """A logger that writes through the one output, now and after any `configure`."""
    return Logger(_output, PROCESSORS, {"logger": name})


def configure(options: LoggingOptions, stream: TextIO | None = None) -> None:
    """Send all lines where `options` says; `stream` stands in for stdout or stderr.

    Raises ConfigError when the file cannot be opened; the former output then stays."""
    sinks: list[Sink] = []
    if options.file is not None:
        sinks.append(_opened(options))
    if options.stdout or not sinks:
        target = stream or (sys.stdout if options.stdout else sys.stderr)
        sinks.append(stream_sink(target, _render(options.format, target)))
    before, _output.sinks = _output.sinks, tuple(sinks)
    for sink in before:
        sink.close()
    set_level(options.level)
    structlog.configure(
        processors=PROCESSORS,
        wrapper_class=Logger,
        logger_factory=lambda *_: _output,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge())


def _opened(options: LoggingOptions) -> Sink:
    assert options.file is not None
    try:
        return file_sink(options.file, as_text if options.format == "text" else as_json)
    except OSError as error:
        finding = ConfigFinding(
            source="",
            key="logging.file",
            message=f"cannot be opened: {error.strerror}",
            value=f'"{options.file}"',
        )
        raise ConfigError(findings=[finding]) from None


def _render(form: LogFormat, stream: TextIO | None) -> Render:
    terminal = stream is not None and stream.isatty()  # None: started with the stream closed
    if form == "json" or (form == "auto" and not terminal):
        return as_json
    # no-color.org: any value but the empty one turns colours off.
    return as_colour if terminal and not os.environ.get("NO_COLOR") else as_text


def set_level(level: str) -> None:
    """Change what is written from now on, for every logger there is."""
    _output.threshold = LEVELS[level]


on_reopen: list[Callable[[], None]] = []
"""What else goes on in new files then."""


def reopen() -> None:
    """Open log files anew (SIGUSR1), so that a rotated file is let go."""
    for also in on_reopen:
        also()
    for sink in _output.sinks:
        error = sink.reopen()
        if error is not None:
            get_logger("telemetry").error("log file not reopened", reason=error.strerror)


class _Bridge(logging.Handler):
    """Lines of libraries that use the standard logging (asyncio's above all), WARNING and up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        log = get_logger(record.name)
        tell = log.error if record.levelno >= logging.ERROR else log.warning
        try:
            message = record.getMessage()
        except Exception:  # the caller's format and arguments do not match
            message = str(record.msg)
        if record.exc_info:
            tell(message, exc_info=record.exc_info)
        else:
            tell(message)
