# SPDX-License-Identifier: Apache-2.0
"""What SHOW WARNINGS and the like would say, kept while the connection serves somebody else.

A session whose last statement left warnings keeps its connection: the client may ask for them.
While others wait for a connection, that is asked now, and the client is answered from here:

    others wait ── idle, and WARNINGS or FOUND_ROWS its only pins ── ask about them ── give back
    SHOW WARNINGS ── nothing ran since ── the packets of the answer, as they came
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["COUNTS", "FOUND_ROWS", "LISTS", "Diagnostics", "recounted"]

# These keep what the others ask for.
LISTS = (b"SHOW WARNINGS", b"SHOW ERRORS")
# These keep it, too, but FOUND_ROWS() is 1 after them.
COUNTS = (b"SHOW COUNT(*) WARNINGS", b"SHOW COUNT(*) ERRORS")
# MariaDB keeps the warnings over it; MySQL does not, and makes one of its own.
FOUND_ROWS = b"SELECT FOUND_ROWS()"

LIMITED = re.compile(rb"(SHOW (?:WARNINGS|ERRORS)) LIMIT (\d+)(?: ?(,|OFFSET) ?(\d+))?")
COLUMNS = 3  # of SHOW WARNINGS

# In whatever sql_mode.
WARNS = b"CAST('x' AS SIGNED)"
ONE_ERROR = b"DO no_such_column"


@dataclass(slots=True)
class Diagnostics:
    """Answers to LISTS and COUNTS, and when they hold."""

    serial: int
    """The session's count of statements that leave a context of their own."""
    answers: dict[bytes, list[bytes]]

    def answer(self, session: Any, text: bytes) -> list[bytes] | None:
        """The packets of the answer to `text`, None if it asks otherwise or something ran since."""
        if self.serial != session.context_serial:
            return None
        asked = b" ".join(text.upper().rstrip(b"; \t\r\n").split())
        limited = LIMITED.fullmatch(asked)
        if limited is None:
            return self.answers.get(asked)
        question, first, between, second = limited.groups()
        skip, count = (first, second) if between == b"," else (second or b"0", first)
        return _rows(self.answers[question], int(skip), int(count))

    def recalled(self, session: Any) -> bytes | None:
        """A statement after which @@warning_count and @@error_count are what they were."""
        if self.serial != session.context_serial:
            return None
        warnings, errors = self.counts
        if (warnings, errors) == (1, 1):
            return ONE_ERROR
        return b"DO " + b",".join([WARNS] * warnings) if warnings and not errors else None

    @property
    def counts(self) -> tuple[int, int]:
        """@@warning_count and @@error_count."""
        warnings, errors = (int(_single(self.answers[question])) for question in COUNTS)
        return warnings, errors


def _rows(packets: list[bytes], skip: int, count: int) -> list[bytes]:
    """The answer with `count` of its rows, behind the first `skip`."""
    begin = 1 + COLUMNS
    begin += packets[begin][:1] == b"\xfe" and len(packets) > begin + 1
    rows = packets[begin:-1]
    return [*packets[:begin], *rows[skip : skip + count], packets[-1]]


def recounted(packets: list[bytes], listed: list[bytes]) -> list[bytes]:
    """The answer to one of COUNTS that says how many rows an answer to one of LISTS has."""
    begin = 1 + COLUMNS
    begin += listed[begin][:1] == b"\xfe" and len(listed) > begin + 1
    number, at = b"%d" % len(listed[begin:-1]), _row(packets)
    return [*packets[:at], bytes((len(number),)) + number, *packets[at + 1 :]]


def _row(packets: list[bytes]) -> int:
    """Where the one row is: behind the definition, and its EOF if there is one."""
    return 3 if packets[2][:1] == b"\xfe" else 2


def _single(packets: list[bytes]) -> bytes:
    """The one value of the one row."""
    row = packets[_row(packets)]
    return row[1 : 1 + row[0]]
