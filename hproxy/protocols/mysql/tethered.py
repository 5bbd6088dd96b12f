# SPDX-License-Identifier: Apache-2.0
"""A session and the backend connection it is tied to, as plain data, and back; pure.

    take(session, login, state) ──> two descriptors, facts ── JSON, another process ──┐
    retie(state, facts), give(session, connection, facts) <───────────────────────────┘

What both kinds of session take along is portable's; here is what only the connection knows: its
login, what it is set to, what is prepared there, and why the session is tied to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hproxy._native.mysql_handover import (
    close_there,
    prepared_there,
    recall_there,
    tie,
    tied,
    untie,
    untied,
    wake,
)
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.pool import BackendConnection
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.known import Tether
from hproxy.protocols.mysql.pins import Pin, PinRecord
from hproxy.protocols.mysql.portable import (
    Facts,
    as_bytes,
    as_text,
    bytes_or_none,
    login_of,
    login_to,
    natives_to,
    session_to,
    settings_of,
    settings_to,
    statements_to,
    text_or_none,
)
from hproxy.protocols.mysql.questions import Question, QuestionKind
from hproxy.protocols.mysql.settings import Settings
from hproxy.protocols.mysql.state import SessionState

__all__ = [
    "backend_login_of",
    "backend_login_to",
    "close_there",
    "connection_settings",
    "give",
    "may_leave",
    "retie",
    "take",
    "untied",
    "wake",
]


def may_leave(session: Multiplexed, state: SessionState) -> bool:
    """Whether `take` would succeed."""
    return tied(session) and state.tether() is not None


def take(
    session: Multiplexed, login: LoginResult, state: SessionState
) -> tuple[int, int, Facts, Facts]:
    """End `session` here without a word to anybody: descriptors of client and server, what is known
    of the session, and of its connection.

    Raises ValueError where it cannot leave now; it then goes on."""
    tether, held = state.tether(), session.held
    if tether is None or held is None:
        raise ValueError("not all is known of its backend connection")
    statements = statements_to(session)
    entries = session.statements.entries() if session.statements is not None else []
    open_ones = [
        [each.client_id, each.cursor_open, each.long_data]
        for each in entries
        if each.cursor_open or each.long_data
    ]
    prepared, others = prepared_there(session)
    there = {
        "login": backend_login_to(held.login),
        "settings": settings_to(held.settings),
        "base": settings_to(held.base),
        "tether": tether_to(tether),
        "prepared": [
            [number, backend_id, text_or_none(types), text_or_none(shape), owned, in_use]
            for number, backend_id, types, shape, owned, in_use in prepared
        ],
        "others": others,
        "open": open_ones,
    }
    client, native, backend, known = untie(session)
    there["native"] = natives_to(known)
    return client, backend, session_to(login, state.memory_beside(), native, statements), there


def connection_settings(facts: Mapping[str, Any]) -> Settings:
    """What the connection is set to."""
    return settings_of(facts["settings"])


def retie(state: SessionState, facts: Mapping[str, Any]) -> None:
    """Have `state`, which has recalled the rest, know of the connection."""
    state.retie(tether_of(facts["tether"]))


def give(
    session: Multiplexed, connection: BackendConnection, facts: Mapping[str, Any]
) -> list[int]:
    """Tie `session`, which has not started but has all else, to its connection. Numbers of
    statements there that nobody knows here.

    Raises ValueError, TypeError, KeyError."""
    native = facts["native"]
    tie(session, connection, {**native, "pinned_by": bytes_or_none(native["pinned_by"])})
    connection.base = settings_of(facts["base"])
    entries = [
        (number, backend_id, bytes_or_none(types), bytes_or_none(shape), owned, in_use)
        for number, backend_id, types, shape, owned, in_use in facts["prepared"]
    ]
    return [*recall_there(session, entries, facts["open"]), *facts["others"]]


# -- the login there -------------------------------------------------------------------


def backend_login_to(login: LoginResult) -> Facts:
    """What was agreed with the server."""
    return {**login_to(login), "backend_id": login.backend_id, "reply": as_text(login.reply)}


def backend_login_of(facts: Mapping[str, Any], account: Any) -> LoginResult:
    """The same, of `account`; None: it is not known here."""
    login = login_of(facts, account)
    return replace(login, backend_id=facts["backend_id"], reply=as_bytes(facts["reply"]))


# -- why it is tied --------------------------------------------------------------------


def tether_to(tether: Tether) -> Facts:
    """What ties a session to its connection."""
    return {
        "waiting": [
            [as_text(each.sql), each.kind.name, [as_text(name) for name in each.names]]
            for each in tether.waiting
        ],
        "held": texts(tether.held),
        "temporary": texts(tether.temporary),
        "locks": texts(tether.locks),
        "nameless_lock": bool(tether.nameless_lock),
        "holds": sorted(tether.holds),
        "handlers": texts(tether.handlers),
        "unprepared": [
            [as_text(name), as_text(user), settings_to(context)]
            for name, (user, context) in tether.unprepared.items()
        ],
        "wide": tether.wide,
        "stained": tether.stained,
        "records": [
            [int(reason), since, as_text(statement)] for reason, since, statement in tether.records
        ],
    }


def tether_of(facts: Mapping[str, Any]) -> Tether:
    """The same."""
    return Tether(
        tuple(
            Question(as_bytes(sql), QuestionKind[kind], tuple(as_bytes(name) for name in names))
            for sql, kind, names in facts["waiting"]
        ),
        all_bytes(facts["held"]),
        all_bytes(facts["temporary"]),
        all_bytes(facts["locks"]),
        facts["nameless_lock"],
        frozenset(facts["holds"]),
        all_bytes(facts["handlers"]),
        {
            as_bytes(name): (as_bytes(user), settings_of(context))
            for name, user, context in facts["unprepared"]
        },
        facts["wide"],
        facts["stained"],
        tuple(
            PinRecord(Pin(reason), since, as_bytes(statement))
            for reason, since, statement in facts["records"]
        ),
    )


def texts(values: frozenset[bytes]) -> list[str]:
    return sorted(as_text(value) for value in values)


def all_bytes(values: list[str]) -> frozenset[bytes]:
    return frozenset(as_bytes(value) for value in values)
