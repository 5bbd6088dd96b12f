# SPDX-License-Identifier: Apache-2.0
"""Clients logged in by ourselves: a conversation for every state change and every plugin."""

from __future__ import annotations

from hashlib import sha1
from typing import Any

import pytest

from hproxy.auth import Account
from hproxy.errors import ClientError
from hproxy.protocols.base import LoginOptions
from hproxy.protocols.model import (
    AccountFound,
    Done,
    Lookup,
    PacketArrived,
    Read,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.auth import CACHING_SHA2, CLEAR, ED25519, NATIVE, SHA256
from hproxy.protocols.mysql.compression import codec
from hproxy.protocols.mysql.constants import Capability, MariadbCapability
from hproxy.protocols.mysql.frontend import ClientLogin, ClientState
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
)
from hproxy.protocols.mysql.profile import profile, split
from tests.support.logins import (
    MARIADB,
    MYSQL,
    OURS,
    PASSWORD,
    PROXY_ID,
    SECRETS,
    account,
    greeting,
    options,
    response,
    rsa_key,
)
from tests.support.playbook import Playbook, Raises, Transitions

CLIENT = Side.CLIENT
walks = Transitions(ClientLogin.NEXT)
SSL = Capability.SSL
FAST = Send(CLIENT, b"\x01" + auth.FAST_AUTH_OK)
FULL = Send(CLIENT, b"\x01" + auth.FULL_AUTH_NEEDED)
KNOWN = auth.Credential(PASSWORD)
WRONG = auth.Credential(b"wrong horse")
UNDER_TLS = options(client_secure=True)


def greeted(given: LoginOptions | None = None, payload: bytes = MYSQL) -> Playbook:
    """As far as the client's response."""
    return Playbook(ClientLogin(given or options(), profile(payload))) << Send << Read(CLIENT)


def proof(plugin: bytes, known: auth.Credential, scramble: bytes, secure: bool = True) -> bytes:
    """A client's first answer under `plugin`."""
    answer = auth.PLUGINS[plugin].respond(known, scramble, secure)
    assert answer is not None
    return answer


def answered(
    found: Account | None,
    plugin: bytes = CACHING_SHA2,
    known: auth.Credential = KNOWN,
    given: LoginOptions | None = None,
    **fields: Any,
) -> Playbook:
    """The client has answered, and its account was looked up."""
    book = greeted(given)
    scramble = Greeting.parse(book.sent).scramble
    sent = response(plugin=plugin, auth_response=proof(plugin, known, scramble), **fields)
    book >> PacketArrived(CLIENT, sent.build()) << Lookup(b"ann")
    return book >> AccountFound(found)


def switched(book: Playbook, plugin: bytes, known: auth.Credential = KNOWN) -> Playbook:
    """We asked for `plugin`, and the client answers."""
    book << Send << Read(CLIENT)
    packet = AuthSwitchRequest.parse(book.sent)
    assert packet.plugin == plugin
    return book >> PacketArrived(CLIENT, proof(plugin, known, packet.scramble))


# -- greeting and response ----------------------------------------------------


@walks(ClientState.GREETING, ClientState.RESPONSE)
@pytest.mark.parametrize("payload", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
def test_the_greeting_shows_a_backend(payload: bytes) -> None:
    shown, theirs = Greeting.parse(greeted(payload=payload).sent), Greeting.parse(payload)
    assert shown.thread_id == PROXY_ID
    assert (shown.server_version, shown.charset) == (theirs.server_version, theirs.charset)
    assert (shown.status, shown.mariadb) == (theirs.status, theirs.mariadb)
    assert (shown.plugin, len(shown.scramble)) == (CACHING_SHA2, 20)
    assert shown.scramble != theirs.scramble
    assert not shown.capabilities & (SSL | Capability.COMPRESS | Capability.ZSTD_COMPRESSION)
    assert not shown.capabilities & Capability.MULTI_FACTOR_AUTHENTICATION


def test_the_greeting_can_be_told() -> None:
    given = options(client_tls="preferred", server_version="9.9", default_plugin=NATIVE.decode())
    shown = Greeting.parse(greeted(given).sent)
    assert (shown.server_version, shown.plugin) == (b"9.9", NATIVE)
    assert SSL in shown.capabilities


@pytest.mark.parametrize(
    ("offered", "asks", "level", "agreed"),
    [
        (("zlib", "zstd"), Capability.COMPRESS, 0, ("zlib", 5)),
        (("zlib", "zstd"), Capability.ZSTD_COMPRESSION, 0, ("zstd", 5)),
        (("zlib", "zstd"), Capability.ZSTD_COMPRESSION, 1, ("zstd", 1)),
        (("zlib", "zstd"), Capability.ZSTD_COMPRESSION, 22, ("zstd", 5)),
        (("zstd",), Capability.COMPRESS, 0, None),
        ((), Capability.COMPRESS | Capability.ZSTD_COMPRESSION, 3, None),
    ],
)
def test_a_client_chooses_its_compression(
    offered: tuple[str, ...], asks: Capability, level: int, agreed: tuple[str, int] | None
) -> None:
    both = Capability.COMPRESS | Capability.ZSTD_COMPRESSION
    given = options(client_compression=offered, compression_level=5)
    shown = Greeting.parse(greeted(given).sent).capabilities & both
    assert bool(shown & Capability.COMPRESS) is ("zlib" in offered)
    assert bool(shown & Capability.ZSTD_COMPRESSION) is ("zstd" in offered)
    book = answered(account(), given=given, capabilities=OURS | asks, zstd_level=level)
    book << FAST << Done
    assert book.result.compression == (None if agreed is None else codec(*agreed))
    assert not split(book.result.capabilities)[0] & both


def test_scrambles_differ() -> None:
    assert len({Greeting.parse(greeted().sent).scramble for _ in range(20)}) == 20


@walks(ClientState.RESPONSE, ClientState.LOOKUP)
def test_capabilities_nobody_offered_are_masked() -> None:
    few = OURS & ~Capability.CONNECT_ATTRS
    book = greeted(payload=greeting(capabilities=few))
    scramble = Greeting.parse(book.sent).scramble
    sent = response(
        OURS | Capability.DEPRECATE_EOF | Capability.ZSTD_COMPRESSION,
        auth_response=proof(CACHING_SHA2, KNOWN, scramble),
        database=b"shop",
        charset=8,
    )
    book >> PacketArrived(CLIENT, sent.build()) << Lookup(b"ann") >> AccountFound(account())
    book << FAST << Done
    result = book.result
    assert split(result.capabilities) == (few, MariadbCapability(0))
    assert (result.user, result.database, result.charset) == (b"ann", b"shop", 8)
    assert (result.scramble, result.plugin) == (scramble, CACHING_SHA2)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x85\xa2",
        response().build()[:40],
        response(OURS & ~Capability.SECURE_CONNECTION).build(),
        (OURS & ~Capability.PROTOCOL_41).to_bytes(4, "little") + bytes(40),
    ],
)
def test_a_broken_or_ancient_response(payload: bytes) -> None:
    greeted() >> PacketArrived(CLIENT, payload) << Raises(ClientError, "client.malformed")


# -- TLS ----------------------------------------------------------------------


@walks(ClientState.RESPONSE, ClientState.SECURING)
@walks(ClientState.SECURING, ClientState.RESPONSE)
def test_tls_first() -> None:
    sent = response(OURS | SSL)
    book = greeted(options(client_tls="required"))
    book >> PacketArrived(CLIENT, sent.ssl_request.build()) << StartTls(CLIENT)
    book >> Secured(CLIENT) << Read(CLIENT) >> PacketArrived(CLIENT, sent.build())
    book << Lookup(b"ann") >> AccountFound(account(SECRETS["empty"])) << Done
    assert not split(book.result.capabilities)[0] & SSL


def test_tls_twice_or_not_offered() -> None:
    request = PacketArrived(CLIENT, response(OURS | SSL).ssl_request.build())
    greeted() >> request << Raises(ClientError, "client.malformed")
    book = greeted(options(client_tls="preferred")) >> request << StartTls(CLIENT)
    book >> Secured(CLIENT) << Read(CLIENT) >> request << Raises(ClientError, "client.malformed")


@walks(ClientState.RESPONSE, ClientState.ENDED)
def test_no_tls_where_it_is_required() -> None:
    book = greeted(options(client_tls="required"))
    book >> PacketArrived(CLIENT, response().build()) << Refuse
    assert book.refused.full_code == "client.tls_required"


@walks(ClientState.LOOKUP, ClientState.ENDED)
def test_an_account_that_requires_tls() -> None:
    book = answered(account(require_tls=True)) << Refuse
    assert book.refused.full_code == "auth"
    answered(account(require_tls=True), given=UNDER_TLS) << FAST << Done


# -- plugins ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["clear", "native hash"])
def test_native(form: str) -> None:
    found = account(SECRETS[form])
    book = answered(found, NATIVE, given=options(default_plugin=NATIVE.decode())) << Done
    assert book.result.credential.native == KNOWN.native
    assert found.credential is book.result.credential
    assert book.result.account is found


def test_native_hash_teaches_what_opens_backends() -> None:
    found = account(SECRETS["native hash"])
    assert found.credential is None
    learned = (answered(found, NATIVE) << Done).result.credential
    assert (learned.password, learned.native) == (None, KNOWN.native)
    assert found.credential is learned


@walks(ClientState.LOOKUP, ClientState.SWITCHED)
@walks(ClientState.SWITCHED, ClientState.ENDED)
def test_the_client_is_switched() -> None:
    switched(answered(account(), SHA256), CACHING_SHA2) << FAST << Done


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519])
@pytest.mark.parametrize("offered", [NATIVE, CACHING_SHA2])
def test_an_account_with_a_plugin_of_its_own(plugin: bytes, offered: bytes) -> None:
    found = account(plugin=plugin.decode())
    book = answered(found, offered)
    if plugin != offered:
        switched(book, plugin)
    if plugin == CACHING_SHA2:
        book << FAST
    book << Done
    assert book.result.plugin == plugin
    assert len(book.result.scramble) == auth.PLUGINS[plugin].scramble_bytes


def test_a_plugin_of_its_own_that_does_not_exist_refuses() -> None:
    answered(account(plugin="kerberos")) << Refuse


@pytest.mark.parametrize("plugin", [SHA256, b"dialog", b"authentication_webauthn", b""])
def test_a_plugin_we_do_not_serve_is_switched(plugin: bytes) -> None:
    book = greeted()
    sent = response(plugin=plugin, auth_response=PASSWORD + b"\0")
    book >> PacketArrived(CLIENT, sent.build()) << Lookup(b"ann") >> AccountFound(account())
    switched(book, CACHING_SHA2) << FAST << Done


def test_clear_text_only_where_it_is_safe() -> None:
    switched(answered(account(), CLEAR), CACHING_SHA2) << FAST << Done
    book = answered(account(SECRETS["sha2 hash"]), CLEAR, given=UNDER_TLS) << Done
    assert book.result.credential.password == PASSWORD


def test_a_client_without_plugins_uses_native() -> None:
    old = OURS & ~Capability.PLUGIN_AUTH
    book = greeted()
    answer = proof(NATIVE, KNOWN, Greeting.parse(book.sent).scramble)
    sent = HandshakeResponse(old, b"ann", answer)
    book >> PacketArrived(CLIENT, sent.build()) << Lookup(b"ann") >> AccountFound(account())
    book << Done
    assert book.result.plugin == NATIVE


def test_a_client_without_plugins_cannot_switch() -> None:
    book = greeted()
    sent = HandshakeResponse(OURS & ~Capability.PLUGIN_AUTH, b"ann", b"n" * 20)
    book >> PacketArrived(CLIENT, sent.build()) << Lookup(b"ann")
    book >> AccountFound(account(SECRETS["sha2 hash"])) << Refuse


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519])
def test_an_empty_password(plugin: bytes) -> None:
    nothing = auth.Credential(b"")
    book = answered(account(b"", plugin=plugin.decode()), CACHING_SHA2, nothing)
    if plugin != CACHING_SHA2:
        switched(book, plugin, nothing)
    book << Done
    assert book.result.credential.password == b""


# -- sha2 in full -------------------------------------------------------------


@walks(ClientState.FULL, ClientState.ENDED)
def test_in_full_against_a_native_hash() -> None:
    book = answered(account(SECRETS["native hash"]), given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Done


@walks(ClientState.SEALED, ClientState.ENDED)
def test_under_our_key_against_a_native_hash() -> None:
    book = answered(account(SECRETS["native hash"])) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, auth.REQUEST_PUBLIC_KEY) << Send << Read(CLIENT)
    pem = AuthMoreData.parse(book.sent).data
    sealed = auth.encrypt_password(PASSWORD, book.machine.scramble, pem)
    book >> PacketArrived(CLIENT, sealed) << Done


@walks(ClientState.LOOKUP, ClientState.CHECKING)
def test_a_clear_password_against_a_slow_hash() -> None:
    found = account(SECRETS["sha2 hash"], plugin=CLEAR.decode())
    answered(found, CLEAR, given=UNDER_TLS) << Done
    answered(found, CLEAR, WRONG, UNDER_TLS) << Refuse


@walks(ClientState.SWITCHED, ClientState.CHECKING)
def test_a_clear_password_after_a_switch() -> None:
    found = account(SECRETS["sha2 hash"], plugin=CLEAR.decode())
    switched(answered(found, given=UNDER_TLS), CLEAR) << Done


@walks(ClientState.LOOKUP, ClientState.FULL)
@pytest.mark.parametrize("form", ["sha2 hash", "native hash"])
def test_in_full_under_tls_then_fast(form: str) -> None:
    found = account(SECRETS[form])
    book = answered(found, given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Done
    assert book.result.credential.password == PASSWORD
    book = answered(found) << FAST << Done
    assert book.result.credential.password == PASSWORD  # what is known is not forgotten


@walks(ClientState.FULL, ClientState.SEALED)
@walks(ClientState.SEALED, ClientState.CHECKING)
@walks(ClientState.CHECKING, ClientState.ENDED)
def test_in_full_under_our_key() -> None:
    book = answered(account(SECRETS["sha2 hash"])) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, auth.REQUEST_PUBLIC_KEY) << Send << Read(CLIENT)
    pem = AuthMoreData.parse(book.sent).data
    sealed = auth.encrypt_password(PASSWORD, book.machine.scramble, pem)
    book >> PacketArrived(CLIENT, sealed) << Done
    assert book.result.credential.password == PASSWORD


def test_a_client_that_knows_our_key() -> None:
    book = answered(account(SECRETS["sha2 hash"])) << FULL << Read(CLIENT)
    pem = auth.public_pem(rsa_key())
    sealed = auth.encrypt_password(PASSWORD, book.machine.scramble, pem)
    book >> PacketArrived(CLIENT, sealed) << Done


@walks(ClientState.SWITCHED, ClientState.FULL)
@walks(ClientState.FULL, ClientState.CHECKING)
def test_in_full_after_a_switch() -> None:
    book = answered(account(SECRETS["sha2 hash"]), NATIVE, given=UNDER_TLS)
    switched(book, CACHING_SHA2) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, PASSWORD) << Done  # some leave the NUL out


@pytest.mark.parametrize("given", [UNDER_TLS, options()])
def test_in_full_but_wrong(given: LoginOptions) -> None:
    book = answered(account(SECRETS["sha2 hash"]), known=WRONG, given=given) << FULL << Read(CLIENT)
    for_us = auth.public_pem(rsa_key())
    sealed = auth.encrypt_password(b"wrong horse", book.machine.scramble, for_us)
    answer = b"wrong horse\0" if given is UNDER_TLS else sealed
    book >> PacketArrived(CLIENT, answer) << Refuse
    assert book.refused.full_code == "auth"


@pytest.mark.parametrize("sealed", [b"x", b"x" * 256, b"x" * 400])
def test_what_our_key_does_not_open(sealed: bytes) -> None:
    book = answered(account(SECRETS["sha2 hash"])) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, auth.REQUEST_PUBLIC_KEY) << Send << Read(CLIENT)
    book >> PacketArrived(CLIENT, sealed) << Refuse


# -- a second password --------------------------------------------------------

SECOND = auth.Credential(b"as good as the first")
HASHED_SECOND = auth.Secret(
    auth.Form.NATIVE_HASH, sha1(sha1(SECOND.password or b"").digest()).digest()
)


@pytest.mark.parametrize("plugin", [CACHING_SHA2, NATIVE])
def test_either_password(plugin: bytes) -> None:
    found = account(additional=auth.Secret.parse(SECOND.password or b""))
    for known in (KNOWN, SECOND, KNOWN):
        book = answered(found, plugin, known)
        book = book << FAST << Done if plugin == CACHING_SHA2 else book << Done
        # Backends are opened with the first, and the fast lane knows nothing of the second.
        assert book.result.credential == found.credential == KNOWN
        assert (book.machine.shortcut is None) == (known is SECOND)
    answered(found, plugin, WRONG) << Refuse
    assert found.credential == KNOWN


@walks(ClientState.CHECKING, ClientState.CHECKING)
def test_either_slow_password() -> None:
    found = account(
        SECRETS["sha2 hash"], additional=auth.Secret.parse(SECRETS["sha2 hash"]).decoy()
    )
    book = answered(found, known=WRONG, given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"wrong horse\0") << Refuse


def test_a_second_password_that_is_a_hash() -> None:
    found = account(SECRETS["sha2 hash"], additional=HASHED_SECOND)
    book = answered(found, known=SECOND, given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, (SECOND.password or b"") + b"\0") << Done
    assert book.result.credential == SECOND  # nothing better is known
    book = answered(found, given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Done
    assert found.credential == KNOWN


def test_backends_with_a_password_of_their_own() -> None:
    """Neither learned from logins, nor good for one."""
    own = auth.Credential(b"for backends only")
    found = account(SECRETS["sha2 hash"], separate=True)
    found.credential = own
    book = answered(found, known=own, given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"for backends only\0") << Refuse
    book = answered(found, given=UNDER_TLS) << FULL << Read(CLIENT)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Done
    assert book.result.credential == own
    answered(found) << FAST << Done  # the next is fast
    assert found.credential == own


def test_every_transition_has_a_test() -> None:
    # The change of user starts in the middle: test_frontend_change.py.
    assert walks.untested == {(ClientState.GREETING, ClientState.LOOKUP)}
    assert walks.impossible == set()
