# SPDX-License-Identifier: Apache-2.0
"""Logins like ones that were seen before, without the slow lane."""

from typing import Any, Protocol, final, type_check_only

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Owner
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.reactor import Reactor

@type_check_only
class Driver(Protocol):
    """Where a Greeter calls Python."""

    def compose(self) -> Greeting | None:
        """What clients are greeted with from now on; None when nobody knows yet."""
    def goes_as_nobody(self, user: bytes) -> bool:
        """Whether a login under this name is asked the same as one under no account's."""
    def admitted(
        self, connection: Any, session: Multiplexed, admission: Admission, said: bytes
    ) -> None:
        """Let in; `said` is the client's scramble and its connection attributes."""
    def unusual(
        self,
        guest: Guest,
        channel: Channel,
        scrambles: tuple[bytes, ...],
        profile: Any,
        seconds: float,
    ) -> None:
        """To be logged in from the beginning on; `channel` has all that was read."""
    def abandoned(self, connection: Any) -> None:
        """Closed by us before it was logged in."""
    def broken(self, connection: Any, error: BaseException) -> None:
        """Closed because of a mistake of ours."""

@final
class Greeting:
    """A greeting in which only the connection id and the scramble are to be filled in."""

    def __init__(self, payload: bytes, at_id: int, settings: Any, profile: Any, heard: int) -> None:
        """`at_id` is where the id begins in `payload`. It holds as long as the services'
        `settings` and `heard` are these. Raises ValueError."""
    @property
    def settings(self) -> Any: ...
    @property
    def profile(self) -> Any: ...
    @property
    def heard(self) -> int: ...

@final
class Admission:
    """How one login was decided, for others that say the same."""

    def __init__(
        self,
        account: Any,
        login: Any,
        facts: Any,
        kind: Any,
        *,
        stored: bytes,
        plugin: bytes,
        sha2: bool,
        switched: bool,
        ok: bytes,
        like: Multiplexed | None,
    ) -> None:
        """`like` is a session that has served nothing yet. Raises ValueError."""
    @property
    def account(self) -> Any: ...
    @property
    def login(self) -> Any: ...
    @property
    def facts(self) -> Any: ...
    @property
    def kind(self) -> Any: ...
    @property
    def switched(self) -> bool: ...
    @property
    def settings(self) -> Any:
        """Those of a session that begins."""
    def nobody(self) -> Admission:
        """The same for a name that is no account's: it is asked, and nothing proves it."""

@final
class Greeter:
    """Greets clients and lets those in whom it knows."""

    def __init__(self, reactor: Reactor, services: Any, driver: Driver) -> None:
        """Of `services` it looks at `settings`, `users`, `heard` and `guard`."""
    def greet(self, fd: int, connection: Any, seconds: float) -> bool:
        """Greet a client, who has `seconds` for its login; False: there is no greeting yet.

        The descriptor is ours unless False is returned. Raises OSError."""
    def remember(self, guest: Guest, admission: Admission, as_nobody: bool) -> None:
        """Others who say what `guest` said are decided like it. Raises ValueError."""
    def forget(self) -> None:
        """Nobody is known any more."""
    @property
    def remembered(self) -> int:
        """How many different logins are known."""

@final
class Guest(Owner):
    """A client that was greeted and has not logged in; calling it ends it."""

    @property
    def connection(self) -> Any: ...
    @property
    def key(self) -> bytes | None:
        """What its response says, without the proof; None when it is not a usual one."""
    @property
    def shape(self) -> bytes | None:
        """The same without names; None when the login was known."""
    def __call__(self) -> None: ...
