# SPDX-License-Identifier: Apache-2.0
"""A real `hproxy run` in a process of its own, as tests use it: address, log, orderly end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Any, Self

__all__ = ["LogLine", "Proxy", "Table", "toml"]

COMMAND = (sys.executable, "-m", "hproxy.cli.main", "run")
START_S = 30.0
STOP_S = 20.0
LOG_S = 10.0

LogLine = dict[str, Any]
Table = Mapping[str, Any]


class Proxy:
    """Runs from construction to `stop`; `log` grows by itself."""

    host: str
    port: int

    def __init__(
        self,
        folder: Path,
        sections: Mapping[str, Any] | Path,
        flags: Sequence[str] = (),
        *,
        single: bool = True,
        waits: bool = False,
        command: Sequence[str] | None = None,
    ) -> None:
        """Write `sections` to `folder`/hproxy.toml, start, and wait until it serves.

        There is no admin port and no HTTP API unless `sections` say so. They may also be a file
        that is there already, a proxysql.cnf for instance. `single`: one process, not angel, head
        and workers. `waits`: for a service to take over from; call `served` when that has been
        told to hand over. `command` is there for other builds than this one."""
        if "--http" not in flags and (isinstance(sections, Path) or "http" not in sections):
            flags = (*flags, "--http", "")
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(sections, Path):
            self.config = sections
        else:
            self.config = folder / "hproxy.toml"
            self.config.write_text(toml(sections if "admin" in sections else _alone(sections)))
        self.log: list[LogLine] = []
        self.noise: list[str] = []  # lines that are no JSON: a traceback of the interpreter, say
        self._grown = threading.Condition()
        self._process = subprocess.Popen(
            [*(command or COMMAND), *["--single"] * single, "-c", str(self.config), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f"log of hproxy {self.pid}"
        )
        self._reader.start()
        try:
            if waits:
                self.wait_for_log("waiting for the service that runs", deadline_s=START_S)
            else:
                self.served()
        except AssertionError:
            self.kill()
            raise

    def served(self) -> None:
        """Wait until it serves."""
        serving = self.wait_for_log("serving", deadline_s=START_S)
        self.host, _, port = serving["address"].rpartition(":")
        self.port = int(port)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                with self._grown:
                    try:
                        self.log.append(json.loads(raw))
                    except ValueError:
                        self.noise.append(raw.decode("utf-8", "replace"))
                    self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()

    # -- log ---------------------------------------------------------------------

    def lines(self, event: str, since: int = 0, **facts: object) -> list[LogLine]:
        """The lines of `event` so far, from the `since`th on, that have all of `facts`."""
        with self._grown:
            return self._matching(event, since, facts)

    def _matching(self, event: str, since: int, facts: Mapping[str, object]) -> list[LogLine]:
        wanted = {"event": event, **facts}
        return [
            line
            for line in self.log[since:]
            if all(line.get(key) == value for key, value in wanted.items())
        ]

    def wait_for_log(
        self, event: str, *, deadline_s: float = LOG_S, since: int = 0, **facts: object
    ) -> LogLine:
        """The first such line, which may still be to come. Fails when it does not in time."""
        end = monotonic() + deadline_s
        with self._grown:
            while not (found := self._matching(event, since, facts)):
                left = end - monotonic()
                ended = self._process.poll() is not None and not self._reader.is_alive()
                if left <= 0 or ended:
                    raise AssertionError(f"no {event!r} {facts} in the log:\n{self.story(since)}")
                self._grown.wait(min(left, 0.5))
        return found[0]

    def story(self, since: int = 0) -> str:
        """The log as text, for messages."""
        return "\n".join([*map(str, self.log[since:]), *self.noise])

    def faults(self, since: int = 0) -> list[LogLine]:
        """What may never stand in the log: mistakes of ours, and bytes we did not understand."""
        with self._grown:
            found = [
                line
                for line in self.log[since:]
                if "exception" in line
                or line.get("event") in ("internal error", "backend broke the protocol")
            ]
            return found + [{"event": "noise", "line": line} for line in self.noise]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Look again whenever a line is logged, until `condition` holds."""
        end = monotonic() + LOG_S
        with self._grown:
            while not condition():
                left = end - monotonic()
                if left <= 0:
                    raise AssertionError(f"not in time: {what}\n{self.story()}")
                self._grown.wait(min(left, 0.2))

    # -- end ---------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self, deadline_s: float) -> None:
        """Fails unless it ends by itself in time, with exit code 0 and nothing bad in its log."""
        try:
            status = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not at its end in {deadline_s} s:\n{self.story()}") from None
        self._reader.join()
        assert status == 0, f"exit code {status}:\n{self.story()}"
        assert not self.faults(), self.faults()

    def stop(self) -> None:
        """TERM; fails unless it ends in time, with exit code 0 and nothing bad in its log."""
        self.signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop within {STOP_S} s:\n{self.story()}") from None
        self._reader.join()
        assert status == 0, f"exit code {status}:\n{self.story()}"
        assert not self.faults(), self.faults()

    def kill(self) -> None:
        """End it at once, asking nothing."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.running:
            return
        if error is None:
            self.stop()
        else:
            self.kill()


def _alone(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Without an admin port, which all would want to have, and without monitors: connections
    and lines of the log come of nothing but what clients do."""
    off = {"monitor_enabled": False}
    return {"admin": {"address": ""}, **sections} | {
        "mysql_variables": off | sections.get("mysql_variables", {})
    }


def toml(sections: Mapping[str, Any]) -> str:
    """The TOML of a mapping of sections; a list of mappings becomes an array of tables."""
    out: list[str] = []
    for name, content in sections.items():
        tables: Iterable[Table] = [content] if isinstance(content, Mapping) else content
        head = f"[{name}]" if isinstance(content, Mapping) else f"[[{name}]]"
        for table in tables:
            out.append(head)
            # JSON's strings, numbers, booleans and arrays are TOML's.
            out += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(out) + "\n"
