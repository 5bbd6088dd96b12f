# SPDX-License-Identifier: Apache-2.0
"""Relayed logins where only one side has TLS: who encrypts, who decrypts, who sees what."""

from __future__ import annotations

import pytest

from hproxy.errors import BackendProtocolError
from hproxy.protocols.model import (
    Done,
    PacketArrived,
    Read,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import AuthMoreData, AuthSwitchRequest, HandshakeResponse
from hproxy.protocols.mysql.relay import RelayLogin, RelayState
from tests.support.logins import DENIED, MYSQL, OK, OURS, PASSWORD, options, response, rsa_key
from tests.support.playbook import Playbook, Raises, Transitions
from tests.unit.protocols.mysql.test_relay import walks as plain_walks

CLIENT, BACKEND = Side.CLIENT, Side.BACKEND
walks = Transitions(RelayLogin.NEXT)
FULL = b"\x01" + auth.FULL_AUTH_NEEDED
NO_EXTRA = Capability(0)
SCRAMBLE = b"s" * 20
SWITCHES = {
    plugin: AuthSwitchRequest(plugin, SCRAMBLE + b"\0").build()
    for plugin in (auth.CACHING_SHA2, auth.SHA256)
}
# What the client says first, and by which question it asks for a key.
QUESTIONS = {
    auth.CACHING_SHA2: auth.REQUEST_PUBLIC_KEY,
    auth.SHA256: auth.SHA256_REQUEST_PUBLIC_KEY,
}
BOTH = pytest.mark.parametrize("plugin", list(QUESTIONS))
# The servers' key; ours is another.
THEIRS = auth.generate_rsa_key()
THEIR_PEM = AuthMoreData(auth.public_pem(THEIRS)).build()


def switched(
    plugin: bytes, *, client_tls: bool, backend_tls: bool, extra: Capability = NO_EXTRA
) -> Playbook:
    """As far as the client's answer under `plugin`, with TLS where said."""
    given = options(client_tls="preferred", backend_tls="required" if backend_tls else "off")
    capabilities = (OURS | Capability.SSL if client_tls else OURS) | extra
    sent = response(capabilities, plugin=auth.NATIVE, auth_response=b"n" * 20)
    book = Playbook(RelayLogin(given)) << Read(BACKEND) >> PacketArrived(BACKEND, MYSQL)
    book << Send << Read(CLIENT)
    if client_tls:
        book >> PacketArrived(CLIENT, sent.ssl_request.build()) << StartTls(CLIENT)
        book >> Secured(CLIENT) << Read(CLIENT)
    book >> PacketArrived(CLIENT, sent.build()) << Send
    if backend_tls:
        book << StartTls(BACKEND) >> Secured(BACKEND) << Send
    packet = SWITCHES[plugin]
    return book << Read(BACKEND) >> PacketArrived(BACKEND, packet) << Send(CLIENT, packet)


def in_full(
    plugin: bytes, *, client_tls: bool, backend_tls: bool, extra: Capability = NO_EXTRA
) -> Playbook:
    """As far as the client's password, or its question for a key."""
    book = switched(plugin, client_tls=client_tls, backend_tls=backend_tls, extra=extra)
    book << Read(CLIENT)
    if plugin == auth.CACHING_SHA2:
        book >> PacketArrived(CLIENT, b"f" * 32) << Send(BACKEND, b"f" * 32) << Read(BACKEND)
        book >> PacketArrived(BACKEND, FULL) << Send(CLIENT, FULL) << Read(CLIENT)
    return book


def accepted(book: Playbook) -> None:
    """The backend says yes."""
    book << Read(BACKEND) >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done


def revealed(book: Playbook) -> list[bytes]:
    """What was sent with the password to be read in it."""
    return [payload for payload in book.everything_sent if PASSWORD in payload]


@walks(RelayState.ANSWER, RelayState.PUBLIC_KEY)
@walks(RelayState.PUBLIC_KEY, RelayState.VERDICT)
@BOTH
def test_client_under_tls_backend_without(plugin: bytes) -> None:
    """The password comes in clear and goes on under the backend's key."""
    book = in_full(plugin, client_tls=True, backend_tls=False)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Send(BACKEND, QUESTIONS[plugin])
    book << Read(BACKEND) >> PacketArrived(BACKEND, THEIR_PEM) << Send
    assert auth.decrypt_password(THEIRS, book.sent, SCRAMBLE) == PASSWORD
    accepted(book)
    assert revealed(book) == []
    assert book.machine.password == b""


@walks(RelayState.ANSWER, RelayState.ENCRYPTED)
@walks(RelayState.ENCRYPTED, RelayState.VERDICT)
@BOTH
def test_backend_under_tls_client_without(plugin: bytes) -> None:
    """The password comes under our key and goes on in clear, under TLS."""
    book = in_full(plugin, client_tls=False, backend_tls=True)
    book >> PacketArrived(CLIENT, QUESTIONS[plugin]) << Send << Read(CLIENT)
    pem = AuthMoreData.parse(book.sent).data
    assert pem == auth.public_pem(rsa_key())
    sealed = auth.encrypt_password(PASSWORD, SCRAMBLE, pem)
    book >> PacketArrived(CLIENT, sealed) << Send(BACKEND, PASSWORD + b"\0")
    accepted(book)
    assert revealed(book) == [PASSWORD + b"\0"]


@BOTH
def test_a_client_that_knows_our_key_does_not_ask(plugin: bytes) -> None:
    book = in_full(plugin, client_tls=False, backend_tls=True)
    sealed = auth.encrypt_password(PASSWORD, SCRAMBLE, auth.public_pem(rsa_key()))
    book >> PacketArrived(CLIENT, sealed) << Send(BACKEND, PASSWORD + b"\0")
    accepted(book)


@walks(RelayState.ANSWER, RelayState.ENDED)
@BOTH
def test_a_client_that_uses_the_backends_key_is_refused(plugin: bytes) -> None:
    """Nobody but the backend could open it, and the backend expects it open."""
    book = in_full(plugin, client_tls=False, backend_tls=True)
    sealed = auth.encrypt_password(PASSWORD, SCRAMBLE, auth.public_pem(THEIRS))
    book >> PacketArrived(CLIENT, sealed) << Refuse
    assert book.refused.full_code == "auth.rsa"


@walks(RelayState.ENCRYPTED, RelayState.ENDED)
@pytest.mark.parametrize("sealed", [b"x" * 256, b"short", b"\0", b"x" * 300])
def test_what_our_key_does_not_open_is_refused(sealed: bytes) -> None:
    book = in_full(auth.CACHING_SHA2, client_tls=False, backend_tls=True)
    book >> PacketArrived(CLIENT, auth.REQUEST_PUBLIC_KEY) << Send << Read(CLIENT)
    book >> PacketArrived(CLIENT, sealed) << Refuse
    assert book.refused.full_code == "auth.rsa"


@walks(RelayState.PUBLIC_KEY, RelayState.ENDED)
def test_a_backend_without_a_key_says_so() -> None:
    book = in_full(auth.CACHING_SHA2, client_tls=True, backend_tls=False)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, DENIED) << Refuse
    assert book.refused.full_code == "auth.backend"


@pytest.mark.parametrize("packet", [b"\x01no key", b"\x01", OK, b"\xfe\0"])
def test_a_key_that_is_none(packet: bytes) -> None:
    book = in_full(auth.CACHING_SHA2, client_tls=True, backend_tls=False)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, packet) << Raises(BackendProtocolError, "backend.protocol")


def test_a_password_too_long_for_the_key_is_refused() -> None:
    book = in_full(auth.CACHING_SHA2, client_tls=True, backend_tls=False)
    book >> PacketArrived(CLIENT, b"x" * 300 + b"\0") << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, THEIR_PEM) << Refuse
    assert book.refused.full_code == "auth.rsa"


@BOTH
@pytest.mark.parametrize("tls", [False, True])
def test_where_both_sides_are_alike_nothing_is_touched(plugin: bytes, tls: bool) -> None:
    book = in_full(plugin, client_tls=tls, backend_tls=tls)
    part = PASSWORD + b"\0" if tls else QUESTIONS[plugin]
    book >> PacketArrived(CLIENT, part) << Send(BACKEND, part)
    if not tls:
        book << Read(BACKEND) >> PacketArrived(BACKEND, THEIR_PEM) << Send(CLIENT, THEIR_PEM)
        book << Read(CLIENT) >> PacketArrived(CLIENT, b"sealed") << Send(BACKEND, b"sealed")
    accepted(book)


@pytest.mark.parametrize(("client_tls", "backend_tls"), [(True, False), (False, True)])
def test_sha256_in_the_first_response_is_asked_for_again(
    client_tls: bool, backend_tls: bool
) -> None:
    """Its first answer is the password, or a question: both meant for a side unlike ours."""
    given = options(client_tls="preferred", backend_tls="required" if backend_tls else "off")
    capabilities = OURS | Capability.SSL if client_tls else OURS
    first = PASSWORD + b"\0" if client_tls else auth.SHA256_REQUEST_PUBLIC_KEY
    sent = response(capabilities, plugin=auth.SHA256, auth_response=first)
    book = Playbook(RelayLogin(given)) << Read(BACKEND) >> PacketArrived(BACKEND, MYSQL)
    book << Send << Read(CLIENT)
    if client_tls:
        book >> PacketArrived(CLIENT, sent.ssl_request.build()) << StartTls(CLIENT)
        book >> Secured(CLIENT) << Read(CLIENT)
    book >> PacketArrived(CLIENT, sent.build()) << Send
    if backend_tls:
        book << StartTls(BACKEND) >> Secured(BACKEND) << Send
    went = HandshakeResponse.parse(book.sent)
    assert (went.plugin, went.auth_response) == (auth.NATIVE, b"")
    assert revealed(book) == []
    packet = SWITCHES[auth.SHA256]
    book << Read(BACKEND) >> PacketArrived(BACKEND, packet) << Send(CLIENT, packet) << Read(CLIENT)


def test_a_second_factor_is_not_bridged_like_the_first() -> None:
    """Its answer belongs to another plugin."""
    several = Capability.MULTI_FACTOR_AUTHENTICATION
    book = in_full(auth.CACHING_SHA2, client_tls=True, backend_tls=False, extra=several)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, THEIR_PEM) << Send << Read(BACKEND)
    factor = b"\x02" + auth.NATIVE + b"\0" + SCRAMBLE + b"\0"
    book >> PacketArrived(BACKEND, factor) << Send(CLIENT, factor) << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"n" * 20) << Send(BACKEND, b"n" * 20)
    accepted(book)


def test_every_transition_has_a_test() -> None:
    assert plain_walks.untested & walks.untested == set()
    assert plain_walks.impossible | walks.impossible == set()
