# SPDX-License-Identifier: Apache-2.0
"""Statements of one connection, executed for several clients, answer as those of their own do.

MySQL keeps to the types of a statement's first execution; the classes of ParameterTypes are
right as long as these comparisons hold.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

import pytest

from hproxy._native.statements import BackendStatements, ClientStatement, Statement, execute
from hproxy.protocols.mysql.constants import Capability, Command, MariadbCapability
from hproxy.protocols.mysql.wire import lenenc_string
from tests.integration.scripts import prepare
from tests.support.recording_client import COMMON, Login, RecordingClient
from tests.support.server import Server

READ = 1
ERR = 0xFF
CLOSE = b"\x19"
NULL_TYPE = 6
TEXTS = [
    "SELECT ?",
    "SELECT HEX(?)",
    "SELECT CONCAT(?)",
    "SELECT COALESCE(?, 'x')",
    "SELECT ? + 1",
    "SELECT 1.5 * ?",
    "SELECT 'a' = ?, 1 = ?",
    "SELECT IFNULL(?, 1)",
    "SELECT ? = ?",
    "SELECT CAST(? AS CHAR), ?",
]

# Values as bound, by what they have in common: a parameter of one kind keeps to it.
VALUES: dict[str, list[tuple[int, bytes]]] = {
    "integer": [
        (1, b"\xf0"),
        (0x8001, b"\xf0"),
        (2, b"\xe8\x07"),
        (13, b"\xe8\x07"),
        (3, b"\xff\xff\xff\xff"),
        (9, b"\x01\x02\x03\0"),
        (8, struct.pack("<q", -(2**40))),
        (0x8008, struct.pack("<Q", 2**63 + 1)),
    ],
    "double": [(5, struct.pack("<d", 1.5)), (4, struct.pack("<f", -2.25))],
    "decimal": [(246, b"\x031.5"), (0, b"\x0212"), (246, b"\x0c123456.78901")],
    "date": [(10, b"\x04\xe8\x07\x02\x1d")],
    "datetime": [
        (12, b"\x04\xe8\x07\x02\x1d"),
        (12, b"\x0b\xe8\x07\x02\x1d\x01\x02\x03\x01\0\0\0"),
        (7, b"\x07\xe8\x07\x02\x1d\x01\x02\x03"),
    ],
    "time": [(11, b"\x08\0\0\0\0\0\x01\x02\x03"), (11, b"\x0c\0\0\0\0\0\x01\x02\x03\x01\0\0\0")],
    "string": [
        (253, b"\x03abc"),
        (254, b"\x01b"),
        (15, b"\0"),
        (252, lenenc_string(b"x" * 70_000)),
        (249, b"\x02cd"),
        (251, b"\x02\xc3\xa4"),
    ],
}


@dataclass(slots=True)
class Shared:
    """A connection of a pool."""

    client: RecordingClient
    pool: BackendStatements
    prepared: int = 0

    def execute(self, entry: ClientStatement, payload: bytes) -> list[bytes]:
        found, backend, sent = execute(entry, self.pool, payload)
        if found == READ and backend is None:
            self.prepared += 1
            number = prepare(self.client, entry.statement.text.decode())
            for gone in self.pool.put(entry.statement, number):
                self.client.send(CLOSE + struct.pack("<I", gone))
            found, backend, sent = execute(entry, self.pool, payload)
        assert found == READ
        assert backend is not None
        assert sent is not None
        answer = self.client.command(sent)
        if answer[0][0] == ERR:
            backend.forget_types()
        return answer


def connect(server: Server) -> RecordingClient:
    mariadb = MariadbCapability.STMT_BULK_OPERATIONS
    login = Login(capabilities=COMMON | Capability.DEPRECATE_EOF, mariadb=mariadb)
    return RecordingClient(server.host, server.port, login)


def payload(number: int, chosen: list[tuple[int, bytes] | None], bound: bool) -> bytes:
    """None is NULL, told by its bit and by its type."""
    bits = sum((each is None) << i for i, each in enumerate(chosen))
    made = bytes([Command.STMT_EXECUTE]) + struct.pack("<IBI", number, 0, 1)
    made += bytes([bits, bound])
    if bound:
        made += b"".join(struct.pack("<H", each[0] if each else NULL_TYPE) for each in chosen)
    return made + b"".join(each[1] for each in chosen if each)


def choose(chance: random.Random, kind: str, params: int) -> list[tuple[int, bytes] | None]:
    return [chance.choice(VALUES[kind]) for _ in range(params)]


@pytest.mark.parametrize("text", TEXTS)
def test_as_on_a_connection_of_their_own(server: Server, text: str) -> None:
    chance = random.Random(text)
    params = text.count("?")
    statement = Statement(text, text.encode(), params, 1, sticky=server.name == "mysql")
    with connect(server) as own, connect(server) as pooled:
        shared = Shared(pooled, BackendStatements(100))
        users = [
            (kind, ClientStatement(statement, 1), prepare(own, text)) for kind in [*VALUES, *VALUES]
        ]
        for step in range(300):
            kind, entry, number = chance.choice(users)
            chosen = choose(chance, kind, params)
            sent = payload(number, chosen, bound=True)
            answer = own.command(sent)
            assert shared.execute(entry, sent) == answer, (step, kind)
            if answer[0][0] == ERR:
                continue  # the server does not keep all of its types then
            # Once more, without the types; in between another may have bound other ones.
            other_kind, other, other_number = chance.choice(users)
            if other is not entry:
                sent = payload(other_number, choose(chance, other_kind, params), bound=True)
                assert shared.execute(other, sent) == own.command(sent), (step, other_kind)
            sent = payload(number, chosen, bound=False)
            assert shared.execute(entry, sent) == own.command(sent), (step, kind)
        assert not any(entry.mixed for _, entry, _ in users)
        # Six classes, and integers with and without sign for each parameter.
        assert shared.prepared <= (6 + 2**params if statement.sticky else 1)


@pytest.mark.parametrize("text", [text for text in TEXTS if text.count("?") == 1])
def test_null_has_no_type_of_others(mysql9: Server, text: str) -> None:
    """It is that of the client's own history, or that of a statement just prepared."""
    chance = random.Random(text)
    statement = Statement(text, text.encode(), 1, 1, sticky=True)
    with connect(mysql9) as own, connect(mysql9) as pooled:
        shared = Shared(pooled, BackendStatements(100))
        users = [
            (kind, ClientStatement(statement, 1), prepare(own, text)) for kind in [*VALUES, *VALUES]
        ]
        exact = 0
        for step in range(300):
            kind, entry, number = chance.choice(users)
            sent = payload(number, [chance.choice([*VALUES[kind], None])], bound=True)
            answer, alone = shared.execute(entry, sent), own.command(sent)
            exact += answer == alone
            if answer != alone:
                fresh = prepare(own, text)
                assert answer == own.command(sent[:1] + struct.pack("<I", fresh) + sent[5:]), step
        assert exact > 250
