# SPDX-License-Identifier: Apache-2.0
"""A proxy in a process of its own that answers questions about itself through its runtime port.

    with Observed(folder, sections) as proxy:
        proxy.ask("pools")          rows, as the port gives them
        proxy.ask("pins")

The child reads one word a line and answers with one line of JSON; end of input ends it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import uvloop

from hproxy.config.schema import Config
from hproxy.runtime import Runtime
from hproxy.telemetry import log as logs

__all__ = ["Observed"]

STOP_S = 20.0


class Observed:
    """Runs until left; its log is in `log`, a file."""

    def __init__(self, folder: Path, sections: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "observed.log"
        self._lock = Lock()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.observed", json.dumps(sections)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            address = self.ask("address")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    def ask(self, word: str) -> Any:
        """What the child says to one word. Fails with its log when it has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            try:
                stdin.write(word + "\n")
                stdin.flush()
            except BrokenPipeError:
                pass  # told below, with its log
            line = stdout.readline()
        if not line:
            raise AssertionError(f"the proxy ended:\n{self.log.read_text()}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise AssertionError(f"did not stop:\n{self.log.read_text()}") from None
        if error is None:
            assert self._process.returncode == 0, self.log.read_text()


# -- the child --------------------------------------------------------------------


async def _serve(sections: dict[str, Any]) -> None:
    config = Config(**sections)
    logs.configure(config.logging, sys.stderr)
    runtime = Runtime(config, logs.get_logger("hproxy"))
    runtime.start()
    port = runtime.port
    answers: dict[str, Callable[[], object]] = {
        "address": lambda: runtime.listener.address,
        "backends": lambda: [asdict(row) for row in port.backends()],
        "pools": port.pools,
        "pins": port.pins,
        "pin_counts": port.pin_counts,
        "digests": port.digests,
        "sessions": lambda: len(runtime.services.registry),
    }
    loop = asyncio.get_running_loop()
    while word := await loop.run_in_executor(None, sys.stdin.readline):
        found = answers[word.strip()]()
        sys.stdout.write(json.dumps(found, default=_plain) + "\n")
        sys.stdout.flush()
    await runtime.stop()


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])))
