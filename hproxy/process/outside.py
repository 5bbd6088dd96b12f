# SPDX-License-Identifier: Apache-2.0
"""The service and the world that started it: a shell, systemd, or a service it takes over from.

    begin ──> opened ──> serving ──> reloading ─ serving ──> stopping ──> stopped
       │         │           └ pid file of an upgrade, READY, the shell's prompt
       │         └ user and group are dropped: all sockets are open
       └ pid file; in an upgrade the old service keeps it until we serve
    waiting: upgrade: the socket for the old one's descriptors is open, the shell's prompt
             comes back, and the operator sends QUIT

Whoever runs the service calls these in this order; nothing here knows what a service is. It all
does nothing for `hproxy run` at a terminal.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hproxy.config.schema import Config
from hproxy.config.section import DaemonOptions
from hproxy.errors import ConfigError, HProxyError
from hproxy.process.activation import Given
from hproxy.process.daemon import Launch, detach, take_output
from hproxy.process.identity import Identity
from hproxy.process.notify import Notifier
from hproxy.process.pid_file import PidFile
from hproxy.telemetry import log as logs

__all__ = ["Outside", "likewise", "reopen"]


class Outside:
    """What the process was given, and whom it answers to."""

    def __init__(
        self,
        options: DaemonOptions | None = None,
        *,
        notifier: Notifier | None = None,
        given: Given | None = None,
        upgrade: bool = False,
        reload: bool = False,
    ) -> None:
        """Raises ConfigError for a user that is not there or cannot be become."""
        self.options = options or DaemonOptions()
        self.notifier = notifier or Notifier()
        self.given = given or Given()
        """Listening sockets that systemd passed, for whoever opens them."""
        self.upgrade = upgrade
        self.reload = reload
        """In an upgrade: the file counts where it has changed, as at a reload."""
        self.identity = Identity.of(self.options.user, self.options.group)
        self.dropping = self.identity is not None and self.identity.changes
        """Whether user or group will be others than they are now."""
        self._launch = Launch()
        self._pid_file: PidFile | None = None

    def begin(self, config: Config) -> None:
        """Into the background if that is wanted, and take the pid file. Raises ConfigError."""
        if self.options.enabled:
            self._launch = detach(self.options.error_log)
        if self.options.pid_file and not self.upgrade:
            self._pid_file = PidFile.take(self.options.pid_file)
        if self.identity is not None and self.dropping:
            files = [file for file in (config.logging.file, self.options.error_log) if file]
            store = config.admin.store
            if store is not None and store.exists():
                files.append(store)
            self.identity.own(config.server.state_dir, files)

    @contextmanager
    def started(self, config: Config) -> Iterator[None]:
        """The life of the service; whoever waits is told why it cannot start."""
        try:
            self.begin(config)
            yield
        except HProxyError as error:
            self.stopped()  # first: who hears of it may try again at once
            self._launch.failed(str(error))
            raise
        finally:
            self.stopped()

    def opened(self) -> None:
        """All sockets are open: from here on nothing is done as root. Raises ConfigError."""
        if self.identity is not None:
            if self.dropping:
                self._take_over_pid_file()  # where only root may rename
            self.identity.become()

    def waiting(self) -> None:
        """Ready to be handed the sockets of the service that runs."""
        self._launch.succeeded()
        self.notifier.status("waiting for the sockets of the service that runs")

    def serving(self, status: str = "") -> None:
        """It serves, for the first time or after a reload. Raises ConfigError."""
        self._take_over_pid_file()
        self.notifier.ready(status)
        self._launch.succeeded()

    def _take_over_pid_file(self) -> None:
        if self.options.pid_file and self._pid_file is None:
            self._pid_file = PidFile.take(self.options.pid_file, replace=True)

    async def beats(self) -> None:
        """Say that we live, as often as the manager wants it."""
        while self.notifier.beat_sec:
            self.notifier.beat()
            await asyncio.sleep(self.notifier.beat_sec)

    def reloading(self) -> None:
        self.notifier.reloading()

    def reopen(self) -> None:
        """Logs are rotated."""
        if self.options.enabled and self.options.error_log:
            reopen(self.options.error_log)

    def stopping(self, status: str, within_sec: float, again: bool = False) -> None:
        """It drains. `again`: to be begun anew in this same process, which to the manager is a
        reload: one that stops would be ended."""
        if again:
            self.notifier.reloading()
            self.notifier.status(status)
        else:
            self.notifier.stopping(status, within_sec)

    def stopped(self) -> None:
        """The last thing before the process ends."""
        if self._pid_file is not None:
            self._pid_file.drop()
            self._pid_file = None
        self.notifier.close()

    def again(self) -> None:
        """Just before this process is begun anew, by an exec: it finds what this one found."""
        os.environ |= self.notifier.environ
        self.given.pass_on(os.environ)

    @property
    def user(self) -> int:
        """Whose process this is, or will be once its sockets are open."""
        return os.geteuid() if self.identity is None else self.identity.uid

    @property
    def facts(self) -> dict[str, Any]:
        """What each child has to do likewise: `likewise`."""
        log = self.options.error_log if self.options.enabled else None
        return {
            "user": self.options.user,
            "group": self.options.group,
            "error_log": log and str(log.absolute()),
        }


def reopen(error_log: Path) -> None:
    """stdout and stderr into the file of that name anew; told in the log when that fails."""
    try:
        take_output(error_log)
    except ConfigError as error:
        log = logs.get_logger("hproxy")
        log.error("error log not reopened", code=error.full_code, reason=str(error))


def likewise(facts: Mapping[str, Any]) -> None:
    """In a child, before it serves: the user, and the file of now where stderr goes. Raises
    ConfigError."""
    if facts["error_log"]:
        take_output(Path(facts["error_log"]))
    identity = Identity.of(facts["user"], facts["group"])
    if identity is not None:
        identity.become()
