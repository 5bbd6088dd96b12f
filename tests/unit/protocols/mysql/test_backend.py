# SPDX-License-Identifier: Apache-2.0
"""Logins of ours to backends: a conversation for every state change and every plugin."""

from __future__ import annotations

from hashlib import sha1, sha256
from typing import Any

import pytest

from hproxy.errors import BackendProtocolError
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import (
    Compress,
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
from hproxy.protocols.mysql.auth import CACHING_SHA2, CLEAR, ED25519, NATIVE, PARSEC, SHA256
from hproxy.protocols.mysql.backend import BackendChange, BackendLogin, BackendState
from hproxy.protocols.mysql.compression import codec
from hproxy.protocols.mysql.constants import Capability, MariadbCapability
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    ChangeUser,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from hproxy.protocols.mysql.profile import split, wide
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.protocols.mysql.scramble import ed25519_public_key, ed25519_verify
from tests.support.logins import (
    DENIED,
    MARIADB,
    MYSQL,
    OK,
    OURS,
    PASSWORD,
    greeting,
    options,
    rsa_key,
)
from tests.support.playbook import Playbook, Raises, Transitions

BACKEND = Side.BACKEND
walks = Transitions(BackendLogin.NEXT)
SSL = Capability.SSL
KNOWN = auth.Credential(PASSWORD)
ONLY_SHA1 = auth.Credential(sha1=sha1(PASSWORD).digest())
ONLY_SHA256 = auth.Credential(sha256=sha256(PASSWORD).digest())
CLIENTS = OURS | Capability.DEPRECATE_EOF | Capability.MULTI_STATEMENTS
FULL = b"\x01" + auth.FULL_AUTH_NEEDED
FAST = b"\x01" + auth.FAST_AUTH_OK
PEM = AuthMoreData(auth.public_pem(rsa_key())).build()
SCRAMBLE = b"s" * 20


def wanted(credential: auth.Credential = KNOWN, **fields: Any) -> LoginResult:
    """What the client logged in as."""
    fields = dict[str, Any](capabilities=int(CLIENTS), charset=45, database=b"shop") | fields
    return LoginResult(user=b"ann", credential=credential, **fields)


def greeted(
    who: LoginResult | None = None, given: LoginOptions | None = None, payload: bytes = MYSQL
) -> Playbook:
    """The backend has greeted us."""
    book = Playbook(BackendLogin(given or options(), who or wanted())) << Read(BACKEND)
    return book >> PacketArrived(BACKEND, payload)


def switched(
    plugin: bytes,
    credential: auth.Credential = KNOWN,
    given: LoginOptions | None = None,
    data: bytes = SCRAMBLE + b"\0",
) -> Playbook:
    """The backend wants `plugin`."""
    book = greeted(wanted(credential), given) << Send << Read(BACKEND)
    return book >> PacketArrived(BACKEND, AuthSwitchRequest(plugin, data).build())


SECURE = options(backend_secure=True)


# -- greeting -----------------------------------------------------------------


@walks(BackendState.GREETING, BackendState.VERDICT)
@pytest.mark.parametrize("payload", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
def test_the_response_is_what_the_client_agreed_on(payload: bytes) -> None:
    theirs = Greeting.parse(payload)
    book = greeted(wanted(attributes=((b"a", b"b"),)), payload=payload) << Send << Read(BACKEND)
    went = HandshakeResponse.parse(book.sent)
    assert went.capabilities == CLIENTS & theirs.capabilities
    assert (went.user, went.database, went.charset) == (b"ann", b"shop", 45)
    ours = ((b"_client_ip", b"192.0.2.7"), (b"_proxy_name", b"hproxy"))
    assert went.attributes == ((b"a", b"b"), *ours)
    assert went.plugin == theirs.plugin
    assert went.auth_response == auth.PLUGINS[theirs.plugin].respond(KNOWN, theirs.scramble, False)


def test_no_database_no_flag() -> None:
    book = greeted(wanted(database=b"")) << Send
    assert Capability.CONNECT_WITH_DB not in HandshakeResponse.parse(book.sent).capabilities


def test_mariadbs_own_capabilities() -> None:
    bulk = MariadbCapability.STMT_BULK_OPERATIONS
    asked = wide(CLIENTS & ~Capability.LONG_PASSWORD, bulk | MariadbCapability.BULK_UNIT_RESULTS)
    book = greeted(wanted(capabilities=asked), payload=MARIADB) << Send << Read(BACKEND)
    assert HandshakeResponse.parse(book.sent).mariadb is bulk
    book >> PacketArrived(BACKEND, OK) << Done
    assert split(book.result.capabilities)[1] is bulk


@pytest.mark.parametrize(
    ("payload", "asked", "agreed"),
    [
        (MYSQL, ("zstd", "zlib"), "zstd"),
        (MYSQL, ("zlib", "zstd"), "zlib"),
        (MARIADB, ("zstd", "zlib"), "zlib"),
        (MARIADB, ("zstd",), None),
        (MYSQL, (), None),
    ],
)
@pytest.mark.parametrize("tls", ["off", "required"])
def test_compression_is_asked_of_the_backend(
    payload: bytes, asked: tuple[str, ...], agreed: str | None, tls: str
) -> None:
    flags = Capability.COMPRESS | Capability.ZSTD_COMPRESSION
    flag = {None: 0, "zlib": Capability.COMPRESS, "zstd": Capability.ZSTD_COMPRESSION}[agreed]
    # What the client agreed on is no matter of the backend's.
    who = wanted(capabilities=int(CLIENTS | flags))
    given = options(backend_compression=asked, compression_level=7, backend_tls=tls)
    book = greeted(who, given, payload) << Send
    if tls == "required":
        assert SslRequest.parse(book.sent).capabilities & flags == flag
        book << StartTls(BACKEND) >> Secured(BACKEND) << Send
    book << Read(BACKEND)
    went = HandshakeResponse.parse(book.sent)
    assert went.capabilities & flags == flag
    assert went.zstd_level == (7 if agreed == "zstd" else 0)
    book >> PacketArrived(BACKEND, OK)
    if agreed is not None:
        book << Compress(BACKEND, codec(agreed, 7))
    book << Done
    assert not split(book.result.capabilities)[0] & flags


@walks(BackendState.GREETING, BackendState.ENDED)
@pytest.mark.parametrize(
    "decisive",
    [
        Capability.DEPRECATE_EOF,
        Capability.SESSION_TRACK,
        Capability.QUERY_ATTRIBUTES,
        Capability.OPTIONAL_RESULTSET_METADATA,
        Capability.MULTI_RESULTS,
        Capability.PS_MULTI_RESULTS,
    ],
)
def test_a_backend_that_lacks_what_the_client_was_promised(decisive: Capability) -> None:
    lacking = greeting(capabilities=Greeting.parse(MYSQL).capabilities & ~decisive)
    book = greeted(wanted(capabilities=int(OURS | decisive)), payload=lacking) << Refuse
    assert book.refused.full_code == "pool.connect.capabilities"
    greeted(wanted(capabilities=int(OURS)), payload=lacking) << Send << Read(BACKEND)


@pytest.mark.parametrize(
    "needed", [Capability.PROTOCOL_41, Capability.SECURE_CONNECTION, Capability.PLUGIN_AUTH]
)
def test_a_backend_from_another_age(needed: Capability) -> None:
    book = greeted(payload=greeting(capabilities=Greeting.parse(MYSQL).capabilities & ~needed))
    book << Refuse
    assert book.refused.full_code == "pool.connect.capabilities"


def test_a_backend_that_refuses_at_once() -> None:
    book = greeted(payload=ErrPacket(1040, b"Too many connections", None).build()) << Refuse
    assert book.refused.full_code == "pool.connect.refused"
    assert book.refused.facts == {"number": 1040}


def test_nonsense_instead_of_a_greeting() -> None:
    greeted(payload=MYSQL[:20]) << Raises(BackendProtocolError, "backend.protocol")


# -- TLS ----------------------------------------------------------------------


@walks(BackendState.GREETING, BackendState.SECURING)
@walks(BackendState.SECURING, BackendState.VERDICT)
@pytest.mark.parametrize("mode", ["preferred", "required", "verify_ca", "verify_identity"])
def test_tls_first(mode: str) -> None:
    book = greeted(given=options(backend_tls=mode)) << Send << StartTls(BACKEND)
    request = book.sent
    book >> Secured(BACKEND) << Send << Read(BACKEND)
    assert len(request) == 32
    assert book.sent.startswith(request)
    book >> PacketArrived(BACKEND, OK) << Done


def test_a_backend_without_tls() -> None:
    without = greeting(capabilities=Greeting.parse(MYSQL).capabilities & ~SSL)
    greeted(given=options(backend_tls="preferred"), payload=without) << Send << Read(BACKEND)
    book = greeted(given=options(backend_tls="required"), payload=without) << Refuse
    assert book.refused.full_code == "pool.connect.tls"


# -- the verdict --------------------------------------------------------------


@walks(BackendState.VERDICT, BackendState.ENDED)
def test_yes() -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, OK) << Done
    theirs, result = Greeting.parse(MYSQL), book.result
    assert (result.backend_id, result.scramble) == (theirs.thread_id, theirs.scramble)
    assert (result.plugin, result.reply, result.user) == (theirs.plugin, OK, b"ann")
    assert split(result.capabilities)[0] == CLIENTS
    assert result.credential is KNOWN


def test_no() -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, DENIED) << Refuse
    assert book.refused.full_code == "pool.connect.refused"
    assert book.refused.facts == {"number": 1045}


@walks(BackendState.VERDICT, BackendState.VERDICT)
def test_fast_path_of_sha2() -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, FAST) << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Done


@pytest.mark.parametrize("packet", [b"\x17", b"\x02factor", b"\x01\x09", b"\x01"])
def test_a_verdict_that_makes_no_sense(packet: bytes) -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, packet)
    book << Raises(BackendProtocolError, "backend.protocol")


def test_full_path_under_tls() -> None:
    book = greeted(given=SECURE) << Send << Read(BACKEND) >> PacketArrived(BACKEND, FULL)
    book << Send(BACKEND, PASSWORD + b"\0") << Read(BACKEND) >> PacketArrived(BACKEND, OK) << Done


@walks(BackendState.VERDICT, BackendState.KEY)
@walks(BackendState.KEY, BackendState.VERDICT)
def test_full_path_without_tls() -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, FULL)
    book << Send(BACKEND, auth.REQUEST_PUBLIC_KEY) << Read(BACKEND) >> PacketArrived(BACKEND, PEM)
    book << Send << Read(BACKEND)
    scramble = Greeting.parse(MYSQL).scramble
    assert auth.decrypt_password(rsa_key(), book.sent, scramble) == PASSWORD
    assert not [payload for payload in book.everything_sent if PASSWORD in payload]


@walks(BackendState.KEY, BackendState.ENDED)
def test_no_key_to_be_had() -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, FULL) << Send
    book << Read(BACKEND) >> PacketArrived(BACKEND, DENIED) << Refuse


@pytest.mark.parametrize("packet", [b"\x01no key", b"\x01", OK])
def test_a_key_that_is_none(packet: bytes) -> None:
    book = greeted() << Send << Read(BACKEND) >> PacketArrived(BACKEND, FULL) << Send
    book << Read(BACKEND) >> PacketArrived(BACKEND, packet)
    book << Raises(BackendProtocolError, "backend.protocol")


def test_a_password_too_long_for_the_key() -> None:
    book = greeted(wanted(auth.Credential(b"x" * 300))) << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, FULL) << Send << Read(BACKEND) >> PacketArrived(BACKEND, PEM)
    book << Refuse
    assert book.refused.full_code == "auth.rsa"


# -- switches -----------------------------------------------------------------


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
def test_switch_to_a_proof(plugin: bytes) -> None:
    book = switched(plugin) << Send << Read(BACKEND)
    assert book.sent == auth.PLUGINS[plugin].respond(KNOWN, SCRAMBLE, False)
    book >> PacketArrived(BACKEND, OK) << Done
    assert (book.result.plugin, book.result.scramble) == (plugin, SCRAMBLE)


def test_switch_to_ed25519() -> None:
    book = switched(ED25519, data=b"n" * 32) << Send << Read(BACKEND)
    assert ed25519_verify(ed25519_public_key(PASSWORD), b"n" * 32, book.sent)


def test_switch_to_parsec() -> None:
    book = switched(PARSEC, data=b"n" * 32) << Send(BACKEND, b"") << Read(BACKEND)
    book >> PacketArrived(BACKEND, b"\x01P\x00" + b"s" * 18) << Send << Read(BACKEND)
    assert len(book.sent) == 32 + 64
    book >> PacketArrived(BACKEND, OK) << Done
    book = switched(PARSEC, data=b"n" * 32) << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, b"\x01P") << Raises(BackendProtocolError, "backend.protocol")


def test_switch_to_sha256() -> None:
    switched(SHA256, given=SECURE) << Send(BACKEND, PASSWORD + b"\0") << Read(BACKEND)
    book = switched(SHA256) << Send(BACKEND, auth.SHA256_REQUEST_PUBLIC_KEY) << Read(BACKEND)
    book >> PacketArrived(BACKEND, PEM) << Send << Read(BACKEND)
    assert auth.decrypt_password(rsa_key(), book.sent, SCRAMBLE) == PASSWORD


def test_a_switch_without_a_scramble() -> None:
    """Nothing to mix the password with: the backend's mistake, and no division by zero."""
    book = switched(SHA256, data=b"") << Send << Read(BACKEND) >> PacketArrived(BACKEND, PEM)
    book << Raises(BackendProtocolError, "backend.protocol")


def test_clear_text_only_where_it_is_safe() -> None:
    switched(CLEAR, given=SECURE) << Send(BACKEND, PASSWORD + b"\0") << Read(BACKEND)
    book = switched(CLEAR) << Refuse
    assert book.refused.full_code == "auth.backend"


@pytest.mark.parametrize("plugin", [b"dialog", b"kerberos", b"mysql_old_password"])
def test_a_plugin_we_do_not_know(plugin: bytes) -> None:
    book = switched(plugin) << Refuse
    assert book.refused.facts["plugin"] == plugin.decode()


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519])
def test_an_empty_password(plugin: bytes) -> None:
    size = auth.PLUGINS[plugin].scramble_bytes
    book = switched(plugin, auth.Credential(b""), data=b"n" * size) << Send << Read(BACKEND)
    assert {NATIVE: b"", CACHING_SHA2: b"\0"}.get(plugin, book.sent) == book.sent


# -- what was learned from a hash ---------------------------------------------


def test_sha1_opens_native_and_nothing_else() -> None:
    switched(NATIVE, ONLY_SHA1) << Send << Read(BACKEND)
    for plugin in (CACHING_SHA2, SHA256, ED25519, PARSEC):
        switched(plugin, ONLY_SHA1) << Refuse
    book = greeted(wanted(ONLY_SHA1)) << Send << Read(BACKEND)  # its greeting says sha2
    went = HandshakeResponse.parse(book.sent)
    scramble = Greeting.parse(MYSQL).scramble
    assert went.plugin == NATIVE
    assert went.auth_response == auth.PLUGINS[NATIVE].respond(KNOWN, scramble, False)


def test_sha256_answers_a_server_whose_greeting_says_native() -> None:
    book = greeted(wanted(ONLY_SHA256), payload=MARIADB) << Send << Read(BACKEND)
    went = HandshakeResponse.parse(book.sent)
    assert went.plugin == CACHING_SHA2
    assert len(went.auth_response) == 32


@pytest.mark.parametrize("plugin", [b"", b"dialog", CLEAR])
def test_a_greeting_that_names_what_we_cannot_answer(plugin: bytes) -> None:
    book = greeted(payload=greeting(plugin=plugin)) << Send << Read(BACKEND)
    went = HandshakeResponse.parse(book.sent)
    assert (went.plugin, len(went.auth_response)) == (NATIVE, 20)


def test_sha256_opens_the_fast_path_only() -> None:
    book = greeted(wanted(ONLY_SHA256)) << Send << Read(BACKEND)
    scramble = Greeting.parse(MYSQL).scramble
    proof = auth.PLUGINS[CACHING_SHA2].respond(KNOWN, scramble, False)
    assert HandshakeResponse.parse(book.sent).auth_response == proof
    book >> PacketArrived(BACKEND, FULL) << Refuse
    assert book.refused.full_code == "auth.backend"
    assert "clear text" in str(book.refused)


# -- COM_CHANGE_USER ----------------------------------------------------------


def changing(credential: auth.Credential = KNOWN, plugin: bytes = CACHING_SHA2) -> Playbook:
    before = LoginResult(
        user=b"bob", capabilities=int(CLIENTS), backend_id=17, scramble=SCRAMBLE, plugin=plugin
    )
    return Playbook(BackendChange(options(), before, wanted(credential, capabilities=0)))


def test_change_of_user() -> None:
    book = changing() << Send << Read(BACKEND)
    went = ChangeUser.parse(book.sent, CLIENTS)
    assert (went.user, went.database, went.charset) == (b"ann", b"shop", 45)
    assert went.plugin == CACHING_SHA2
    assert went.auth_response == auth.PLUGINS[CACHING_SHA2].respond(KNOWN, SCRAMBLE, False)
    book >> PacketArrived(BACKEND, OK) << Done
    assert (book.result.backend_id, book.result.user) == (17, b"ann")
    assert split(book.result.capabilities)[0] == CLIENTS


def test_change_of_user_with_a_switch() -> None:
    book = changing(ONLY_SHA1) << Send << Read(BACKEND)
    assert ChangeUser.parse(book.sent, CLIENTS).plugin == NATIVE
    book >> PacketArrived(BACKEND, AuthSwitchRequest(NATIVE, b"t" * 20 + b"\0").build())
    book << Send << Read(BACKEND) >> PacketArrived(BACKEND, OK) << Done
    assert book.result.scramble == b"t" * 20


def test_every_transition_has_a_test() -> None:
    assert walks.untested == set()
    assert walks.impossible == set()
