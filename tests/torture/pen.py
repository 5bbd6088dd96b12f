# SPDX-License-Identifier: Apache-2.0
"""What phrases are written with: random numbers, names, literals and expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from hproxy.protocols.mysql.constants import Capability
from tests.torture.step import Query, Step, Value
from tests.torture.variables import SettableVariable

__all__ = ["CHARSETS", "MODES", "Pen", "q"]

T = TypeVar("T")

USER_VARIABLES = ("@a", "@b", "@c", "@A", "@`odd name`", "@long_name_1", "@_x.y$z", "@'q'")
CHARSETS = {
    "mariadb": (
        "utf8mb4", "utf8mb3", "latin1", "latin2", "gbk", "sjis", "big5", "ascii", "binary", "koi8r",
        "cp1251", "euckr",
    ),
    "mysql": (
        "utf8mb4", "utf8mb3", "latin1", "latin2", "gbk", "sjis", "big5", "ascii", "binary", "koi8r",
        "gb18030",
    ),
}  # fmt: skip
COLLATIONS = (
    "utf8mb4_general_ci", "utf8mb4_bin", "latin1_swedish_ci", "latin1_bin", "latin1_german1_ci",
    "gbk_bin", "utf8mb3_general_ci", "binary", "utf8mb4_unicode_ci",
)  # fmt: skip
MODES = (
    "''", "'ANSI_QUOTES'", "'NO_BACKSLASH_ESCAPES'", "'ANSI'", "'STRICT_TRANS_TABLES'",
    "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "'TRADITIONAL'", "'PIPES_AS_CONCAT'", "'IGNORE_SPACE'",
    "'NO_ZERO_DATE,ONLY_FULL_GROUP_BY'", "'ERROR_FOR_DIVISION_BY_ZERO,STRICT_ALL_TABLES'", "0", "4",
    "DEFAULT", "CONCAT(@@sql_mode, ',ANSI_QUOTES')", "@@global.sql_mode", "'HIGH_NOT_PRECEDENCE'",
    "''", "REPLACE(@@sql_mode, 'ANSI_QUOTES', '')", "'NO_UNSIGNED_SUBTRACTION'",
)  # fmt: skip

BOUND: tuple[tuple[Value, ...], ...] = (
    (0, 1, -1, 7, 1 << 40, (1 << 64) - 1),
    (1.5, -2.25e100),
    (b"", b"x", b"caf\xc3\xa9", b"two words", b"\x00\xff", b"long" * 100),
)
STRINGS = 2


@dataclass
class Pen:
    """One session's; the same seed writes the same."""

    rng: Random
    session: int
    family: str  # "mariadb" or "mysql"
    capabilities: Capability
    variables: tuple[SettableVariable, ...]
    readable: tuple[str, ...]
    slots: dict[int, int] = field(default_factory=dict)
    """Prepared statements by slot: how many parameters."""
    sticky: set[str] = field(default_factory=set)
    """Why the session may need its connection, as far as only the script knows."""

    @property
    def mariadb(self) -> bool:
        return self.family == "mariadb"

    def table(self, kind: str = "t") -> str:
        return f"{kind}{self.session:02}"

    def lock(self) -> str:
        return f"'{{db}}l{self.session:02}{self.rng.choice('ab')}'"

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, among: Sequence[T]) -> T:
        return self.rng.choice(among)

    def step(self, *among: Step) -> Step:
        return self.rng.choice(among)

    def user_variable(self) -> str:
        # The simple names come most often: what was set is asked for again.
        return self.pick(USER_VARIABLES) if self.chance(0.3) else self.pick(("@a", "@b", "@c"))

    def number(self) -> str:
        return self.pick(
            (
                "0", "1", "-1", "255", "4294967296", "18446744073709551615", "-9223372036854775808",
                "9223372036854775807", "1.50", "-0.000000001", "123456789012345678901234567890.5",
                "1e0", "1.7976931348623157e308", "2.5e-300", "0.1e0", "PI()", "TRUE", "b'101'",
                "1.10", "00012", "-0e0", "1/3", "10/4",
            )
        )  # fmt: skip

    def string(self) -> str:
        return self.pick(
            (
                "''", "'x'", "'it''s'", "'a\\'b'", "'\\\\'", "'line\\nbreak'", "'tab\\t\\0zero'",
                "_latin1'caf'", "_binary'raw'", "x'00ff10'", "_utf8mb4'x' COLLATE utf8mb4_bin",
                "REPEAT('long ', 60)", "'grüße'", "'日本'", "N'national'", "'100%'", "'; SELECT 1'",
                "_latin1 x'e9'", "0x41", "'-- no comment'", "'/* no */'", "'a' 'b'", "_gbk x'bf5c'",
                "REPEAT('k', 1000)", "CONVERT('x' USING latin1)", "'12abc'", "CHAR(65)",
                "'?'", "'@a'", "'NULL'", "'{}'", "'🐘'",
            )
        )  # fmt: skip

    def expression(self) -> str:
        t = self.table()
        u = self.user_variable()
        return self.pick(
            (
                "NULL", f"{u} + 1", f"CONCAT({u}, 'x')", f"(SELECT MAX(id) FROM {t})",
                f"(SELECT v FROM {t} ORDER BY id LIMIT 1)", "CAST('7' AS UNSIGNED)",
                "CAST(1.005 AS DECIMAL(20,10))", "CAST('2024-02-29' AS DATE)",
                "CAST('2024-02-29 10:11:12.345' AS DATETIME(3))", "CAST('-12:34:56' AS TIME)",
                "@@sql_mode", "@@autocommit", "@@session.sort_buffer_size", "DATABASE()", u,
                "LAST_INSERT_ID()", "1 = 1", "IF(1, 2, 'three')", "COALESCE(NULL, 5)",
                "MD5('x')", "UNHEX('00ff')", "CAST(5 AS SIGNED)", "~0", "5 DIV 2", "'7' + 0",
                "@@character_set_client", "@@time_zone", "VERSION() IS NULL", "x'41' + 0",
                "f_plain(3)", "CAST('[1, 2]' AS JSON)" if not self.mariadb else "JSON_ARRAY(1, 2)",
                "JSON_EXTRACT('[1, 2]', '$[0]')", "INET6_ATON('::1')", "CAST(1 AS DOUBLE)",
                "ROW_COUNT()", "FOUND_ROWS()",
            )
        )  # fmt: skip

    def value(self) -> str:
        roll = self.rng.random()
        if roll < 0.4:
            return self.number()
        return self.string() if roll < 0.75 else self.expression()

    def bound(self, slot: int) -> Value:
        """A parameter of a prepared statement.

        MySQL converts all later values to the class of the first, on the connection that had it:
        who changes the class may be served elsewhere (docs: what cannot be followed).
        """
        values = BOUND if self.mariadb else (BOUND[slot % len(BOUND)],)
        return self.pick((None, *(value for kind in values for value in kind)))

    def word(self) -> str:
        return f"'w{self.rng.randrange(1000)}'"

    def small(self) -> int:
        return self.rng.randrange(1, 20)

    def charset(self) -> str:
        return self.pick(CHARSETS[self.family])

    def collation(self) -> str:
        return self.pick(COLLATIONS)

    def slot(self) -> int:
        """A slot, of those in use if there are some."""
        if self.slots and self.chance(0.9):
            return self.pick(sorted(self.slots))
        return self.rng.randrange(6)


def q(sql: str) -> Query:
    return Query(sql.encode())
