# SPDX-License-Identifier: Apache-2.0
"""User variables: reading one back so that an equal one can be made, type and collation too.

A user variable is a signed or unsigned integer, a decimal, a double or a string with its
collation, or a NULL of one of these; SELECT shows only the value. MySQL tells the type
through JSON, MariaDB in a table:

    IF(FALSE, @x, 1)        is a 1 of the type of @x, whatever its value
    information_schema.USER_VARIABLES                              (MariaDB)

Answers are cast to binary, so that no character set of the session garbles them, and every
question has a LIMIT, so that no sql_select_limit hides its answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hproxy.protocols.mysql.settings import NULL_OF, WIDE, Charset, charset_of, name_literal
from hproxy.protocols.mysql.variables import Value, ValueKind

__all__ = [
    "COLUMNS",
    "can_be_named",
    "expression",
    "question",
    "read_back",
    "string_of",
    "well_formed",
]

COLUMNS = 6  # of the answer, per variable

# Names are compared by a collation that holds letters with and without accents for the same;
# we do not, so only these can be followed.
NAME = re.compile(rb"[ -~]{1,64}")
PLAIN = re.compile(rb"'([ -&(-\[\]-~]*)'")
BITS = re.compile(rb"[xXbB]'[0-9A-Fa-f]*'|0[xb][0-9A-Fa-f]+")
DECIMAL = re.compile(rb"[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?")
# Servers look at strings of these when an introducer is in front of them; one may have got into a
# variable all the same, by an assignment within an expression.
CODECS = {
    b"utf8": "utf-8", b"utf8mb3": "utf-8", b"utf8mb4": "utf-8", b"gbk": "gbk", b"sjis": "shift_jis",
    b"cp932": "cp932", b"big5": "big5", b"ujis": "euc_jp", b"eucjpms": "euc_jp", b"euckr": "euc_kr",
    b"gb2312": "gb2312", b"gb18030": "gb18030", b"ascii": "ascii",
}  # fmt: skip
THREE_BYTES = frozenset({b"utf8", b"utf8mb3"})
STRING = re.compile(rb"_([a-z0-9]+) x'([0-9a-f]*)'(?: COLLATE ([a-z0-9_]+))?")


def can_be_named(name: bytes) -> bool:
    """Whether we and the servers agree on which variable that is."""
    return NAME.fullmatch(name) is not None


def expression(value: Value, charset: Charset) -> bytes | None:
    """What makes the same value under any mode, read off a literal; None: it has to be asked."""
    text = value.text
    if value.kind is ValueKind.NUMBER:
        if BITS.fullmatch(text) or DECIMAL.fullmatch(text.lstrip(b"-")):
            return text
        return None
    if value.kind is ValueKind.WORD:
        return {b"TRUE": b"1", b"FALSE": b"0"}.get(text.upper())
    if value.kind is not ValueKind.STRING:
        return None
    if BITS.fullmatch(text):
        return text
    plain = PLAIN.fullmatch(text)
    if plain is None or charset_of(charset.collation) in WIDE:
        return None
    return string(plain[1], charset.collation)


def string(value: bytes, collation: bytes) -> bytes:
    charset = charset_of(collation)
    made = b"_%s x'%s'" % (charset, value.hex().encode())
    return made if charset == b"binary" else made + b" COLLATE " + collation


def string_of(made: bytes, client: bytes) -> bytes | None:
    """The text that such an expression gives a client, None if it is no text or differs."""
    found = STRING.fullmatch(made)
    if found is None:
        return None
    value = bytes.fromhex(found[2].decode())
    same = found[1] == client or (value.isascii() and found[1] not in WIDE)
    return value if same else None


def well_formed(made: bytes) -> bool:
    """Whether servers take such an expression: they refuse bytes that are no text."""
    found = STRING.search(made)
    if found is None or found[1] not in CODECS:
        return True
    try:
        text = bytes.fromhex(found[2].decode()).decode(CODECS[found[1]])
    except UnicodeDecodeError:
        return False
    return found[1] not in THREE_BYTES or all(letter <= "\uffff" for letter in text)


def question(names: Sequence[bytes], mariadb: bool) -> bytes:
    """A SELECT of COLUMNS values per name: type, type, character set, collation, value twice."""
    return b"SELECT %s LIMIT 1" % b",".join(
        column for name in names for column in columns(name, mariadb)
    )


def columns(name: bytes, mariadb: bool) -> Iterator[bytes]:
    variable = b"@" + name_literal(name)
    if mariadb:
        yield (
            b"(SELECT CAST(VARIABLE_TYPE AS BINARY) FROM information_schema.USER_VARIABLES"
            b" WHERE VARIABLE_NAME=_utf8mb4 x'%s' LIMIT 1)" % name.hex().encode()
        )
        yield b"NULL"
    else:
        for one in (b"1", b"CAST(1 AS UNSIGNED)"):
            array = b"JSON_ARRAY(IF(FALSE,%s,%s))" % (variable, one)
            yield text(b"JSON_TYPE(JSON_EXTRACT(%s,_utf8mb4'$[0]'))" % array)
    yield text(b"CHARSET(%s)" % variable)
    yield text(b"COLLATION(%s)" % variable)
    yield text(variable)
    yield b"CAST(%s AS BINARY)" % variable


def text(column: bytes) -> bytes:
    return b"CAST(CONVERT(%s USING utf8mb4) AS BINARY)" % column


# The two answers of MySQL, or MariaDB's one. An integer that is unsigned beside another one
# that is unsigned is MySQL's way to say that there is no such variable.
UNSET = (b"INTEGER", b"UNSIGNED INTEGER")
TYPES = {
    (b"INTEGER", b"DECIMAL"): b"INT",
    (b"DECIMAL", b"UNSIGNED INTEGER"): b"INT UNSIGNED",
    (b"DECIMAL", b"DECIMAL"): b"DECIMAL",
    (b"DOUBLE", b"DOUBLE"): b"DOUBLE",
}
NUMBERS = frozenset({b"DECIMAL", b"DOUBLE", b"INT", b"INT UNSIGNED"})


def read_back(row: Sequence[bytes | None]) -> bytes | None:
    """The expression that makes the variable of these COLUMNS; None: there is no variable."""
    first, second, charset, collation, shown, raw = row
    if first is None or charset is None or collation is None or (first, second) == UNSET:
        return None
    kind = first if second is None else TYPES.get((first, second), b"VARCHAR")
    made = number(kind, shown or b"1") if kind in NUMBERS else string(raw or b"", collation)
    return NULL_OF + made if raw is None else made


def number(kind: bytes, shown: bytes) -> bytes:
    if kind == b"INT UNSIGNED":
        return b"CAST(%s AS UNSIGNED)" % shown
    if kind == b"DECIMAL" and b"." not in shown:
        return shown + b"."
    if kind == b"DOUBLE" and b"e" not in shown:
        return shown + b"e0"
    return shown
