# SPDX-License-Identifier: Apache-2.0
"""Where the servers listen, and the folders their data and their downloads live in."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

HOST = "127.0.0.1"
MARIADB_PORT = 23306
MYSQL9_PORT = 23307
HAPROXY_MARIADB_PORT = 23400
HAPROXY_MYSQL9_PORT = 23401

# The account every server has; the other ones stand in the .sql files.
USER = PASSWORD = "hproxy"

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent

# sun_path holds 108 bytes; the longest name we put below the folder takes 24 of them.
SOCKET_FOLDER_LIMIT = 80


def service_user() -> str | None:
    """The account servers run under, or None when we are an ordinary user already."""
    return "nobody" if os.geteuid() == 0 else None


def open_to_service_user(folder: Path) -> bool:
    """Whether the service user can walk down to `folder` (a clone in /root it could not)."""
    if service_user() is None:
        return True
    parents = [path for path in (folder, *folder.parents) if path.exists()]
    return all(path.stat().st_mode & 0o001 for path in parents)


def state_folder() -> Path:
    """Data folders, sockets, logs and pid files: in the repository where that is possible."""
    folder = REPOSITORY / ".services"
    if len(str(folder)) > SOCKET_FOLDER_LIMIT or not open_to_service_user(folder):
        folder = Path(f"/var/tmp/hproxy-services-{os.getuid()}")
    return folder


def cache_folder() -> Path:
    """Downloads worth keeping between runs, shared by all clones."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "hproxy"
    return folder if open_to_service_user(folder) else Path("/var/cache/hproxy")


def make_folder(folder: Path) -> Path:
    """Create `folder` for the service user, parents for everybody."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    user = service_user()
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder
