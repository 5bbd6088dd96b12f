# SPDX-License-Identifier: Apache-2.0
"""Logins like ones that were seen before: what compiled code must know to repeat a decision.

    ClientLogin accepts ──> Shortcut ──> Admission ──> Greeter lets the next one like it in

A Shortcut is left only by logins that were checked by comparing hashes, without TLS.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from hproxy._native.cursor import Cursor
from hproxy._native.mysql_login import Admission, Greeter, Guest
from hproxy._native.mysql_login import Greeting as GreetingForm
from hproxy._native.proof import ScrambleSource
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.auth import CACHING_SHA2, SCRAMBLE_BYTES
from hproxy.protocols.mysql.handshake import Greeting, read_attributes

__all__ = [
    "Admission",
    "Greeter",
    "GreetingForm",
    "Guest",
    "ScrambleSource",
    "Shortcut",
    "admission",
    "again",
    "form",
]


class Shortcut(NamedTuple):
    """How logins that say the same can be checked."""

    plugin: bytes
    stored: bytes
    """The double hash of the password; b"" for none."""
    switched: bool
    """The client was asked to use another plugin than it came with."""
    as_nobody: bool
    """A name that is no account's would have been asked the same."""


def form(greeting: Greeting, settings: Any, profile: Any, heard: Any) -> GreetingForm:
    """A greeting to be filled in with ids and scrambles; Greeter asks what the rest is for."""
    # The id stands behind the protocol version and the NUL-terminated server version.
    at_id = 1 + len(greeting.server_version) + 1
    return GreetingForm(greeting.build(), at_id, settings, profile, heard)


def admission(
    shortcut: Shortcut, login: LoginResult, facts: Any, kind: int, ok: bytes, session: Any
) -> Admission:
    """What to remember of a login that led to `session`, which has served nothing yet."""
    return Admission(
        login.account,
        login,
        facts,
        kind,
        stored=shortcut.stored,
        plugin=shortcut.plugin,
        sha2=shortcut.plugin == CACHING_SHA2,
        switched=shortcut.switched,
        ok=ok,
        like=session,
    )


def again(login: LoginResult, said: bytes) -> LoginResult:
    """`login` of another client: `said` is its scramble and its connection attributes."""
    scramble, attributes = said[:SCRAMBLE_BYTES], said[SCRAMBLE_BYTES:]
    sent = read_attributes(Cursor(attributes)) if attributes else ()
    return replace(login, scramble=scramble, attributes=sent)
