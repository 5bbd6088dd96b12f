# SPDX-License-Identifier: Apache-2.0
"""Backend connections that sessions share, and the queue in front of them."""

from typing import Any, final

from typing_extensions import disjoint_base

from hproxy._native.endpoint import Endpoint, Owner
from hproxy._native.ledger import Row
from hproxy._native.phases import PhaseTimes
from hproxy._native.statements import BackendStatements

@disjoint_base
class Borrower(Owner):
    """Who may wait for a connection; implemented by native classes only."""

    @property
    def waiting_since(self) -> float:
        """Reactor seconds."""

@final
class Server:
    """One backend of one hostgroup, and what all groups have there."""

    backend: Any
    limit: int
    """Connections it may have."""
    opened: int
    """Connections it has, those on their way included."""
    online: bool
    """Takes sessions that are free to choose."""
    closing: bool
    """The operator took it out: connections are not kept."""
    weight: float
    renewed_at: float
    """Reactor seconds; connections opened before are not kept."""
    asked: bool
    """Other workers know that sessions wait here."""
    def __init__(
        self,
        backend: object,
        limit: int,
        weight: float = 1.0,
        online: bool = True,
        row: Row | None = None,
    ) -> None: ...
    @property
    def row(self) -> Row | None:
        """What all workers have there; None: there is one worker."""
    @property
    def waiting(self) -> int:
        """Sessions waiting in any of its groups."""
    @property
    def idle(self) -> int:
        """Idle connections of all its groups."""
    @property
    def leaving(self) -> int:
        """Of `opened`: closed here, not yet there."""
    @property
    def used(self) -> int:
        """Held by sessions."""
    most_used: int
    """At the same time."""
    queries: int
    """Statements it has answered."""
    bytes_sent: int
    """Of these statements, without the heads of their frames."""
    bytes_received: int
    """Of their answers."""
    @property
    def room(self) -> bool: ...

@final
class Shelf:
    """The idle connections of a bucket that are set alike."""

@final
class Bucket:
    """The connections of one group to one server."""

    opened: int
    """Logged in: idle or held."""
    connecting: int
    owed: int
    """To be handed to other groups as they come back."""
    def __init__(self, server: Server, group: Group) -> None: ...
    @property
    def server(self) -> Server: ...
    @property
    def group(self) -> Group: ...
    @property
    def leaving(self) -> int: ...
    @property
    def idle(self) -> int: ...
    def enter(self) -> bool:
        """A place for one more connection, which is on its way; False: there is none."""
    def leave(self) -> None:
        """The place of a connection is free."""
    def adopt(self) -> int:
        """A connection comes with its session from another process, where it was counted: there is
        a place for it, whatever the limits."""
    @property
    def longest_idle(self) -> BackendConnection | None: ...
    def connections(self) -> list[BackendConnection]:
        """The idle ones, the latest used first."""

@final
class Group:
    """The connections that sessions of one hostgroup, account and kind may share.

    The driver's methods: grow is the sessions'; spread asks for a first connection to a server
    that was drawn; retire, hand_over, idle_lost and departed tell what becomes of connections.
    """

    queue_limit: int
    row: Row | None
    """What the account has in all workers; None: there is one worker."""
    limit: int
    """For that."""
    full: bool
    """May not grow for now, whatever room servers have."""
    sticky: bool
    """A session keeps the connection it got."""
    waited: int
    """Sessions that had to wait, ever."""
    acquired: int
    """Connections that were given out, ever."""
    released: int
    """Connections that came back, ever."""
    wait_seconds: float
    """Of those that were given one after a wait."""
    hostgroup: int
    times: PhaseTimes | None
    """Where the time of its statements goes."""
    def __init__(self, key: object, driver: object, queue_limit: int) -> None: ...
    @property
    def key(self) -> Any: ...
    @property
    def buckets(self) -> list[Bucket]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def opened(self) -> int: ...
    @property
    def connecting(self) -> int: ...
    @property
    def has_connections(self) -> bool: ...
    @property
    def grows(self) -> bool:
        """Whether the driver can do something for those who wait."""
    def add(self, server: Server) -> Bucket: ...
    def drop(self, bucket: Bucket) -> None:
        """Its server is gone from the hostgroup. Raises ValueError while anything is open."""
    def give(self, connection: BackendConnection, used: bool = True) -> None:
        """It is free again; `used` says that a client has used it since."""
    def refuse_all(self) -> list[Any]:
        """The sessions that wait, taken out of the queue."""
    def first_waiter(self) -> Any:
        """Who waits longest, or None."""

@final
class BackendConnection(Owner):
    """One connection; it is idle, held by a session, or on its way out."""

    settings: Any
    """What it is set to."""
    base: Any
    """What it was set to after its login."""
    retired: bool
    """Closed instead of going back."""
    insert_owner: int
    """Serial of the session that LAST_INSERT_ID() belongs to."""
    insert_id: int
    """What LAST_INSERT_ID() was when it was last known; 2^64 - 1: unknown."""
    rows_of: int
    """Serial of the session that FOUND_ROWS() belongs to."""
    warned_by: int
    """Serial of the session whose warnings it may still have."""
    asked_at: float
    """When it was last pinged."""
    retire_at: float
    """Too old to go back from then on; 0 = never."""
    def __init__(
        self,
        endpoint: Endpoint,
        bucket: Bucket,
        login: object,
        settings: object,
        statement_limit: int,
    ) -> None: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def bucket(self) -> Bucket: ...
    @property
    def login(self) -> Any: ...
    @property
    def statements(self) -> BackendStatements: ...
    @property
    def uses(self) -> int:
        """Statements it has run."""
    @property
    def opened_at(self) -> float:
        """Reactor seconds."""
    @property
    def used_at(self) -> float: ...
    @property
    def gone(self) -> bool:
        """Closed, or about to be."""
    @property
    def leaving(self) -> bool:
        """COM_QUIT was sent, the server has not closed yet."""
    @property
    def quiet(self) -> bool:
        """Nothing was left unread by who had it before."""
    @property
    def free(self) -> bool:
        """Whether it is idle."""
    @property
    def closed(self) -> bool: ...
    def reserve(self) -> bool:
        """Take it out of the idle ones, for a ping or to close it; False if it is in use."""
    def leave(self, polite: bool = True) -> bool:
        """Close it for good; False when that was done before."""
    def sever(self) -> None:
        """Cut it under whoever uses it, who hears of it as if the backend had."""
    def move(self, bucket: Bucket) -> None:
        """It belongs to another group of the same server from here on."""
    def send(self, frame: bytes) -> None:
        """A command that is not answered."""
    def own(self) -> None:
        """Hear its socket again, after a conversation on it."""
    def touch(self) -> None:
        """Something was run on it: what the statement before left behind is gone."""

@final
class Applicant(Borrower):
    """Waits in a group's queue for code that awaits `future`."""

    def __init__(self, future: object) -> None: ...
    @property
    def future(self) -> Any: ...
    @property
    def settings(self) -> Any: ...
    @property
    def waits_for(self) -> Group | None: ...
    def apply(
        self, group: Group, settings: object, limited: bool = False
    ) -> BackendConnection | None:
        """An idle connection at once, or None: the future will tell.

        Raises OverflowError if it is `limited` and as many wait as may."""
    def withdraw(self) -> None: ...
