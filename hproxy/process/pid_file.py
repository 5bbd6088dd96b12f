# SPDX-License-Identifier: Apache-2.0
"""The file that says which process is the service: a lock on it is the truth, the number in it
is for people.

    nothing there            made, locked, written
    there, nobody's lock     of one that is gone: kept as FILE.old, a new one made
    there, locked            its process lives: refused, or (upgrade) kept as FILE.old

The lock ends with the process, however it ends, and a number that the system has given to
another process since means nothing. No child inherits the descriptor over an exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from hproxy.errors import ConfigError

__all__ = ["PidFile"]

MODE = 0o644
"""Whatever the umask: who watches or signals the service may be another user."""


class PidFile:
    """The file of this process, from `take` to `drop`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def take(cls, path: Path, *, replace: bool = False) -> PidFile:
        """Write this process into `path`. `replace`: also where another that lives stands there,
        which then finds itself in FILE.old. Raises ConfigError."""
        path = path.absolute()  # the working directory may be another one at the end
        try:
            while True:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
                try:
                    if cls._ours(path, fd, replace=replace):
                        os.fchmod(fd, MODE)
                        os.write(fd, f"{os.getpid()}\n".encode())
                        return cls(path, fd)
                except BaseException:
                    os.close(fd)
                    raise
                os.close(fd)
        except OSError as error:
            raise _refused(path, f"cannot be written: {error.strerror}") from error

    @staticmethod
    def _ours(path: Path, fd: int, *, replace: bool) -> bool:
        """Whether `fd` is a new file with our lock; False: look again, `path` is another now."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            living = False
        except BlockingIOError:
            living = True
        written = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        if living and not replace:
            raise _refused(
                path,
                f"belongs to a process that lives ({written or 'it is starting'})",
                "end it first, or start with --upgrade to take its place",
            )
        if not _is(path, fd):  # between open and lock somebody else renamed it
            return False
        if living or written:
            os.rename(path, f"{path}.old")
            return False
        return True

    def drop(self) -> None:
        """The process ends: its file goes, unless it is another's by now. One that was replaced
        and lives on, for this start came to nothing, has its name back."""
        old = Path(f"{self.path}.old")
        for path in (self.path, old):
            if not _is(path, self._fd):
                continue
            try:
                if path == self.path and _locked(old):
                    os.rename(old, path)
                else:
                    os.unlink(path)
            except OSError:  # a folder that only root may write to, and we no longer are
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, 0)
        os.close(self._fd)


def _locked(path: Path) -> bool:
    """Whether a process that lives holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _is(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _refused(path: Path, why: str, hint: str = "") -> ConfigError:
    return ConfigError(why, key="server.daemon.pid_file", value=f'"{path}"', hint=hint)
