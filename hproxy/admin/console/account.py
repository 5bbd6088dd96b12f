# SPDX-License-Identifier: Apache-2.0
"""Who may log in to the console: admin-admin_credentials and admin-stats_credentials, live.

account                     sees
of admin_credentials        everything; the user `admin` only from this machine
of stats_credentials        stats, monitor, stats_history, read-only
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from hproxy.admin.model import Client
from hproxy.auth import Account
from hproxy.config.proxysql.values import Values
from hproxy.errors import AdminError
from hproxy.protocols.mysql.auth import Secret

__all__ = ["Accounts", "Role"]

LOCAL = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost", ""})
LOCAL_ONLY = "admin"


class Role(Enum):
    """What an account is for."""

    ADMIN = "admin"
    STATS = "stats"


class Accounts:
    """The accounts as the variables say at the moment."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def find(self, user: bytes) -> Account | None:
        """The account of this name."""
        found = self._of(Role.ADMIN).get(user) or self._of(Role.STATS).get(user)
        if found is None:
            return None
        return Account(user, found, credential=found.credential)

    def role(self, client: Client) -> Role:
        """What a client that has logged in is. Raises AdminError (1040)."""
        user = client.user.encode()
        if user not in self._of(Role.ADMIN):
            return Role.STATS
        if client.user == LOCAL_ONLY and client.host not in LOCAL:
            raise AdminError(
                f"User '{client.user}' can only connect locally", number=1040, sqlstate=b"42000"
            )
        return Role.ADMIN

    def _of(self, role: Role) -> dict[bytes, Secret]:
        return _parsed(self._values.text(f"admin-{role.value}_credentials"))


@lru_cache(maxsize=8)
def _parsed(text: str) -> dict[bytes, Secret]:
    """Accounts of "user:password;user:password"; what is no pair is left out."""
    pairs = (part.strip().partition(":") for part in text.split(";"))
    return {user.encode(): Secret.parse(password) for user, colon, password in pairs if colon}
