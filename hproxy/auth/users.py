# SPDX-License-Identifier: Apache-2.0
"""The accounts the proxy itself knows (auth = "table"), and how many sessions each has.

    replace(accounts) ── a name that stays ──> the new row, counting the same sessions
                       └ one that is gone ──> its sessions go on, nobody logs in any more
A session keeps the account it logged in with: what changed acts from its next login on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from secrets import token_bytes
from typing import Any

from hproxy.errors import ClientError

__all__ = ["Account", "Tally", "UserTable"]


@dataclass(slots=True)
class Tally:
    """What all rows a name has had, one after the other, have in common."""

    sessions: int = 0
    asks_insert_id: bool = False
    row: Any = None
    """Those of all workers: a Row; None where there is one worker."""

    def enter(self, limit: int) -> bool:
        """One more session; False: there are as many as there may be."""
        if self.sessions >= limit or (self.row is not None and not self.row.take(limit)):
            return False
        self.sessions += 1
        return True

    def welcome(self) -> None:
        """One more session, whatever the limit."""
        self.sessions += 1
        if self.row is not None:
            self.row.enter()

    def leave(self) -> None:
        """A session less."""
        self.sessions -= 1
        if self.row is not None:
            self.row.give()

    def join(self, row: Any) -> None:
        """Count in `row` as well from now on, those of before included."""
        if row is not self.row and row is not None:
            self.row = row
            for _ in range(self.sessions):
                row.enter()


DECOYS = 256
"""Accounts that decoys are made like."""
_SALT = token_bytes(16)  # of the process: a reload makes no other decoys


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
    additional: Any = field(default=None, repr=False)
    """Another parsed password that is as good, while the first is being changed; None for none."""
    isolation: bytes = b""
    """Transaction isolation its sessions begin with; b"" is the server's."""
    fast_forward: bool = False
    """Its sessions keep one backend connection, and nothing in them is looked at."""
    transaction_persistent: bool = True
    """A transaction stays in the hostgroup it began in."""
    credential: Any = field(default=None, repr=False)
    """What opens backends: learned from a full login when the secret is a hash."""
    learned: Any = field(default=None, repr=False)
    """What logins have taught of `secret`, for the next of them."""
    separate: bool = False
    """Backends are opened with a password of their own: logins teach nothing of it."""
    tally: Tally = field(default_factory=Tally)
    configured: Any = field(init=False, repr=False)
    """`credential` as it was before anything was learned."""

    def __post_init__(self) -> None:
        self.configured = self.credential

    @property
    def sessions(self) -> int:
        """Logged in now."""
        return self.tally.sessions

    def enter(self) -> bool:
        """One more session; False: it has all it may have."""
        return self.tally.enter(self.max_connections)

    @property
    def asks_insert_id(self) -> bool:
        """Some session of it has called LAST_INSERT_ID()."""
        return self.tally.asks_insert_id

    @asks_insert_id.setter
    def asks_insert_id(self, asks: bool) -> None:
        self.tally.asks_insert_id = asks


class UserTable:
    """Accounts by name; swapped as a whole when the configuration changes."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts = {account.username: account for account in accounts}
        self._decoys: tuple[Account, ...] | None = None
        self._rows: Callable[[bytes], Any] = lambda username: None

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    @property
    def by_name(self) -> Mapping[bytes, Account]:
        """A view, which follows changes."""
        return self._accounts

    def replace(self, accounts: Iterable[Account]) -> None:
        """These are the accounts from now on; who is logged in stays so, and counts."""
        found = {account.username: account for account in accounts}
        for name, account in found.items():
            before = self._accounts.get(name)
            if before is not None:
                account.tally = before.tally
                same = (account.secret, account.configured) == (before.secret, before.configured)
                if same:  # with what was learned since
                    account.credential, account.learned = before.credential, before.learned
            account.tally.join(self._rows(name))
        self._accounts.clear()
        self._accounts.update(found)
        self._decoys = None  # their forms are those of the accounts there are

    def share(self, rows: Callable[[bytes], Any]) -> None:
        """Count sessions together with other workers, in these rows."""
        self._rows = rows
        for account in self:
            account.tally.join(rows(account.username))

    def find(self, username: bytes) -> Account | None:
        """The account, or None; names compare byte by byte, as on the servers."""
        return self._accounts.get(username)

    def decoy(self, username: bytes) -> Account | None:
        """Whom a name that is no account's is checked against: always the same one, with a secret
        of the form, and under the plugin, that some account has. None where there is none."""
        if self._decoys is None:
            self._decoys = tuple(
                Account(
                    b"",
                    account.secret.decoy(),
                    plugin=account.plugin,
                    additional=account.additional.decoy() if account.additional else None,
                )
                for account in islice(self._accounts.values(), DECOYS)
            )
        if not self._decoys:
            return None
        drawn = blake2b(username, key=_SALT, digest_size=8).digest()
        return self._decoys[int.from_bytes(drawn, "big") % len(self._decoys)]

    @staticmethod
    def enter(account: Account) -> None:
        """Count a session. Raises ClientError (client.user_limit) at max_connections."""
        if not account.enter():
            row = account.tally.row
            raise ClientError(
                "the account has all the sessions it may have",
                code="user_limit",
                user=account.username.decode("utf-8", "replace"),
                current=account.sessions if row is None else row.taken,
            )

    @staticmethod
    def leave(account: Account) -> None:
        """A counted session ended."""
        account.tally.leave()
