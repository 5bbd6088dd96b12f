# SPDX-License-Identifier: Apache-2.0
"""The prepared statements of one connection, by the id its client knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hproxy.admin.lexer import Statement
from hproxy.admin.model import Column, Value
from hproxy.errors import AdminError
from hproxy.protocols.mysql.constants import Capability, FieldType
from hproxy.protocols.mysql.parameters import Parameter, parse_execute, parse_long_data

__all__ = ["Prepared", "PreparedStatements"]

MAX_STATEMENTS = 1024
MAX_LONG_DATA_BYTES = 16 << 20

# Strings arrive as bytes whatever they are; these types say that they were text.
TEXT = frozenset(
    {
        FieldType.VARCHAR,
        FieldType.VAR_STRING,
        FieldType.STRING,
        FieldType.DECIMAL,
        FieldType.NEWDECIMAL,
        FieldType.ENUM,
        FieldType.SET,
        FieldType.JSON,
    }
)


@dataclass(slots=True)
class Prepared:
    """One statement, and what its client has sent for it so far."""

    id: int
    statement: Statement
    columns: Sequence[Column]
    types: tuple[int, ...] = ()
    long_data: dict[int, bytearray] = field(default_factory=dict)

    @property
    def parameter_count(self) -> int:
        return self.statement.parameters


class PreparedStatements:
    """Statements by id."""

    def __init__(self) -> None:
        self._statements: dict[int, Prepared] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._statements)

    def add(self, statement: Statement, columns: Sequence[Column]) -> Prepared:
        """Keep a new one. Raises AdminError at the limit."""
        if len(self._statements) >= MAX_STATEMENTS:
            raise AdminError(
                "Can't create more than max_prepared_stmt_count statements "
                f"(current value: {MAX_STATEMENTS})",
                number=1461,
            )
        self._last += 1
        prepared = Prepared(self._last, statement, columns)
        self._statements[self._last] = prepared
        return prepared

    def find(self, number: int, asked_by: str) -> Prepared:
        """The statement with this id. Raises AdminError (1243)."""
        try:
            return self._statements[number]
        except KeyError:
            raise AdminError(
                f"Unknown prepared statement handler ({number}) given to {asked_by}", number=1243
            ) from None

    def execution(
        self, payload: bytes, capabilities: Capability
    ) -> tuple[Prepared, tuple[Value, ...]]:
        """What COM_STMT_EXECUTE wants run. Raises AdminError, MalformedPacket."""
        prepared = self.find(int.from_bytes(payload[1:5], "little"), "EXECUTE")
        if sum(map(len, prepared.long_data.values())) > MAX_LONG_DATA_BYTES:
            prepared.long_data.clear()
            raise AdminError("Parameters sent in pieces are too long in sum", number=1153)
        execute = parse_execute(
            payload,
            prepared.parameter_count,
            capabilities,
            types=prepared.types,
            long_data={i: bytes(data) for i, data in prepared.long_data.items()},
        )
        prepared.types = execute.types
        prepared.long_data.clear()
        return prepared, tuple(map(_value, execute.parameters))

    def append(self, payload: bytes) -> None:
        """COM_STMT_SEND_LONG_DATA: nothing answers it, not even for an unknown statement."""
        piece = parse_long_data(payload)
        prepared = self._statements.get(piece.statement_id)
        if prepared is None:
            return
        held = prepared.long_data.setdefault(piece.parameter, bytearray())
        if len(held) <= MAX_LONG_DATA_BYTES:
            held += piece.data

    def reset(self, number: int) -> None:
        """Forget what was sent ahead. Raises AdminError (1243)."""
        self.find(number, "RESET").long_data.clear()

    def close(self, number: int) -> None:
        """Forget the statement, if there is one."""
        self._statements.pop(number, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._statements.clear()


def _value(parameter: Parameter) -> Value:
    if isinstance(parameter.value, bytes) and parameter.type & 0xFF in TEXT:
        return parameter.value.decode("utf-8", "surrogateescape")
    return parameter.value
