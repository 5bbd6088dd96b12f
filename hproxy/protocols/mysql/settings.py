# SPDX-License-Identifier: Apache-2.0
"""What a session has set, as one object; how a connection gets from one such object to another.

    Settings.make(...)     equal content, same object: a pool compares pointers
    replay(have, want)     the shortest exact sequence of commands, in this order:

        COM_RESET_CONNECTION    something can only be undone by forgetting everything
        DEALLOCATE PREPARE      statements the new session does not have
        PREPARE                 each under the settings it was first prepared with
        COM_SET_OPTION          several statements in one text, or not
        COM_INIT_DB             before SET: it changes character_set_database
        SET                     character sets, variables and user variables, all at once

Literals are written so that neither sql_mode nor character_set_client can change their
meaning: plain ASCII in single quotes, anything else in hexadecimal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar
from weakref import WeakValueDictionary

from hproxy.protocols.mysql.constants import Command
from hproxy.protocols.mysql.lexer import (
    ANSI_QUOTES,
    CHARACTERS,
    FAMILY,
    NO_BACKSLASH_ESCAPES,
    family,
)

__all__ = [
    "DEFAULT_CHARSET",
    "NULL_OF",
    "WIDE",
    "Charset",
    "Prepared",
    "Settings",
    "Step",
    "charset_of",
    "charset_statement",
    "lex_modes",
    "literal",
    "name_literal",
    "replay",
]

V = TypeVar("V")

NULL_OF = b"NULL OF "
"""In front of the expression of a user variable: it is NULL, of the type of that expression.
NULL by itself keeps the type that a variable has, and no other form of NULL gives it one."""

RESET = bytes([Command.RESET_CONNECTION])
QUERY = bytes([Command.QUERY])

NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
PLAIN = re.compile(rb"[ -&(-\[\]-~]*")  # ASCII without quote and backslash

# What these report as empty is NULL when it is set.
NULL_WHEN_EMPTY = frozenset(
    {
        b"default_tmp_storage_engine",
        b"enforce_storage_engine",
        b"external_table_storage_engine",
        b"innodb_ft_user_stopword_table",
        b"innodb_tmpdir",
    }
)
# Words that are no strings.
BARE = {(b"system_versioning_asof", b"DEFAULT")}

# `= DEFAULT` is the server's own value for every variable of MariaDB 10.11 and MySQL 9 that a
# session can set (tests/integration/test_state_replay.py tries them all), but for these two:
# MySQL turns them off, whatever the global value says.
GLOBAL_BY_NAME = frozenset({b"foreign_key_checks", b"unique_checks"})


def charset_of(collation: bytes) -> bytes:
    """The character set a collation is one of."""
    return collation.partition(b"_")[0]


class Charset(NamedTuple):
    """character_set_client, character_set_results (None: NULL), collation_connection."""

    client: bytes
    results: bytes | None
    collation: bytes
    results_collation: bytes = b""
    """The collation that columns are said to have, b"" for the usual one of `results`.

    No variable shows it, but SET NAMES ... COLLATE sets it, and so does the login.
    """

    @classmethod
    def named(cls, collation: bytes) -> Charset:
        """After a login with this collation, or SET NAMES with it."""
        charset = charset_of(collation)
        return cls(charset, charset, collation, collation)

    @property
    def speakable(self) -> bool:
        """Whether servers let clients speak it: not those that do not contain ASCII as it is."""
        return self.client not in WIDE


DEFAULT_CHARSET = Charset.named(b"utf8mb4_general_ci")


class Prepared(NamedTuple):
    """A statement of PREPARE ... FROM; tables and literals mean what they meant then."""

    text: bytes
    context: Settings


class Step(NamedTuple):
    """A command to send, and what to call it in logs."""

    payload: bytes
    text: str
    prepares: bytes = b""
    """The statement that this prepares anew. It may be refused, since tables come and go: the
    connection then holds `want.with_prepared({prepares: None})`, and will do for now."""


class Settings:
    """Immutable. Two of equal content are the same object as long as one is referenced."""

    __slots__ = (
        "__weakref__",
        "charset",
        "multi_statements",
        "prepared",
        "schema",
        "users",
        "variables",
    )

    schema: bytes
    """UTF-8, as the server reports it; b"" for none."""
    charset: Charset
    variables: tuple[tuple[bytes, bytes], ...]
    """Session variables that were set and their values as the server reports them; sorted."""
    users: tuple[tuple[bytes, bytes], ...]
    """User variables in lower case and expressions that make their values (see NULL_OF); sorted."""
    prepared: tuple[tuple[bytes, Prepared], ...]
    """Statements of PREPARE by their names in lower case; sorted."""
    multi_statements: bool | None
    """What COM_SET_OPTION said, None when it said nothing or what the login said."""

    @staticmethod
    def make(
        schema: bytes = b"",
        charset: Charset = DEFAULT_CHARSET,
        variables: tuple[tuple[bytes, bytes], ...] = (),
        users: tuple[tuple[bytes, bytes], ...] = (),
        prepared: tuple[tuple[bytes, Prepared], ...] = (),
        multi_statements: bool | None = None,
    ) -> Settings:
        """The one object of this content; the tuples are sorted by name."""
        content = (schema, charset, variables, users, prepared, multi_statements)
        found = KNOWN.get(content)
        if found is None:
            found = object.__new__(Settings)
            for slot, value in zip(CONTENT, content, strict=True):
                object.__setattr__(found, slot, value)
            KNOWN[content] = found
        return found

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}")

    def __repr__(self) -> str:
        shown = (f"{slot}={getattr(self, slot)!r}" for slot in CONTENT if getattr(self, slot))
        return f"Settings({', '.join(shown)})"

    def with_schema(self, schema: bytes) -> Settings:
        """In another schema; what was set of the schema's own variables is gone with it."""
        kept = tuple(item for item in self.variables if item[0] not in OF_SCHEMA)
        return self._but(schema=schema, variables=kept)

    def with_charset(self, charset: Charset) -> Settings:
        """With other character sets."""
        return self._but(charset=charset)

    def with_variables(self, changes: Mapping[bytes, bytes | None]) -> Settings:
        """With session variables set, or back at the server's value (None)."""
        return self._but(variables=merged(self.variables, changes))

    def without(self, names: frozenset[str]) -> Settings:
        """With these session variables (lower case) as the server has them."""
        kept = tuple(item for item in self.variables if item[0].decode("ascii") not in names)
        return self if len(kept) == len(self.variables) else self._but(variables=kept)

    def with_users(self, changes: Mapping[bytes, bytes | None]) -> Settings:
        """With user variables set, or unknown again (None)."""
        return self._but(users=merged(self.users, changes))

    def with_prepared(self, changes: Mapping[bytes, Prepared | None]) -> Settings:
        """With text statements prepared, or gone (None)."""
        return self._but(prepared=merged(self.prepared, changes))

    def with_multi_statements(self, multi_statements: bool | None) -> Settings:
        """With COM_SET_OPTION's answer."""
        return self._but(multi_statements=multi_statements)

    @property
    def context(self) -> Settings:
        """What decides on the meaning of a text: all but user variables and statements."""
        return self._but(users=(), prepared=())

    @property
    def needs_schema(self) -> bool:
        """A statement was prepared in a schema, which no road leaves again for none."""
        return any(statement.context.schema for _, statement in self.prepared)

    def reading(self, context: Settings) -> Settings:
        """These, but a text means what it means in `context`: schema, character sets, sql_mode."""
        if not (self.schema and context.schema):
            context = context.with_schema(self.schema)
        chosen = dict(context.variables)
        variables = {name: value for name, value in self.variables if not decides_on_meaning(name)}
        variables |= {name: value for name, value in chosen.items() if decides_on_meaning(name)}
        return self._but(
            schema=context.schema,
            charset=context.charset,
            variables=tuple(sorted(variables.items())),
        )

    @property
    def lex_modes(self) -> int:
        """How statements are read by the lexer, if sql_mode is the usual where it is not set."""
        return self.modes(b"")

    def modes(self, sql_mode: bytes) -> int:
        """The same where `sql_mode` is what counts while none is set."""
        mine = self.variable(b"sql_mode")
        return lex_modes(sql_mode if mine is None else mine, self.charset.client)

    def variable(self, name: bytes) -> bytes | None:
        """The value of a session variable that was set."""
        return next((value for known, value in self.variables if known == name), None)

    def user(self, name: bytes) -> bytes | None:
        """The expression of a user variable."""
        return next((value for known, value in self.users if known == name), None)

    def statement(self, name: bytes) -> Prepared | None:
        """The text statement of that name."""
        return next((value for known, value in self.prepared if known == name), None)

    def _but(self, **changes: object) -> Settings:
        content = {slot: getattr(self, slot) for slot in CONTENT} | changes
        return Settings.make(**content)


CONTENT = ("schema", "charset", "variables", "users", "prepared", "multi_statements")
KNOWN: WeakValueDictionary[tuple[object, ...], Settings] = WeakValueDictionary()
# They follow the schema until the next USE.
OF_SCHEMA = frozenset({b"character_set_database", b"collation_database"})


def decides_on_meaning(name: bytes) -> bool:
    """Whether a session variable counts when a text is prepared, not only when it is executed."""
    return name in (b"sql_mode", b"old_mode") or name.startswith((b"character_set_", b"collation_"))


def merged(
    items: tuple[tuple[bytes, V], ...], changes: Mapping[bytes, V | None]
) -> tuple[tuple[bytes, V], ...]:
    found: dict[bytes, V] = dict(items)
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return tuple(sorted(found.items(), key=lambda item: item[0]))


def lex_modes(sql_mode: bytes, client: bytes) -> int:
    """The lexer's modes under `sql_mode`, for text in the character set `client`."""
    names = sql_mode.upper().split(b",")
    modes = family(client)
    if b"ANSI_QUOTES" in names:
        modes |= ANSI_QUOTES
    if b"NO_BACKSLASH_ESCAPES" in names:
        modes |= NO_BACKSLASH_ESCAPES
    return modes


def literal(value: bytes) -> bytes:
    """A string in SQL, under whatever sql_mode and character set; `value` is UTF-8."""
    if PLAIN.fullmatch(value):
        return b"'%s'" % value
    return b"_utf8mb4 0x" + value.hex().encode()


def name_literal(name: bytes) -> bytes:
    return b"`%s`" % name.replace(b"`", b"``")


def quoted(text: bytes, modes: int) -> bytes:
    """Text of the client as a string literal in its own character set."""
    special = rb"'" if modes & NO_BACKSLASH_ESCAPES else rb"['\\]"
    # A trail byte of these character sets may look like a backslash.
    character = CHARACTERS.get(modes & FAMILY, rb"(?!)")
    pieces = re.compile(rb"(?:%s)|(%s)" % (character, special), re.DOTALL)
    return b"'%s'" % pieces.sub(lambda piece: piece[0] + (piece[1] or b""), text)


def replay(
    have: Settings | None, want: Settings, tracking: bytes = b"", sql_mode: bytes = b""
) -> tuple[Step, ...] | None:
    """Commands that make a connection which holds `have` one that holds `want`.

    `tracking` is the statement that switches the server's session tracking on, which a reset
    switches off; `sql_mode` is the mode of sessions that set none. `have` is None for a
    connection of which only the login is known: it has no schema. None when there is no way:
    a schema cannot be left for none.
    """
    if have is want:
        return ()
    if not want.schema and ((have is not None and have.schema) or want.needs_schema):
        return None
    road = Road(have, tracking, sql_mode)
    road.forget(want)
    contexts = dict.fromkeys(statement.context for _, statement in want.prepared)
    for context in contexts:
        for name, statement in want.prepared:
            if statement.context is context:
                road.prepare(name, statement)
    road.go(want)
    return tuple(road.steps)


class Road:
    """The steps so far, and what the connection holds behind the last of them."""

    def __init__(self, have: Settings | None, tracking: bytes, sql_mode: bytes) -> None:
        self.steps: list[Step] = []
        self.sql_mode = sql_mode
        self.tracking = tracking
        self.here = have or Settings.make()
        self.charset_known = have is not None
        if have is None and tracking:
            self.query(tracking)

    def query(self, sql: bytes, prepares: bytes = b"") -> None:
        self.steps.append(Step(QUERY + sql, sql.decode("utf-8", "backslashreplace"), prepares))

    def forget(self, want: Settings) -> None:
        """Leave behind what cannot be taken back one by one."""
        here = self.here
        left = {name for name, _ in here.variables} - {name for name, _ in want.variables}
        of_schema = bool(left & OF_SCHEMA)
        users = {name for name, _ in here.users} - {name for name, _ in want.users}
        if users or (of_schema and not want.schema):
            # A user variable set to NULL is not one that was never set: it keeps its type.
            self.steps.append(Step(RESET, "COM_RESET_CONNECTION"))
            # The schema stays, but MySQL forgets its character set: it is named again.
            self.here = Settings.make(multi_statements=here.multi_statements)
            self.charset_known = False
            if self.tracking:
                self.query(self.tracking)
            return
        wanted = dict(want.prepared)
        gone = [name for name, found in here.prepared if wanted.get(name) != found]
        for name in gone:
            self.query(b"DEALLOCATE PREPARE " + name_literal(name))
        self.here = here.with_prepared(dict.fromkeys(gone))
        if of_schema:
            # They follow the schema again when it is named, and only then.
            self.here = self.here.with_schema(b"")

    def prepare(self, name: bytes, statement: Prepared) -> None:
        if self.here.statement(name) == statement:
            return
        self.go(statement.context)
        # Between quotes, the only form MySQL takes, and as the client sent it.
        text = quoted(statement.text, self.here.modes(self.sql_mode))
        self.here = self.here.with_prepared({name: statement})
        if b"@" in statement.text:
            # To prepare `@x := 1` is enough for MariaDB to give @x another collation.
            self.here = self.here.with_users({user: None for user, _ in self.here.users})
        self.query(b"PREPARE %s FROM %s" % (name_literal(name), text), name)

    def go(self, want: Settings) -> None:
        """All but text statements and user variables that `want` does not name."""
        here = self.here
        if here.multi_statements is not want.multi_statements:
            on = want.multi_statements
            if on is None:
                on = not here.multi_statements
            option = bytes([Command.SET_OPTION, 0 if on else 1, 0])
            self.steps.append(Step(option, f"COM_SET_OPTION {'on' if on else 'off'}"))
        charset: Charset | None = here.charset if self.charset_known else None
        variables = here.variables
        schema = want.schema or here.schema
        if schema != here.schema:
            if not schema.isascii() and charset_name(charset) not in UTF8:
                self.query(b"SET NAMES utf8mb4")
                charset = None
            text = f"COM_INIT_DB {schema.decode('utf-8', 'backslashreplace')}"
            self.steps.append(Step(bytes([Command.INIT_DB]) + schema, text))
            variables = here.with_schema(schema).variables
        changes = [
            *variable_changes(dict(variables), dict(want.variables)),
            *user_changes(dict(here.users), want.users),
        ]
        if changes and (charset is None or charset_of(charset.collation) in WIDE):
            # Or strings in the next statement would not be ASCII.
            self.query(b"SET collation_connection=utf8mb4_bin")
            charset = charset and charset._replace(collation=b"utf8mb4_bin")
        changes += charset_changes(charset, want.charset)
        if changes:
            self.query(b"SET " + b",".join(changes))
        self.charset_known = True
        users = dict(here.users) | dict(want.users)
        self.here = Settings.make(
            schema,
            want.charset,
            want.variables,
            tuple(sorted(users.items())),
            here.prepared,
            want.multi_statements,
        )


# Character sets in which ASCII is not itself; a client cannot use them, a collation can.
WIDE = frozenset({b"ucs2", b"utf16", b"utf16le", b"utf32"})
UTF8 = frozenset({b"utf8", b"utf8mb3", b"utf8mb4"})


def charset_name(charset: Charset | None) -> bytes:
    return charset.client if charset else b""


def charset_statement(charset: Charset) -> bytes:
    """SET of these character sets, whatever they were."""
    return b"SET " + b",".join(charset_changes(None, charset))


def charset_changes(have: Charset | None, want: Charset) -> list[bytes]:
    """The names stand as they are: a string would be in collation_connection's own way."""
    changes = []
    if want.results and want.results_collation:
        if have is None or have[1::2] != want[1::2]:
            changes.append(b"NAMES %s COLLATE %s" % (want.results, want.results_collation))
            collation = want.results_collation
            have = Charset(want.results, want.results, collation, collation)
    elif have is None or have[1::2] != want[1::2]:
        changes.append(b"@@SESSION.character_set_results=" + (want.results or b"NULL"))
    if have is None or have.client != want.client:
        changes.append(b"@@SESSION.character_set_client=" + want.client)
    if have is None or have.collation != want.collation:
        changes.append(b"@@SESSION.collation_connection=" + want.collation)
    return changes


def variable_changes(have: Mapping[bytes, bytes], want: Mapping[bytes, bytes]) -> list[bytes]:
    changes = []
    for name in sorted(have.keys() | want.keys()):
        value = want.get(name)
        if have.get(name) == value:
            continue
        if value is None:
            text = b"@@GLOBAL." + name if name in GLOBAL_BY_NAME else b"DEFAULT"
        elif not value and name in NULL_WHEN_EMPTY:
            text = b"NULL"
        elif NUMBER.fullmatch(value) or (name, value) in BARE:
            text = value
        else:
            text = literal(value)
        changes.append(b"@@SESSION.%s=%s" % (name, text))
    return changes


def user_changes(have: Mapping[bytes, bytes], want: tuple[tuple[bytes, bytes], ...]) -> list[bytes]:
    changes = []
    for name, value in want:
        if have.get(name) != value:
            variable = b"@" + name_literal(name)
            changes.append(variable + b"=" + value.removeprefix(NULL_OF))
            if value.startswith(NULL_OF):
                changes.append(variable + b"=NULL")
    return changes
