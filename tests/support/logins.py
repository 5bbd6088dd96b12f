# SPDX-License-Identifier: Apache-2.0
"""What tests of MySQL logins share: real greetings, clients' responses, options, a key."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from hashlib import sha1
from typing import Any

from hproxy.auth import Account
from hproxy.protocols.base import LoginOptions
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import Greeting, HandshakeResponse, OkPacket
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.protocols.mysql.scramble import sha256_crypt
from tests.captures.reading import load

__all__ = [
    "DENIED",
    "MARIADB",
    "MYSQL",
    "OK",
    "OURS",
    "PASSWORD",
    "PROXY_ID",
    "SECRETS",
    "account",
    "greeting",
    "options",
    "response",
    "rsa_key",
]

MYSQL = load("mysql/mysql-9.7/login_full").frames[0].payload
MARIADB = load("mysql/mariadb-10.11/login_native").frames[0].payload
OK = OkPacket().build(Capability(0))
DENIED = ErrPacket(1045, b"Access denied for user 'ann'", b"28000").build()

PROXY_ID = 1 << 30
PASSWORD = b"correct horse"
SALT = b"0123456789abcdefghij"
SECRETS: dict[str, bytes] = {
    "empty": b"",
    "clear": PASSWORD,
    "native hash": b"*" + sha1(sha1(PASSWORD).digest()).hexdigest().upper().encode(),
    "sha2 hash": b"$A$001$" + SALT + sha256_crypt(PASSWORD, SALT, 1000),
}
OURS = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.CONNECT_ATTRS
    | Capability.CONNECT_WITH_DB
    | Capability.LONG_PASSWORD
)


@cache
def rsa_key() -> Any:
    """One key for all tests: each takes 0.1 s to make."""
    return auth.generate_rsa_key()


def options(**changes: Any) -> LoginOptions:
    """Without TLS, from 192.0.2.7."""
    base = LoginOptions(connection_id=PROXY_ID, client_host="192.0.2.7", rsa_key=rsa_key())
    return replace(base, **changes)


def greeting(payload: bytes = MYSQL, **changes: Any) -> bytes:
    """A real greeting, with `changes`."""
    return replace(Greeting.parse(payload), **changes).build()


def response(
    capabilities: Capability = OURS, *, user: bytes = b"ann", **fields: Any
) -> HandshakeResponse:
    """A client's response, without an answer unless given."""
    fields.setdefault("plugin", auth.CACHING_SHA2)
    return HandshakeResponse(capabilities, user, **fields)


def account(secret: bytes = PASSWORD, **fields: Any) -> Account:
    """One row of mysql_users."""
    parsed = auth.Secret.parse(secret)
    return Account(b"ann", parsed, credential=parsed.credential, **fields)
