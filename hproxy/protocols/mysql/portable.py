# SPDX-License-Identifier: Apache-2.0
"""A session that nothing binds to a backend connection, as plain data, and back; pure.

    take(session, login, state) ──> descriptor, facts ── JSON, another process ──┐
    give(session, state, facts) <── a session as after a login <─────────────────┘

The facts are strings, numbers, lists and dicts. Bytes are strings of Latin-1, so that any byte
is a character. FORMAT counts the ways they have been written: whoever reads another way than
they were written reads nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hproxy._native.mysql_handover import (
    arrive,
    at_rest,
    depart,
    recall_statements,
    statements_of,
)
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.compression import Zlib, Zstd, codec
from hproxy.protocols.mysql.known import Memory
from hproxy.protocols.mysql.prepared import context_of
from hproxy.protocols.mysql.settings import Charset, Prepared, Settings
from hproxy.protocols.mysql.state import SessionState

__all__ = [
    "FORMAT",
    "as_bytes",
    "as_text",
    "bytes_or_none",
    "credential_of",
    "credential_to",
    "give",
    "login_of",
    "login_to",
    "may_leave",
    "memory_of",
    "natives_to",
    "session_to",
    "settings_of",
    "settings_to",
    "statements_to",
    "take",
    "text_or_none",
]

FORMAT = 2
MODES_IN_KEY = 3  # of (account, kind, settings, modes, text)

Facts = dict[str, Any]
Recalled = Callable[[bytes, Settings, int, int, int, bool], Any]
"""(text, context, lexer modes, parameters, columns, sticky) -> the worker's Statement."""


def as_text(value: bytes) -> str:
    """Any bytes as characters."""
    return value.decode("latin-1")


def as_bytes(value: str) -> bytes:
    """The bytes again. Raises UnicodeEncodeError, a ValueError."""
    return value.encode("latin-1")


def text_or_none(value: bytes | None) -> str | None:
    return None if value is None else as_text(value)


def bytes_or_none(value: str | None) -> bytes | None:
    return None if value is None else as_bytes(value)


def pairs_to(pairs: Sequence[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[as_text(name), as_text(value)] for name, value in pairs]


def pairs_of(pairs: Sequence[Sequence[str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((as_bytes(name), as_bytes(value)) for name, value in pairs)


# -- settings ------------------------------------------------------------------------


def settings_to(settings: Settings) -> Facts:
    """What a session has set."""
    return {
        "schema": as_text(settings.schema),
        "charset": [text_or_none(each) for each in settings.charset],
        "variables": pairs_to(settings.variables),
        "users": pairs_to(settings.users),
        "prepared": [
            [as_text(name), as_text(made.text), settings_to(made.context)]
            for name, made in settings.prepared
        ],
        "multi": settings.multi_statements,
    }


def settings_of(facts: Mapping[str, Any]) -> Settings:
    """The one object of that content."""
    client, results, collation, results_collation = map(bytes_or_none, facts["charset"])
    prepared = tuple(
        (as_bytes(name), Prepared(as_bytes(text), settings_of(context)))
        for name, text, context in facts["prepared"]
    )
    charset = Charset(client or b"", results, collation or b"", results_collation or b"")
    return Settings.make(
        as_bytes(facts["schema"]),
        charset,
        pairs_of(facts["variables"]),
        pairs_of(facts["users"]),
        prepared,
        facts["multi"],
    )


# -- who it is -----------------------------------------------------------------------


def login_to(login: LoginResult) -> Facts:
    """What a login has agreed on; its account and credential are the table's."""
    codec: Zlib | Zstd | None = login.compression
    return {
        "user": as_text(login.user),
        "database": as_text(login.database),
        "capabilities": login.capabilities,
        "charset": login.charset,
        "attributes": pairs_to(login.attributes),
        "scramble": as_text(login.scramble),
        "plugin": as_text(login.plugin),
        "compression": None if codec is None else [codec.algorithm, codec.level],
    }


def login_of(facts: Mapping[str, Any], account: Any) -> LoginResult:
    """The same, of `account`, if there is one. Raises ValueError for a compression that is unknown
    here."""
    packing = facts["compression"]
    if packing is not None and packing[0] not in ("zlib", "zstd"):
        raise ValueError(f"compression by {packing[0]}")
    return LoginResult(
        user=as_bytes(facts["user"]),
        database=as_bytes(facts["database"]),
        capabilities=facts["capabilities"],
        charset=facts["charset"],
        attributes=pairs_of(facts["attributes"]),
        credential=account.credential if account is not None else None,
        account=account,
        scramble=as_bytes(facts["scramble"]),
        plugin=as_bytes(facts["plugin"]),
        compression=None if packing is None else codec(*packing),
    )


def credential_to(credential: Credential | None) -> list[str | None] | None:
    """What logins have taught of a password; it goes to a process of the same service alone."""
    if credential is None:
        return None
    known = (credential.password, credential.sha1, credential.sha256)
    return [text_or_none(each) for each in known]


def credential_of(facts: Sequence[str | None] | None) -> Credential | None:
    """The same."""
    return None if facts is None else Credential(*map(bytes_or_none, facts))


# -- the session ---------------------------------------------------------------------


def may_leave(session: Multiplexed, state: SessionState) -> bool:
    """Whether `take` would succeed."""
    return at_rest(session) and state.memory() is not None


def take(session: Multiplexed, login: LoginResult, state: SessionState) -> tuple[int, Facts]:
    """End `session` here without a word to anybody: its client's descriptor, and the rest.

    Raises ValueError where something binds it; it then goes on."""
    memory = state.memory()
    if memory is None:
        raise ValueError("its backend connection knows more of it than we do")
    statements = statements_to(session)
    client, native = depart(session)
    return client, session_to(login, memory, native, statements)


def session_to(login: LoginResult, memory: Memory, native: Facts, statements: Facts) -> Facts:
    """All that goes along whether or not it has a connection."""
    return {
        "login": login_to(login),
        "state": {
            "settings": settings_to(memory.settings),
            "at_login": settings_to(memory.at_login),
            "status": memory.status,
            "named": memory.named,
            "tracking": pairs_to(sorted(memory.tracking.items())),
        },
        "native": natives_to(native),
        "statements": statements,
    }


def natives_to(native: Mapping[str, Any]) -> Facts:
    """What native code says, its bytes as text."""
    return {
        name: as_text(value) if isinstance(value, bytes) else value
        for name, value in native.items()
    }


def statements_to(session: Multiplexed) -> Facts:
    """What its client has prepared."""
    next_id, latest, statements = statements_of(session)
    return {
        "next_id": next_id,
        "latest": latest,
        "entries": [
            {
                "id": entry.client_id,
                "text": as_text(entry.statement.text),
                "context": settings_to(context_of(entry.statement)),
                "modes": modes_of(entry.statement),
                "params": entry.statement.params,
                "columns": entry.statement.columns,
                "sticky": entry.statement.sticky,
                "asked": text_or_none(entry.asked),
                "types": text_or_none(types),
                "shape": text_or_none(shape),
                "mixed": mixed,
            }
            for entry, types, shape, mixed in statements
        ],
    }


def memory_of(facts: Mapping[str, Any]) -> Memory:
    """What was known of a session that was taken."""
    state = facts["state"]
    return Memory(
        settings_of(state["settings"]),
        settings_of(state["at_login"]),
        state["status"],
        state["named"],
        dict(pairs_of(state["tracking"])),
    )


def give(session: Multiplexed, facts: Mapping[str, Any], recalled: Recalled) -> None:
    """Make `session`, which has not started, the one that was taken.

    Raises ValueError, TypeError, KeyError."""
    native = facts["native"]
    bytes_in = {name: bytes_or_none(native[name]) for name in ("refusal", "inbox")}
    arrive(session, {**native, **bytes_in})
    statements = facts["statements"]
    entries = [
        (
            recalled(
                as_bytes(each["text"]),
                settings_of(each["context"]),
                each["modes"],
                each["params"],
                each["columns"],
                each["sticky"],
            ),
            each["id"],
            bytes_or_none(each["asked"]),
            bytes_or_none(each["types"]),
            bytes_or_none(each["shape"]),
            each["mixed"],
        )
        for each in statements["entries"]
    ]
    if entries or statements["next_id"] != 1:
        recall_statements(session, statements["next_id"], statements["latest"], entries)


def modes_of(statement: Any) -> int:
    """How its text was lexed, which its key names."""
    modes: int = statement.key[MODES_IN_KEY]
    return modes
