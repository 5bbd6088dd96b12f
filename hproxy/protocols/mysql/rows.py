# SPDX-License-Identifier: Apache-2.0
"""Text result sets as we read them when we are the client: for side connections and the demo."""

from __future__ import annotations

from hproxy._native.cursor import Cursor
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.replies import EOF_HEADER, ERR_HEADER, OK_HEADER, ErrPacket, is_eof
from hproxy.protocols.mysql.wire import MAX_FRAME_PAYLOAD, MalformedPacket, reading

__all__ = ["TextResult"]

NULL = 0xFB
INFILE = 0xFB


class TextResult:
    """Takes the packets of one answer to a COM_QUERY until it says that was all.

    For one statement: what several results need is not asked for by those who use it.
    """

    def __init__(self, capabilities: Capability, keep: bool = True) -> None:
        """Without `keep` the rows are read over."""
        self._keep = keep
        self._deprecate_eof = Capability.DEPRECATE_EOF in capabilities
        self._columns = -1
        self._definitions = 0
        self.names: list[bytes] = []
        self.rows: list[tuple[bytes | None, ...]] = []
        self.error: ErrPacket | None = None

    def take(self, payload: bytes) -> bool:
        """Read one packet; True when it was the last. Raises MalformedPacket."""
        if not payload:
            raise MalformedPacket("result", "an empty packet", 0)
        if payload[0] == ERR_HEADER:
            self.error = ErrPacket.parse(payload)
            return True
        if self._columns < 0:
            return self._head(payload)
        if self._definitions > 0:
            self._definitions -= 1
            self.names.append(_column_name(payload))
            return False
        if self._definitions == 0 and not self._deprecate_eof:
            if not is_eof(payload):
                raise MalformedPacket("result", "no EOF after the definitions", 0)
            self._definitions = -1
            return False
        if self._ends(payload):
            return True
        if self._keep:
            self.rows.append(_row(payload, self._columns))
        return False

    def _head(self, payload: bytes) -> bool:
        if payload[0] == OK_HEADER:
            return True
        if payload[0] == INFILE:
            raise MalformedPacket("result", "asks for a file", 0)
        with reading("result"):
            cursor = Cursor(payload)
            self._columns = self._definitions = cursor.lenenc_int()
            # Behind the count, where it was agreed on: whether definitions follow.
            if cursor.remaining and cursor.u8() == 0:
                self._definitions = 0
        return False

    def _ends(self, payload: bytes) -> bool:
        if self._deprecate_eof:
            return payload[0] == EOF_HEADER and len(payload) < MAX_FRAME_PAYLOAD
        return is_eof(payload)


def _column_name(payload: bytes) -> bytes:
    with reading("column definition"):
        cursor = Cursor(payload)
        for _ in range(4):  # catalogue, schema, table, original table
            cursor.lenenc_bytes()
        return cursor.lenenc_bytes()


def _row(payload: bytes, columns: int) -> tuple[bytes | None, ...]:
    with reading("row"):
        cursor = Cursor(payload)
        values: list[bytes | None] = []
        for _ in range(columns):
            if cursor.peek() == NULL:
                cursor.skip(1)
                values.append(None)
            else:
                values.append(cursor.lenenc_bytes())
        if cursor.remaining:
            raise MalformedPacket("row", "longer than its columns", cursor.pos)
        return tuple(values)
