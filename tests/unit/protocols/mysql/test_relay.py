# SPDX-License-Identifier: Apache-2.0
"""Relayed logins: a conversation for every state change, TLS on each side, every plugin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hproxy.errors import BackendProtocolError, ClientError
from hproxy.protocols.base import LoginOptions
from hproxy.protocols.model import (
    Compress,
    Done,
    PacketArrived,
    Read,
    ReadAny,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.compression import codec
from hproxy.protocols.mysql.constants import Capability, MariadbCapability
from hproxy.protocols.mysql.handshake import (
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.relay import RelayLogin, RelayState
from hproxy.protocols.mysql.replies import ErrPacket
from tests.support.logins import (
    DENIED,
    MARIADB,
    MYSQL,
    OK,
    OURS,
    PROXY_ID,
    greeting,
    options,
    response,
)
from tests.support.playbook import Playbook, Raises, Transitions

CLIENT, BACKEND = Side.CLIENT, Side.BACKEND
walks = Transitions(RelayLogin.NEXT)
SSL = Capability.SSL


def greeted(given: LoginOptions | None = None, payload: bytes = MYSQL) -> Playbook:
    """As far as the client's response."""
    book = Playbook(RelayLogin(given or options())) << Read(BACKEND)
    return book >> PacketArrived(BACKEND, payload) << Send << Read(CLIENT)


def answered(payload: bytes = MYSQL, **fields: object) -> Playbook:
    """As far as the backend's verdict, without TLS."""
    sent = response(**fields)  # type: ignore[arg-type]
    return greeted(payload=payload) >> PacketArrived(CLIENT, sent.build()) << Send << Read(BACKEND)


def switched(plugin: bytes, data: bytes = b"s" * 20 + b"\0") -> Playbook:
    """As far as what follows a switch to `plugin`."""
    packet = AuthSwitchRequest(plugin, data).build()
    return answered() >> PacketArrived(BACKEND, packet) << Send(CLIENT, packet)


# -- greeting -----------------------------------------------------------------


@walks(RelayState.GREETING, RelayState.RESPONSE)
@pytest.mark.parametrize("payload", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
def test_the_greeting_is_the_backends_with_our_id(payload: bytes) -> None:
    shown = Greeting.parse(greeted(payload=payload).sent)
    theirs = Greeting.parse(payload)
    assert shown.thread_id == PROXY_ID
    stripped = SSL | Capability.COMPRESS | Capability.ZSTD_COMPRESSION
    assert shown.capabilities == theirs.capabilities & ~stripped
    kept = replace(shown, thread_id=theirs.thread_id, capabilities=theirs.capabilities)
    assert kept == theirs


@pytest.mark.parametrize("tls", ["preferred", "required"])
def test_tls_to_clients_is_ours_to_offer(tls: str) -> None:
    without = greeting(capabilities=Greeting.parse(MYSQL).capabilities & ~SSL)
    assert SSL in Greeting.parse(greeted(options(client_tls=tls), without).sent).capabilities


@walks(RelayState.GREETING, RelayState.ENDED)
def test_a_backend_that_refuses_at_once_is_quoted() -> None:
    packet = ErrPacket(1040, b"Too many connections", None).build()
    book = Playbook(RelayLogin(options())) << Read(BACKEND) >> PacketArrived(BACKEND, packet)
    book << Refuse
    assert book.refused.full_code == "pool.connect.refused"
    assert book.refused.facts == {"number": 1040}


def test_nonsense_instead_of_a_greeting() -> None:
    book = Playbook(RelayLogin(options())) << Read(BACKEND)
    book >> PacketArrived(BACKEND, MYSQL[:20]) << Raises(BackendProtocolError, "backend.protocol")


# -- the client's response ----------------------------------------------------


@walks(RelayState.RESPONSE, RelayState.VERDICT)
def test_the_response_goes_on_with_our_attributes() -> None:
    sent = response(
        OURS | Capability.MULTI_STATEMENTS,
        auth_response=b"a" * 32,
        database=b"shop",
        attributes=((b"program", b"till"), (b"_client_ip", b"203.0.113.9")),
    )
    book = greeted() >> PacketArrived(CLIENT, sent.build()) << Send << Read(BACKEND)
    went = HandshakeResponse.parse(book.sent)
    ours = ((b"program", b"till"), (b"_client_ip", b"192.0.2.7"), (b"_proxy_name", b"hproxy"))
    assert went == replace(sent, attributes=ours)


def test_attributes_can_be_left_alone() -> None:
    sent = response(OURS & ~Capability.CONNECT_ATTRS, auth_response=b"a" * 32)
    book = greeted(options(attributes=False)) >> PacketArrived(CLIENT, sent.build()) << Send
    assert book.sent == sent.build()
    book = greeted() >> PacketArrived(CLIENT, sent.build()) << Send
    assert dict(HandshakeResponse.parse(book.sent).attributes)[b"_client_ip"] == b"192.0.2.7"


def test_capabilities_nobody_offered_are_masked() -> None:
    few = OURS & ~Capability.CONNECT_ATTRS
    book = greeted(payload=greeting(capabilities=few))
    sent = response(OURS | Capability.COMPRESS | Capability.DEPRECATE_EOF)
    book >> PacketArrived(CLIENT, sent.build()) << Send << Read(BACKEND)
    assert HandshakeResponse.parse(book.sent).capabilities == few
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
    assert split(book.result.capabilities)[0] == few


ZLIB, ZSTD = Capability.COMPRESS, Capability.ZSTD_COMPRESSION
NOTHING = Capability(0)


@pytest.mark.parametrize(
    ("offered", "asks", "client"),
    [
        ((), ZLIB | ZSTD, None),
        (("zlib",), ZLIB | ZSTD, ("zlib", 3)),
        (("zstd", "zlib"), ZLIB | ZSTD, ("zlib", 3)),
        (("zlib", "zstd"), ZSTD, ("zstd", 2)),
        (("zlib",), ZSTD, None),
        (("zlib", "zstd"), NOTHING, None),
    ],
)
@pytest.mark.parametrize(
    ("wanted", "has", "backend"),
    [
        ((), ZLIB | ZSTD, None),
        (("zstd", "zlib"), ZLIB | ZSTD, ("zstd", 3)),
        (("zlib", "zstd"), ZLIB | ZSTD, ("zlib", 3)),
        (("zstd", "zlib"), ZLIB, ("zlib", 3)),
        (("zstd", "zlib"), NOTHING, None),
    ],
)
def test_each_side_agrees_on_its_own_compression(
    offered: tuple[str, ...],
    asks: Capability,
    client: tuple[str, int] | None,
    wanted: tuple[str, ...],
    has: Capability,
    backend: tuple[str, int] | None,
) -> None:
    given = options(client_compression=offered, backend_compression=wanted)
    book = greeted(given, greeting(capabilities=OURS | has))
    shown = Greeting.parse(book.sent).capabilities & (ZLIB | ZSTD)
    assert shown == (ZLIB if "zlib" in offered else NOTHING) | (
        ZSTD if "zstd" in offered else NOTHING
    )
    sent = response(OURS | asks, zstd_level=2)
    book >> PacketArrived(CLIENT, sent.build()) << Send << Read(BACKEND)
    went = HandshakeResponse.parse(book.sent)
    flags = {None: NOTHING, "zlib": ZLIB, "zstd": ZSTD}[backend and backend[0]]
    assert went.capabilities & (ZLIB | ZSTD) == flags
    assert went.zstd_level == (3 if flags == ZSTD else 0)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK)
    if client is not None:
        book << Compress(CLIENT, codec(*client))
    if backend is not None:
        book << Compress(BACKEND, codec(*backend))
    book << Done
    assert split(book.result.capabilities)[0] == OURS


def test_compression_is_asked_for_under_tls_too() -> None:
    given = options(backend_tls="required", backend_compression=("zlib",))
    book = greeted(given) >> PacketArrived(CLIENT, response().build()) << Send << StartTls(BACKEND)
    assert ZLIB in SslRequest.parse(book.sent).capabilities
    book >> Secured(BACKEND) << Send << Read(BACKEND)
    assert ZLIB in HandshakeResponse.parse(book.sent).capabilities
    book >> PacketArrived(BACKEND, OK) << Send << Compress(BACKEND, codec("zlib", 3)) << Done


def test_mariadbs_own_capabilities_are_agreed_on_too() -> None:
    theirs = Greeting.parse(MARIADB).mariadb
    assert theirs & MariadbCapability.STMT_BULK_OPERATIONS
    wanted = MariadbCapability.STMT_BULK_OPERATIONS | MariadbCapability.BULK_UNIT_RESULTS
    assert not theirs & MariadbCapability.BULK_UNIT_RESULTS
    book = answered(MARIADB, capabilities=OURS & ~Capability.LONG_PASSWORD, mariadb=wanted)
    went = HandshakeResponse.parse(book.sent)
    assert went.mariadb is MariadbCapability.STMT_BULK_OPERATIONS
    book >> PacketArrived(BACKEND, OK) << Send << Done
    assert split(book.result.capabilities)[1] is MariadbCapability.STMT_BULK_OPERATIONS


@pytest.mark.parametrize("payload", [b"\x0d\x8a", b"", response().build()[:40]])
def test_a_broken_response_is_the_clients_mistake(payload: bytes) -> None:
    greeted() >> PacketArrived(CLIENT, payload) << Raises(ClientError, "client.malformed")


def test_an_answer_too_long_for_an_old_backend_is_the_clients_mistake() -> None:
    """It used a length it was not offered; the backend has only one byte for it."""
    old = OURS & ~Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    book = greeted(payload=greeting(capabilities=old))
    sent = response(auth_response=b"x" * 300)
    book >> PacketArrived(CLIENT, sent.build()) << Raises(ClientError, "client.malformed")


# -- TLS ----------------------------------------------------------------------


@walks(RelayState.RESPONSE, RelayState.SECURING_CLIENT)
@walks(RelayState.SECURING_CLIENT, RelayState.RESPONSE)
def test_the_client_asks_for_tls_first() -> None:
    sent = response(OURS | SSL, auth_response=b"a" * 32)
    book = greeted(options(client_tls="required"))
    book >> PacketArrived(CLIENT, sent.ssl_request.build()) << StartTls(CLIENT)
    book >> Secured(CLIENT) << Read(CLIENT)
    book >> PacketArrived(CLIENT, sent.build()) << Send << Read(BACKEND)
    assert SSL not in HandshakeResponse.parse(book.sent).capabilities


def test_tls_twice_or_not_offered() -> None:
    request = response(OURS | SSL).ssl_request.build()
    greeted() >> PacketArrived(CLIENT, request) << Raises(ClientError, "client.malformed")
    book = greeted(options(client_tls="preferred"))
    book >> PacketArrived(CLIENT, request) << StartTls(CLIENT) >> Secured(CLIENT) << Read(CLIENT)
    book >> PacketArrived(CLIENT, request) << Raises(ClientError, "client.malformed")


@walks(RelayState.RESPONSE, RelayState.ENDED)
def test_a_client_without_tls_is_refused_where_it_is_required() -> None:
    book = greeted(options(client_tls="required"))
    book >> PacketArrived(CLIENT, response().build()) << Refuse
    assert book.refused.full_code == "client.tls_required"
    assert book.everything_sent[1:] == []  # the backend never heard of it


def test_a_unix_socket_is_as_good_as_tls() -> None:
    book = greeted(options(client_tls="required", client_secure=True))
    book >> PacketArrived(CLIENT, response().build()) << Send << Read(BACKEND)


@walks(RelayState.RESPONSE, RelayState.SECURING_BACKEND)
@walks(RelayState.SECURING_BACKEND, RelayState.VERDICT)
@pytest.mark.parametrize("mode", ["preferred", "required", "verify_ca", "verify_identity"])
def test_the_backend_is_asked_for_tls_first(mode: str) -> None:
    sent = response(auth_response=b"a" * 32)
    book = greeted(options(backend_tls=mode)) >> PacketArrived(CLIENT, sent.build())
    book << Send << StartTls(BACKEND)
    request = book.sent
    book >> Secured(BACKEND) << Send << Read(BACKEND)
    assert len(request) == 32
    assert book.sent.startswith(request)
    assert SSL in HandshakeResponse.parse(book.sent).capabilities


def test_a_backend_without_tls() -> None:
    without = greeting(capabilities=Greeting.parse(MYSQL).capabilities & ~SSL)
    sent = PacketArrived(CLIENT, response().build())
    greeted(options(backend_tls="preferred"), without) >> sent << Send << Read(BACKEND)
    book = greeted(options(backend_tls="required"), without) >> sent << Refuse
    assert book.refused.full_code == "pool.connect.tls"


# -- the verdict --------------------------------------------------------------


@walks(RelayState.VERDICT, RelayState.ENDED)
@pytest.mark.parametrize("payload", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
def test_yes(payload: bytes) -> None:
    sent = response(database=b"shop", charset=8, plugin=auth.NATIVE, attributes=((b"a", b"b"),))
    book = greeted(payload=payload) >> PacketArrived(CLIENT, sent.build()) << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
    theirs, result = Greeting.parse(payload), book.result
    assert (result.user, result.database, result.charset) == (b"ann", b"shop", 8)
    assert (result.backend_id, result.scramble) == (theirs.thread_id, theirs.scramble)
    assert (result.plugin, result.reply) == (auth.NATIVE, OK)
    assert result.attributes == ((b"a", b"b"),)
    assert result.credential is None


def test_no() -> None:
    """The client reads the backend's own words."""
    book = answered() >> PacketArrived(BACKEND, DENIED)
    book << Refuse
    assert book.refused.full_code == "auth.backend"
    assert book.refused.facts == {"number": 1045}
    machine = RelayLogin(options())
    machine.receive(PacketArrived(BACKEND, MYSQL))
    machine.receive(PacketArrived(CLIENT, response().build()))
    (refusal,) = machine.receive(PacketArrived(BACKEND, DENIED))
    assert isinstance(refusal, Refuse)
    assert refusal.packet == DENIED


@walks(RelayState.VERDICT, RelayState.VERDICT)
def test_fast_path_of_sha2() -> None:
    fast = b"\x01" + auth.FAST_AUTH_OK
    book = answered() >> PacketArrived(BACKEND, fast) << Send(CLIENT, fast) << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done


def test_a_verdict_of_no_kind() -> None:
    (
        answered()
        >> PacketArrived(BACKEND, b"\x17")
        << Raises(BackendProtocolError, "backend.protocol")
    )


@walks(RelayState.VERDICT, RelayState.ANSWER)
@walks(RelayState.ANSWER, RelayState.VERDICT)
@pytest.mark.parametrize(
    "plugin", [auth.NATIVE, auth.CACHING_SHA2, auth.SHA256, auth.ED25519, auth.CLEAR, auth.PARSEC]
)
def test_a_switch_to_a_plugin_that_takes_turns(plugin: bytes) -> None:
    book = switched(plugin) << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"proof") << Send(BACKEND, b"proof") << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
    assert (book.result.plugin, book.result.scramble) == (plugin, b"s" * 20)


@pytest.mark.parametrize("plugin", [auth.NATIVE, auth.PARSEC, b"dialog"])
def test_an_empty_answer_is_an_answer(plugin: bytes) -> None:
    """An empty password under mysql_native_password; parsec's wish for the salt."""
    book = switched(plugin) << (ReadAny() if plugin == b"dialog" else Read(CLIENT))
    book >> PacketArrived(CLIENT, b"") << Send(BACKEND, b"")


@pytest.mark.parametrize("salt", [b"\x01P\x00" + b"s" * 18, b"P\x00" + b"s" * 18])
def test_parsec_in_full(salt: bytes) -> None:
    """MariaDB marks a plugin's packet with 0x01 only where it could be mistaken."""
    book = switched(auth.PARSEC, b"n" * 32) << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"") << Send(BACKEND, b"") << Read(BACKEND)
    book >> PacketArrived(BACKEND, salt) << Send(CLIENT, salt) << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"p" * 96) << Send(BACKEND, b"p" * 96) << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done


# -- plugins without known turns ----------------------------------------------


@walks(RelayState.VERDICT, RelayState.TALK)
@walks(RelayState.TALK, RelayState.TALK)
@walks(RelayState.TALK, RelayState.ENDED)
def test_an_unknown_plugin_talks_as_it_likes() -> None:
    """Two questions, as PAM asks them through MariaDB's dialog plugin: the second is bare."""
    book = switched(b"dialog", b"\x04Password: ") << ReadAny()
    book >> PacketArrived(CLIENT, b"first\0") << Send(BACKEND, b"first\0") << ReadAny()
    for question in (b"\x01\x02Code: ", b"\x02Code: ", b"\x05PIN: "):
        book >> PacketArrived(BACKEND, question) << Send(CLIENT, question) << ReadAny()
        book >> PacketArrived(CLIENT, b"42\0") << Send(BACKEND, b"42\0") << ReadAny()
    book >> PacketArrived(CLIENT, b"again") << Send(BACKEND, b"again") << ReadAny()
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
    assert book.result.plugin == b"dialog"


def test_an_unknown_plugin_says_no() -> None:
    book = switched(b"dialog") << ReadAny() >> PacketArrived(BACKEND, DENIED)
    book << Refuse


@walks(RelayState.TALK, RelayState.ANSWER)
def test_from_an_unknown_plugin_to_a_known_one() -> None:
    book = switched(b"dialog") << ReadAny()
    packet = AuthSwitchRequest(auth.NATIVE, b"t" * 20 + b"\0").build()
    book >> PacketArrived(BACKEND, packet) << Send(CLIENT, packet) << Read(CLIENT)
