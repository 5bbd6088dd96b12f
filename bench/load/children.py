# SPDX-License-Identifier: Apache-2.0
"""Starts the processes a benchmark needs and stops every one of them, whatever happens."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from bench.load.errors import BenchError

PORTS = range(24000, 24100)
START_S = 20.0
STOP_S = 5.0
POLL_S = 0.05
LOG_TAIL = 2000  # characters


class Children:
    """A folder for their files, and the processes started so far."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hproxy-bench-")
        self.folder = Path(self._folder.name)
        self._running: list[subprocess.Popen[str]] = []
        self._handed_out: set[int] = set()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            _end(process)
        self._running.clear()
        self._folder.cleanup()

    def start(
        self, name: str, argv: Sequence[str], ready: Callable[[], bool], cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a server, its output in a file, and wait until `ready` says so."""
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = self._spawn(argv, stdout=output, stdin=subprocess.DEVNULL, cwd=cwd)
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None:
                raise BenchError(f"{name} ended at start: {tail(log)}")
            if time.monotonic() > deadline:
                raise BenchError(f"{name} did not answer within {START_S:.0f} s: {tail(log)}")
            time.sleep(POLL_S)
        return process

    def last_words(self, name: str, process: subprocess.Popen[str]) -> str | None:
        """Say how a server ended and what it wrote last; None while it runs."""
        if (code := process.poll()) is None:
            return None
        return f"{name} has ended with code {code}: {tail(self.folder / f'{name}.log')}"

    def open(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a client that is spoken to over its standard input and output."""
        return self._spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str = "") -> str:
        """Run a client to its end and give its output."""
        process = self.open(argv)
        try:
            output, _ = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{argv[0]} was stopped after {timeout_s:.0f} s") from None
        finally:
            self.stop(process)
        if process.returncode != 0:
            raise BenchError(f"{Path(argv[0]).name} failed: {complaint(output)}")
        return output

    def follow(self, argv: Sequence[str], *, timeout_s: float) -> Iterator[str]:
        """Run a client to its end and give its output line by line, as it comes."""
        process = self.open(argv)
        # A pipe cannot be read with a deadline; without its writer it ends.
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        lines = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                yield line
            process.wait()
            if process.returncode == -signal.SIGKILL:
                raise BenchError(f"{argv[0]} was stopped after {timeout_s:.0f} s")
            if process.returncode != 0:
                raise BenchError(f"{Path(argv[0]).name} failed: {complaint(''.join(lines))}")
        finally:
            late.cancel()
            self.stop(process)

    def stop(self, process: subprocess.Popen[str]) -> None:
        """Stop one child; one that has already ended is only taken off the list."""
        _end(process)
        self._running.remove(process)

    def free_port(self) -> int:
        """Give a loopback port of the benchmark's range that nobody listens on."""
        for port in PORTS:
            if port not in self._handed_out and _is_free(port):
                self._handed_out.add(port)
                return port
        raise BenchError(f"no free port between {PORTS[0]} and {PORTS[-1]}")

    def _spawn(
        self,
        argv: Sequence[str],
        *,
        stdin: int,
        stdout: int | IO[str],
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C reaches the benchmark alone, which then stops its children
        # in order and can still read their last words.
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            start_new_session=True,
        )
        self._running.append(process)
        return process


def raise_fd_limit() -> int:
    """Lift the soft limit of file descriptors to the hard one, for us and our children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def complaint(output: str) -> str:
    """Shorten a failed client's output: every thread of it complains in the same words."""
    lines = dict.fromkeys(line.strip() for line in output.splitlines())
    loud = [line for line in lines if "FATAL" in line or "Error" in line]
    return " / ".join(loud[:3]) or output[-LOG_TAIL:].strip() or "it said nothing"


def tail(log: Path) -> str:
    """Give the end of a child's output."""
    text = log.read_text(errors="replace").strip()
    return text[-LOG_TAIL:] or "it wrote nothing"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _end(process: subprocess.Popen[str]) -> None:
    """Ask, then insist; the whole session goes, so no worker is left behind."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
