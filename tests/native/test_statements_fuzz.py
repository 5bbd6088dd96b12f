# SPDX-License-Identifier: Apache-2.0
"""Clients on connections at random: each is answered as by a server of its own.

The servers here remember what real ones do: types, and as MySQL does the class that the first
value of a parameter had.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.execution import ParameterTypes
from hproxy._native.statements import (
    BackendStatements,
    ClientStatement,
    ClientStatements,
    Statement,
    execute,
)
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.parameters import parse_execute
from tests.native.test_execution import execution, wire
from tests.native.test_execution_fuzz import SEEDS
from tests.support.garbage import garbage

READ, MORE, MALFORMED, UNTYPED, FEWER = 1, 0, -1, 2, 3
PLAIN = Capability.PROTOCOL_41
NAMED = PLAIN | Capability.QUERY_ATTRIBUTES
PARAMS = 3
LONG, UNSIGNED, DOUBLE, STRING, NULL = 3, 0x8003, 5, 253, 6
CLASS_UNSIGNED = 2

# What a server makes of a parameter: the value, and the class it has been fixed to.
Answer = tuple[tuple[object, int], ...]


@dataclass(slots=True)
class Remembered:
    """A statement on a server."""

    types: tuple[int, ...] = ()
    classes: list[int] = field(default_factory=lambda: [0] * PARAMS)

    def execute(self, payload: bytes, capabilities: Capability) -> Answer:
        read = parse_execute(payload, PARAMS, capabilities, types=self.types)
        self.types = read.types
        for i, value in enumerate(read.values):
            if value is not None and self.classes[i] <= CLASS_UNSIGNED:
                self.classes[i] = ParameterTypes(wire(read.types[i])).shape[0]
        return tuple(zip(read.values, self.classes, strict=True))


@dataclass(slots=True)
class Connection:
    limit: int
    pool: BackendStatements = field(init=False)
    server: dict[int, Remembered] = field(default_factory=dict)
    prepared: int = 0

    def __post_init__(self) -> None:
        self.pool = BackendStatements(self.limit)

    def prepare(self, statement: Statement) -> None:
        self.prepared += 1
        self.server[self.prepared] = Remembered()
        for number in self.pool.put(statement, self.prepared):
            del self.server[number]

    def execute(self, client: ClientStatement, payload: bytes, capabilities: Capability) -> Answer:
        attributes = Capability.QUERY_ATTRIBUTES in capabilities
        found, backend, sent = execute(client, self.pool, payload, attributes)
        if backend is None:
            self.prepare(client.statement)
            found, backend, sent = execute(client, self.pool, payload, attributes)
        assert (found, backend is None, sent is None) == (READ, False, False)
        assert backend is not None
        assert sent is not None
        assert struct.unpack("<I", sent[1:5])[0] == backend.backend_id
        return self.server[backend.backend_id].execute(sent, capabilities)


def executions(
    chance: random.Random, kinds: tuple[int, ...], named: bool, nulls: float = 0.3
) -> Iterator[bytes]:
    """What a client sends: the types first, later only when it feels like it."""
    told: list[int] | None = None
    while True:
        types = [NULL if chance.random() < nulls else kind for kind in kinds]
        bound = told is None or chance.random() < 0.3
        if not bound and told is not None:
            types = told
        bits, values = 0, b""
        for i, kind in enumerate(types):
            if kind == NULL or chance.random() < nulls:
                bits |= 1 << i
            elif kind in (LONG, UNSIGNED):
                values += struct.pack("<i", chance.randrange(1000))
            elif kind == DOUBLE:
                values += struct.pack("<d", chance.randrange(1000) / 4)
            else:
                values += b"\2" + bytes(chance.choices(b"abc", k=2))
        told = types
        names = [chance.choice((b"", b"n", b"n" * 30)) for _ in types] if named else None
        yield execution(
            types if bound else None,
            values,
            nulls=bytes([bits]),
            names=names if bound else None,
            count=PARAMS if named else None,
        )


def answered_as_alone(
    seed: int, kinds: Iterable[tuple[int, ...]], sticky: bool, named: bool, steps: int
) -> list[ClientStatement]:
    chance = random.Random(seed)
    capabilities = NAMED if named else PLAIN
    statements = [Statement(n, b"SELECT ?, ?, ?", PARAMS, PARAMS, sticky=sticky) for n in range(3)]
    connections = [Connection(limit) for limit in (2, 4, 100)]
    clients = [
        (ClientStatements().add(statement), executions(chance, each, named), Remembered())
        for each in kinds
        for statement in statements
    ]
    for _ in range(steps):
        client, sent, alone = chance.choice(clients)
        payload = next(sent)
        got = chance.choice(connections).execute(client, payload, capabilities)
        wanted = alone.execute(payload, capabilities)
        if sticky:
            # A NULL has the class it has alone, or the one it has in a statement just prepared.
            for (value, kind), (meant, expected) in zip(got, wanted, strict=True):
                assert value == meant
                assert kind == expected or (value is None and kind == 0)
        else:
            assert [value for value, _ in got] == [value for value, _ in wanted]
    for connection in connections:
        assert len(connection.pool) == len(connection.server)
    return [client for client, _, _ in clients]


KINDS = (
    (LONG, LONG, STRING),
    (STRING, UNSIGNED, STRING),
    (DOUBLE, LONG, LONG),
    (LONG, LONG, STRING),
)


@pytest.mark.fuzz
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("sticky", [False, True])
def test_clients_do_not_notice_each_other(sticky: bool, named: bool) -> None:
    for seed in range(30):
        clients = answered_as_alone(seed, KINDS, sticky, named, steps=400)
        assert not any(client.mixed for client in clients)


@pytest.mark.fuzz
def test_a_mixed_client_gets_what_its_history_makes_of_it() -> None:
    """On the connection it stays on, while others come and go."""
    statement = Statement("key", b"SELECT ?, ?, ?", PARAMS, PARAMS, sticky=True)
    for seed in range(100):
        chance = random.Random(seed)
        connection = Connection(100)
        clients = [(ClientStatements().add(statement), Remembered()) for _ in range(5)]
        mixed = clients[0][0]
        for _ in range(60):
            client, alone = chance.choice(clients)
            kinds: tuple[int, ...] = (LONG, LONG, STRING)
            if client is mixed:
                kinds = tuple(chance.choice((LONG, LONG, STRING)) for _ in range(PARAMS))
            payload = next(executions(chance, kinds, named=False, nulls=0))
            assert connection.execute(client, payload, PLAIN) == alone.execute(payload, PLAIN)
        assert [client.mixed for client, _ in clients] == [True, False, False, False, False]
        [owned] = [each for each in connection.pool.entries() if each.owner is not None]
        assert owned.owner is mixed
        assert connection.pool.retire() == [owned.backend_id]


@given(payload=garbage(*SEEDS), params=st.integers(0, 12), attributes=st.booleans())
def test_garbage_is_answered_not_sent(payload: bytes, params: int, attributes: bool) -> None:
    statement = Statement("key", b"", params, 0, sticky=True)
    pool = BackendStatements(3)
    pool.put(statement, 0x01020304)
    client = ClientStatements().add(statement)
    for _ in range(2):
        found, backend, sent = execute(client, pool, payload, attributes)
        if found == READ:
            assert backend is not None
            assert sent is not None
            assert sent[1:5] == b"\4\3\2\1"
            assert len(sent) == len(payload)
        else:
            assert (found, backend, sent) == (found, None, None)
            assert found in (MALFORMED, UNTYPED, FEWER)
