# SPDX-License-Identifier: Apache-2.0
"""Into the background: the shell gets its prompt back when the service serves, or an error and
exit code 1 when it does not.

    hproxy run -d ─ fork ─ setsid ─ fork ─ the service: no terminal, stdin /dev/null,
        │                                   stdout and stderr in the error log, umask 007
        └── waits on a pipe:  "+"          serves (or, in an upgrade, waits for sockets): exit 0
                              text, end    cannot start, and why: exit 1
                              end          died without a word: exit 1

Call `detach` before any thread or loop. The working directory stays, for relative paths in flags
and variables mean the same after a reload.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from hproxy.errors import ConfigError

__all__ = ["UMASK", "Launch", "detach", "take_output"]

UMASK = 0o007
SERVES = b"+"


class Launch:
    """What whoever started us waits to hear; nobody waits for a service in the foreground."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd

    def succeeded(self) -> None:
        self._say(SERVES)

    def failed(self, why: str) -> None:
        self._say(why.encode("utf-8", "replace"))

    def _say(self, word: bytes) -> None:
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            os.write(fd, word)
        except OSError:  # interrupted at the terminal: the service goes on
            pass
        finally:
            os.close(fd)


def detach(error_log: Path | None) -> Launch:
    """Go on in the background, in another process; returns there only. Raises ConfigError, still
    in the foreground, for an error log that cannot be opened."""
    log = _opened(error_log)
    heard, said = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(said)
        _wait(child, heard, error_log)
    os.close(heard)
    os.setsid()
    if os.fork():  # not the leader of its session: no terminal can become its own
        os._exit(0)
    os.umask(UMASK)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    for number in (1, 2):
        os.dup2(nothing if log is None else log, number)
    for fd in (nothing, log):
        if fd is not None and fd > 2:
            os.close(fd)
    return Launch(said)


def take_output(error_log: Path) -> None:
    """stdout and stderr into the file of that name, made anew when it was rotated (USR1).
    Raises ConfigError; then all stays."""
    log = _opened(error_log)
    assert log is not None
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _opened(error_log: Path | None) -> int | None:
    if error_log is None:
        return None
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(error_log, flags, 0o640)
    except OSError as error:
        raise ConfigError(
            f"cannot be opened: {error.strerror}",
            key="server.daemon.error_log",
            value=f'"{error_log}"',
        ) from error


def _wait(child: int, heard: int, error_log: Path | None) -> NoReturn:
    os.waitpid(child, 0)
    with open(heard, "rb") as pipe:
        word = pipe.read()
    if word == SERVES:
        os._exit(0)
    look = f"; see {error_log}" if error_log else ""
    text = word.decode("utf-8", "replace") or f"ended while starting, without a word{look}"
    os.write(2, f"hproxy: {text}\n".encode())
    os._exit(1)
