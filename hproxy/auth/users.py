# SPDX-License-Identifier: Apache-2.0
"""The accounts the proxy itself knows (auth = "table"), and how many sessions each has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hproxy.errors import ClientError

__all__ = ["Account", "UserTable"]


@dataclass(slots=True)
class Account:
    """One row of mysql_users, with what logins have taught us since."""

    username: bytes
    secret: Any = field(repr=False)
    """The protocol's parsed password column."""
    default_schema: bytes = b""
    hostgroup: int = 0
    max_connections: int = 10000
    require_tls: bool = False
    plugin: str | None = None
    """Authentication plugin this account must use; None lets the client choose."""
    asks_insert_id: bool = False
    """Some session of it has called LAST_INSERT_ID()."""
    sessions: int = 0
    credential: Any = field(default=None, repr=False)
    """What opens backends: learned from a full login when the secret is a hash."""


class UserTable:
    """Accounts by name; swapped as a whole when the configuration changes."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts = {account.username: account for account in accounts}

    def __len__(self) -> int:
        return len(self._accounts)

    def find(self, username: bytes) -> Account | None:
        """The account, or None; names compare byte by byte, as on the servers."""
        return self._accounts.get(username)

    @staticmethod
    def enter(account: Account) -> None:
        """Count a session. Raises ClientError (client.user_limit) at max_connections."""
        if account.sessions >= account.max_connections:
            raise ClientError(
                "the account has all the sessions it may have",
                code="user_limit",
                user=account.username.decode("utf-8", "replace"),
                current=account.sessions,
            )
        account.sessions += 1

    @staticmethod
    def leave(account: Account) -> None:
        """A counted session ended."""
        account.sessions -= 1
