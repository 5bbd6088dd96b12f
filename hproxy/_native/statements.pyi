# SPDX-License-Identifier: Apache-2.0
"""Prepared statements: one text, many clients, many connections."""

from collections.abc import Callable, Hashable
from typing import Any, final

from typing_extensions import Buffer

from hproxy._native.execution import ParameterTypes

@final
class Statement:
    """One distinct statement of a worker, with what answers a client that prepares it again."""

    decision: object
    epoch: int
    """Of the schemas when `response` came; -1: do not trust it."""
    seen_at: float
    """Seconds of the caller's clock, when it came."""
    def __init__(
        self,
        key: Hashable,
        text: bytes,
        params: int,
        columns: int,
        response: object = b"",
        decision: object = None,
        sticky: bool = False,
    ) -> None: ...
    @property
    def key(self) -> Hashable: ...
    @property
    def text(self) -> bytes: ...
    @property
    def number(self) -> int:
        """Of this process's statements, from 1."""
    @property
    def params(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def response(self) -> object: ...
    @property
    def sticky(self) -> bool:
        """The server derives types from the first execution (MySQL), and keeps to them."""
    @property
    def uses(self) -> int:
        """Executions."""
    @property
    def memory(self) -> int:
        """Bytes accounted."""
    @property
    def interned(self) -> int:
        """Distinct blocks of types kept."""

@final
class StatementCache:
    """Statements by key, the least recently used evicted by number and by bytes."""

    def __init__(self, max_entries: int, max_bytes: int) -> None: ...
    @property
    def max_entries(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def evictions(self) -> int: ...
    @property
    def evicted(self) -> list[Callable[[Statement], object]]:
        """Called with each statement that had to go; it stays usable for who holds it."""
    def __len__(self) -> int: ...
    def entries(self) -> list[Statement]:
        """In no order; none counts as used by it."""
    def get(self, key: Hashable) -> Statement | None: ...
    def put(self, statement: Statement) -> bool:
        """Keep it as the newest; False when it alone would not fit."""
    def remove(self, statement: Statement) -> bool: ...
    def clear(self) -> int: ...
    def keys(self) -> list[Hashable]:
        """Newest first."""

@final
class ClientStatement:
    """A statement under the id that one client knows."""

    cursor_open: bool
    long_data: bool
    decision: Any
    """The statement's, or what its session decided anew."""
    salt: int
    """Of the session when that was."""
    asked: bytes | None
    """The client's text, where query rules made another of it."""
    def __init__(self, statement: Statement, client_id: int) -> None: ...
    @property
    def statement(self) -> Statement: ...
    @property
    def client_id(self) -> int: ...
    @property
    def types(self) -> ParameterTypes | None:
        """Those the client bound last."""
    @property
    def mixed(self) -> bool:
        """It bound types of another class since, so a server's answers depend on its history."""

@final
class ClientStatements:
    """The statements of one client connection; ids count from 1 and do not come back."""

    latest: ClientStatement | None
    def __init__(self, next_id: int = 1) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def next_id(self) -> int: ...
    @property
    def memory(self) -> int:
        """Bytes of their texts."""
    def __len__(self) -> int: ...
    def room(self, size: int, most: int, most_bytes: int) -> bool:
        """Whether a text of `size` bytes may be added to at most `most` of `most_bytes` in all."""
    def add(self, statement: Statement) -> ClientStatement: ...
    def find(self, number: int) -> ClientStatement | None:
        """0xFFFFFFFF is the latest one, as in MariaDB."""
    def remove(self, number: int) -> bool: ...
    def clear(self) -> int: ...
    def entries(self) -> list[ClientStatement]: ...

@final
class BackendStatement:
    """A statement under the id that one backend connection knows."""

    held: bool
    def __init__(self, statement: Statement, backend_id: int) -> None: ...
    @property
    def statement(self) -> Statement: ...
    @property
    def backend_id(self) -> int: ...
    @property
    def types(self) -> ParameterTypes | None:
        """Those bound last on this connection, by any client."""
    @property
    def owner(self) -> ClientStatement | None:
        """The mixed one that alone may use it."""
    @property
    def last_used(self) -> int: ...
    def forget_types(self) -> int:
        """After an error: nobody knows which types the server took over."""

@final
class BackendStatements:
    """The statements of one backend connection, the least recently used closed first."""

    def __init__(self, limit: int) -> None: ...
    @property
    def limit(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def owned(self) -> int: ...
    def __len__(self) -> int: ...
    def find(self, client: ClientStatement) -> BackendStatement | None:
        """The one that may execute what `client` bound last; None when it must be prepared."""
    def put(self, statement: Statement, backend_id: int) -> list[int]:
        """The server prepared it under this id. Returns ids to be closed."""
    def remove(self, entry: BackendStatement) -> bool: ...
    def retire(self) -> list[int]:
        """Forget those with an owner; returns their ids, to be closed."""
    def clear(self) -> int: ...
    def entries(self) -> list[BackendStatement]: ...

def execute(
    client: ClientStatement, pool: BackendStatements, payload: Buffer, attributes: bool = False
) -> tuple[int, BackendStatement | None, bytes | None]:
    """(what was found, the statement of `pool` that serves it, the packet for it).

    Found: 1 read, 0 more bytes needed, -1 malformed, 2 without types now or before.
    """
