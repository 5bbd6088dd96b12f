# SPDX-License-Identifier: Apache-2.0
"""What a login leaves behind for others like it, by account and plugin."""

from __future__ import annotations

from hashlib import sha1, sha256

import pytest

from hproxy.auth import Account
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import AccountFound, PacketArrived, Side
from hproxy.protocols.mysql.auth import CACHING_SHA2, ED25519, NATIVE, Secret, new_scramble
from hproxy.protocols.mysql.constants import Capability, MariadbCapability, ServerStatus
from hproxy.protocols.mysql.frontend import ClientLogin
from hproxy.protocols.mysql.handshake import HandshakeResponse, write_attributes
from hproxy.protocols.mysql.profile import Profile
from hproxy.protocols.mysql.scramble import native_response, sha2_response
from hproxy.protocols.mysql.shortcut import Shortcut, again, form

CAPABILITIES = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH
PROFILE = Profile(b"9.9", CAPABILITIES, MariadbCapability(0), 45, ServerStatus.AUTOCOMMIT)
PASSWORD = b"pw"
DOUBLE_SHA1 = sha1(sha1(PASSWORD).digest()).digest()
DOUBLE_SHA256 = sha256(sha256(PASSWORD).digest()).digest()
NATIVE_HASH = "*" + DOUBLE_SHA1.hex()


def answer(plugin: bytes, scramble: bytes) -> bytes:
    if plugin == NATIVE:
        return native_response(sha1(PASSWORD).digest(), scramble)
    return sha2_response(sha256(PASSWORD).digest(), scramble)


def shortcut(account: Account, came_with: bytes, asked_for: bytes) -> Shortcut | None:
    """Log in as a client that has `came_with` and does what it is `asked_for`."""
    greeted, switched = new_scramble(), new_scramble()
    login = ClientLogin(LoginOptions(7, scrambles=(greeted, switched)), PROFILE)
    login.start()
    assert login.greeting.scramble == greeted
    response = HandshakeResponse(
        CAPABILITIES, account.username, answer(came_with, greeted), plugin=came_with
    )
    login.receive(PacketArrived(Side.CLIENT, response.build()))
    login.receive(AccountFound(account))
    if asked_for != came_with:
        login.receive(PacketArrived(Side.CLIENT, answer(asked_for, switched)))
    return login.shortcut


@pytest.mark.parametrize(
    ("secret", "plugin", "came_with", "asked_for", "expected"),
    [
        ("pw", None, NATIVE, NATIVE, Shortcut(NATIVE, DOUBLE_SHA1, False, True)),
        ("pw", None, CACHING_SHA2, CACHING_SHA2,
         Shortcut(CACHING_SHA2, DOUBLE_SHA256, False, True)),
        ("pw", "mysql_native_password", CACHING_SHA2, NATIVE,
         Shortcut(NATIVE, DOUBLE_SHA1, True, False)),
        ("pw", "caching_sha2_password", NATIVE, CACHING_SHA2,
         Shortcut(CACHING_SHA2, DOUBLE_SHA256, True, False)),
        (NATIVE_HASH, None, NATIVE, NATIVE, Shortcut(NATIVE, DOUBLE_SHA1, False, False)),
        # Its first login cannot be checked without the password itself.
        (NATIVE_HASH, None, CACHING_SHA2, CACHING_SHA2, None),
        ("other", None, NATIVE, NATIVE, None),
    ],
)  # fmt: skip
def test_shortcuts(
    secret: str, plugin: str | None, came_with: bytes, asked_for: bytes, expected: Shortcut | None
) -> None:
    account = Account(b"ann", Secret.parse(secret), plugin=plugin)
    assert shortcut(account, came_with, asked_for) == expected


def test_what_takes_more_than_hashing() -> None:
    clear = Secret.parse("pw")
    assert clear.digest_for(ED25519, None) is None
    assert Secret.parse("").digest_for(NATIVE, None) == b""
    hashed = Secret.parse("$A$005$" + "s" * 20 + "x" * 43)
    assert hashed.digest_for(NATIVE, None) is None
    assert hashed.digest_for(CACHING_SHA2, None) is None
    assert hashed.digest_for(CACHING_SHA2, DOUBLE_SHA256) == DOUBLE_SHA256


def test_the_same_login_of_another_client() -> None:
    login = LoginResult(b"ann", b"db", 5, 45, ((b"_pid", b"1"),), scramble=b"a" * 20)
    sent = ((b"_pid", b"2"), (b"program", b"x"))
    other = again(login, b"b" * 20 + write_attributes(sent))
    assert (other.scramble, other.attributes) == (b"b" * 20, sent)
    assert (other.user, other.database, other.charset) == (b"ann", b"db", 45)
    assert again(login, b"c" * 20).attributes == ()


def test_form_is_the_greeting_of_now() -> None:
    machine = ClientLogin(LoginOptions(7), PROFILE)
    found = form(machine.greeting, "settings", PROFILE, 3)
    assert (found.settings, found.profile, found.heard) == ("settings", PROFILE, 3)
