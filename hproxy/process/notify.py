# SPDX-License-Identifier: Apache-2.0
"""What systemd is told about the service (sd_notify(3)): datagrams to $NOTIFY_SOCKET.

    READY=1 MAINPID=n    serves                    RELOADING=1 ... READY=1    a reload
    STOPPING=1           drains, then ends         WATCHDOG=1                 lives, twice as
    STATUS=...           one line for `status`                                often as asked for

Without systemd nothing is sent and nothing fails: a manager that does not hear must not cost an
outage. Children never speak: the variables are taken out of the environment.
Spec: sd_notify(3), sd_watchdog_enabled(3), "Type=notify-reload" in systemd.service(5).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ["Notifier"]

USEC = 1_000_000


class Notifier:
    """The way to the manager, from its variables."""

    def __init__(self, address: str = "", watchdog_sec: float = 0.0) -> None:
        self._socket: socket.socket | None = None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # the loop waits for no manager
        self.beat_sec = watchdog_sec / 2 if self._socket else 0.0
        """How often `beat` is wanted; 0: never."""
        self.environ = {"NOTIFY_SOCKET": address} if address else {}
        """For a process that takes the place of this one."""
        if self.beat_sec:
            self.environ["WATCHDOG_USEC"] = str(int(watchdog_sec * USEC))

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str], pid: int | None = None) -> Notifier:
        """Takes the variables out of `environ`. `pid` is the one the manager started."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "")
        mine = not watched or watched == str(os.getpid() if pid is None else pid)
        return cls(address, int(usec) / USEC if usec.isdecimal() and mine else 0.0)

    def ready(self, status: str = "") -> None:
        """It serves. The main process is this one, also after an upgrade or a fork."""
        self._tell("READY=1", f"MAINPID={os.getpid()}", *_status(status))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "", within_sec: float = 0.0) -> None:
        """It drains; `within_sec` more than the manager would wait may be needed."""
        longer = [f"EXTEND_TIMEOUT_USEC={int(within_sec * USEC)}"] if within_sec else []
        self._tell("STOPPING=1", *longer, *_status(status))

    def status(self, text: str) -> None:
        self._tell(*_status(text))

    def beat(self) -> None:
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        with contextlib.suppress(OSError):  # gone, or full: the next one may arrive
            self._socket.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()
