# SPDX-License-Identifier: Apache-2.0
"""Where the servers listen, and the folder their data and their downloads live in."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

HOST = "127.0.0.1"
MARIADB_PORT = 23306
MYSQL9_PORT = 23307
PRIMARY_PORT = 23310
REPLICA1_PORT = 23311
REPLICA2_PORT = 23312
GROUP_PORT = 23313
GALERA_PORT = 23314
HAPROXY_MARIADB_PORT = 23400
HAPROXY_MYSQL9_PORT = 23401

# The account every server has; the other ones stand in the .sql files.
USER = PASSWORD = "hproxy"

HERE = Path(__file__).parent

# sun_path holds 108 bytes; the longest name we put below the folder takes 24 of them.
FOLDER_LIMIT = 80


def service_user() -> str | None:
    """The account servers run under, or None when we are an ordinary user already."""
    return "nobody" if os.geteuid() == 0 else None


def shared_folder() -> Path:
    """Downloads, data, sockets and logs: one place for all clones, as the ports are one."""
    if service_user() is not None:
        return Path("/var/cache/hproxy")  # into /root the service user could not walk
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hproxy"
    return folder if len(str(folder)) <= FOLDER_LIMIT else Path(f"/var/tmp/hproxy-{os.getuid()}")


def make_folder(folder: Path) -> Path:
    """Create `folder` for the service user, parents for everybody."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    user = service_user()
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder
