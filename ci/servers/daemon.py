# SPDX-License-Identifier: Apache-2.0
"""One background process: start it, find it again by its pid file, stop it."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.servers.place import service_user

STEP_S = 0.05
STOP_S = 30.0


class ServiceError(Exception):
    """A server that cannot run; the message is what to do about it."""


def find(command: str, package: str) -> str:
    """The path of an installed program, or the line that installs it."""
    path = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise ServiceError(
            f"{command} is missing: sudo apt-get install --no-install-recommends {package}"
        )
    return path


def run(command: Sequence[str | Path], *, stdin: str = "", as_service: bool = False) -> str:
    """Run to the end and return what it printed; ServiceError carries its complaint."""
    user = service_user() if as_service else None
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        raise ServiceError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Poll until `ready()`; False when the deadline passed first."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_S)
    return True


@dataclass(frozen=True)
class Daemon:
    """A process with its pid file and its log in `folder`, which its arguments name."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """Its process, or None; a recycled number is recognised by the command line."""
        try:
            pid = int((self.folder / "pid").read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_text()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        return pid if str(self.folder) in arguments and state != "Z" else None

    def start(self, command: Sequence[str]) -> None:
        """Start it in the background, detached; it outlives us."""
        user = service_user()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=raise_descriptor_limit,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
            )
        (self.folder / "pid").write_text(f"{process.pid}\n")

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Raise, with the end of the log, when it dies or is not ready in time."""
        done = wait_until(lambda: ready() or self.pid is None, seconds)
        if not done or self.pid is None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            what = "died" if self.pid is None else f"did not answer within {seconds:.0f} s"
            raise ServiceError(f"{self.folder.name} {what}; the end of {self.log}:\n{tail}")

    def stop(self) -> bool:
        """Ask, then insist; False when it was not running."""
        pid = self.pid
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: self.pid is None, STOP_S):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: self.pid is None, STOP_S)
        (self.folder / "pid").unlink()
        return True


def raise_descriptor_limit() -> None:
    """In the child: tests hold thousands of connections, the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
