# SPDX-License-Identifier: Apache-2.0
"""Who the service is once its sockets are open: user and group are given up for good.

    started by root ── sockets, pid file, folders ── become() ── children, traffic

What is bound later (a port added on the admin port) is bound by that user: a port below 1024
then wants CAP_NET_BIND_SERVICE, or a socket of systemd.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hproxy.errors import ConfigError

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and a group that exist here, by number."""

    uid: int
    gid: int
    name: str  # "" for a number without an account
    home: str

    @classmethod
    def of(cls, user: str | None, group: str | None) -> Identity | None:
        """Of names or numbers; None when neither is given. Raises ConfigError."""
        if not user and not group:
            return None
        account = _account(user) if user else None
        if user and account is None and not user.isdecimal():
            raise ConfigError("there is no such user", key="server.daemon.user", value=user)
        uid = account.pw_uid if account else int(user) if user else os.geteuid()
        gid = _group(group) if group else account.pw_gid if account else uid
        name, home = (account.pw_name, account.pw_dir) if account else ("", "/")
        identity = cls(uid, gid, name, home)
        if os.geteuid() != 0 and (uid, gid) != (os.geteuid(), os.getegid()):
            raise ConfigError(
                "only root can run as another",
                key="server.daemon.user" if user else "server.daemon.group",
                value=user or group,
                hint="start as root, or leave it out",
            )
        return identity

    @property
    def changes(self) -> bool:
        return (self.uid, self.gid) != (os.geteuid(), os.getegid())

    def own(self, folder: Path, files: Collection[Path]) -> None:
        """What root made and this user will write. What is not there yet is made. Raises
        ConfigError."""
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            for file in files:
                os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
            # What is inside was made by root in an earlier start, the key of the certificate
            # above all; a link is not followed out of the folder.
            for path in (folder, *folder.iterdir(), *files):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except OSError as error:
            raise ConfigError(
                f"{error.filename} cannot be given to the user: {error.strerror}",
                key="server.daemon.user",
                value=self.name or str(self.uid),
            ) from error

    def become(self) -> None:
        """For good: real, effective and saved, and no group of root's stays."""
        if self.changes:
            groups = os.getgrouplist(self.name, self.gid) if self.name else [self.gid]
            os.setgroups(groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        os.environ["HOME"] = self.home
        if self.name:
            os.environ |= {"USER": self.name, "LOGNAME": self.name}


def _account(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        return None


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(
            "there is no such group", key="server.daemon.group", value=group
        ) from None
