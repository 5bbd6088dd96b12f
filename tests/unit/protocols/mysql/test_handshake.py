# SPDX-License-Identifier: Apache-2.0
"""Packets of the connect phase: captured ones byte for byte, built ones back and forth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.constants import Capability, MariadbCapability, ServerStatus
from hproxy.protocols.mysql.handshake import (
    Attributes,
    AuthMoreData,
    AuthSwitchRequest,
    ChangeUser,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from hproxy.protocols.mysql.scramble import ed25519_verify, parsec_key
from hproxy.protocols.mysql.wire import MalformedPacket
from tests.captures.reading import Conversation, conversations, load
from tests.support.garbage import garbage

CAPTURED = conversations("mysql")
NATIVE = b"mysql_native_password"
SHA2 = b"caching_sha2_password"

MODERN = (
    Capability.LONG_PASSWORD
    | Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.CONNECT_WITH_DB
)


def login_payloads(conversation: Conversation) -> list[tuple[bool, bytes]]:
    """(client's, payload) of everything after the greeting and before the verdict."""
    found = []
    for frame in conversation.frames[1:]:
        if not frame.client and frame.payload[0] in (0x00, 0xFF):
            break
        found.append((frame.client, frame.payload))
    return found


# -- captured -----------------------------------------------------------------


@pytest.mark.parametrize("conversation", CAPTURED, ids=lambda c: c.name)
def test_captured_logins_are_written_as_they_were(conversation: Conversation) -> None:
    greeting = conversation.frames[0].payload
    assert Greeting.parse(greeting).build() == greeting
    first = True
    for client, payload in login_payloads(conversation):
        if client and first and SslRequest.matches(payload):
            assert SslRequest.parse(payload).build() == payload
        elif client and first:
            assert HandshakeResponse.parse(payload).build() == payload
            first = False
        elif not client and payload[0] == 0xFE:
            assert AuthSwitchRequest.parse(payload).build() == payload
        elif not client:
            assert AuthMoreData.parse(payload).build() == payload


@pytest.mark.parametrize("server", ["mariadb-10.11", "mysql-9.7"])
def test_captured_change_user(server: str) -> None:
    conversation = load(f"mysql/{server}/change_user")
    capabilities = HandshakeResponse.parse(conversation.frames[1].payload).capabilities
    found = [f.payload for f in conversation.frames if f.remark == "COM_CHANGE_USER"]
    assert found
    for payload in found:
        change = ChangeUser.parse(payload, capabilities)
        assert change.build(capabilities) == payload
        assert (change.user, change.database) == (b"hproxy", b"test")
        assert change.attributes is not None
        assert (b"_client_name", b"mysql-connector-python") in change.attributes


def test_captured_greeting_of_mysql() -> None:
    greeting = Greeting.parse(load("mysql/mysql-9.7/login_fast").frames[0].payload)
    assert greeting.server_version.startswith(b"9.7.")
    assert greeting.plugin == SHA2
    assert len(greeting.scramble) == 20
    assert Capability.QUERY_ATTRIBUTES in greeting.capabilities
    assert greeting.charset == 255
    assert greeting.status == ServerStatus.AUTOCOMMIT
    assert greeting.mariadb == MariadbCapability(0)


def test_captured_greeting_of_mariadb() -> None:
    greeting = Greeting.parse(load("mysql/mariadb-10.11/login_native").frames[0].payload)
    assert greeting.server_version.startswith(b"5.5.5-10.11.")
    assert greeting.plugin == NATIVE
    assert len(greeting.scramble) == 20
    assert Capability.LONG_PASSWORD not in greeting.capabilities
    assert greeting.mariadb == (
        MariadbCapability.PROGRESS
        | MariadbCapability.STMT_BULK_OPERATIONS
        | MariadbCapability.EXTENDED_METADATA
        | MariadbCapability.CACHE_METADATA
    )


def test_captured_response_of_mariadb_s_client() -> None:
    payload = load("mysql/mariadb-10.11/session_state").frames[1].payload
    response = HandshakeResponse.parse(payload)
    assert (response.user, response.database, response.plugin) == (b"hproxy", b"test", NATIVE)
    assert MariadbCapability.STMT_BULK_OPERATIONS in response.mariadb
    assert (b"_client_name", b"libmariadb") in response.attributes


def test_captured_switch_to_ed25519() -> None:
    payload = load("mysql/mariadb-10.11/login_ed25519").frames[2].payload
    switch = AuthSwitchRequest.parse(payload)
    assert switch.plugin == b"client_ed25519"
    assert switch.scramble == switch.data
    assert len(switch.data) == 32


def test_captured_parsec() -> None:
    frames = load("mysql/mariadb-11.8/login_parsec").frames
    switch = AuthSwitchRequest.parse(frames[2].payload)
    assert (switch.plugin, len(switch.scramble)) == (b"parsec", 32)
    assert frames[3].payload == b""
    ext_salt = AuthMoreData.parse(frames[4].payload).data
    public = parsec_key(b"parsec", ext_salt).public_key().public_bytes_raw()
    nonce, signature = frames[5].payload[:32], frames[5].payload[32:]
    assert ed25519_verify(public, switch.scramble + nonce, signature)


def test_captured_public_key() -> None:
    frames = load("mysql/mysql-9.7/login_full").frames
    assert AuthMoreData.parse(frames[2].payload).data == b"\x04"
    assert AuthMoreData.parse(frames[4].payload).data.startswith(b"-----BEGIN PUBLIC KEY-----")


# -- built --------------------------------------------------------------------

no_nul = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"n"))
short = st.binary(max_size=255)
attributes = st.lists(
    st.tuples(st.binary(max_size=20), st.binary(max_size=300)), max_size=4
).map(tuple)  # fmt: skip
some_capabilities = st.integers(0, 2**32 - 1).map(Capability)
extensions = st.integers(0, 2**32 - 1).map(MariadbCapability)


@given(
    no_nul,
    st.integers(0, 2**32 - 1),
    st.binary(min_size=20, max_size=60),
    some_capabilities,
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
    no_nul,
    extensions,
)
def test_greeting_round_trip(
    version: bytes,
    thread_id: int,
    scramble: bytes,
    capabilities: Capability,
    charset: int,
    status: int,
    plugin: bytes,
    mariadb: MariadbCapability,
) -> None:
    capabilities |= Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH
    if Capability.LONG_PASSWORD in capabilities:
        mariadb = MariadbCapability(0)
    greeting = Greeting(
        version, thread_id, scramble, capabilities, charset, ServerStatus(status), plugin, mariadb
    )
    assert Greeting.parse(greeting.build()) == greeting


def test_greeting_without_plugins() -> None:
    old = Greeting(b"5.1", 1, b"x" * 20, Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION)
    assert Greeting.parse(old.build()) == old


def test_greeting_whose_plugin_lacks_its_nul() -> None:
    greeting = Greeting(b"5.5.8", 1, b"x" * 20, MODERN, plugin=NATIVE)
    assert Greeting.parse(greeting.build()[:-1]) == greeting


def test_greeting_of_a_scramble_of_nuls() -> None:
    greeting = Greeting(b"x", 1, bytes(20), MODERN, plugin=b"mysql_clear_password")
    assert Greeting.parse(greeting.build()).scramble == bytes(20)


@pytest.mark.parametrize("length", [0, 7, 255])
def test_greeting_refuses_to_build_a_bad_scramble(length: int) -> None:
    with pytest.raises(ValueError, match="scramble"):
        Greeting(b"x", 1, bytes(length), MODERN).build()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "1 bytes wanted"),
        (b"\x09old\0", "protocol version 9"),
        (b"\xff\x10\x04Too many connections", "protocol version 255"),
        (b"HTTP/1.1 400 Bad Request\r\n", "protocol version 72"),
        (b"\x0a" + b"x" * 50, "without its NUL"),
    ],
)
def test_what_is_no_greeting(payload: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket, match=f"greeting: .*{reason}"):
        Greeting.parse(payload)


@given(
    some_capabilities, no_nul, short, no_nul, no_nul, attributes,
    st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255), extensions,
)  # fmt: skip
def test_response_round_trip(
    capabilities: Capability,
    user: bytes,
    answer: bytes,
    database: bytes,
    plugin: bytes,
    pairs: Attributes,
    max_packet: int,
    charset: int,
    level: int,
    mariadb: MariadbCapability,
) -> None:
    capabilities |= Capability.PROTOCOL_41
    lenenc = Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA in capabilities
    if not lenenc and Capability.SECURE_CONNECTION not in capabilities:
        answer = answer.replace(b"\0", b"n")
    # What the flags leave out cannot come back.
    response = HandshakeResponse(
        capabilities,
        user,
        answer,
        database if Capability.CONNECT_WITH_DB in capabilities else b"",
        plugin if Capability.PLUGIN_AUTH in capabilities else b"",
        pairs if Capability.CONNECT_ATTRS in capabilities else (),
        max_packet,
        charset,
        level if Capability.ZSTD_COMPRESSION in capabilities else 0,
        MariadbCapability(0) if Capability.LONG_PASSWORD in capabilities else mariadb,
    )
    assert HandshakeResponse.parse(response.build()) == response


@pytest.mark.parametrize(
    "flags",
    [
        Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA | Capability.SECURE_CONNECTION,
        Capability.SECURE_CONNECTION,
        Capability(0),
    ],
)
def test_the_three_forms_of_an_answer(flags: Capability) -> None:
    response = HandshakeResponse(Capability.PROTOCOL_41 | flags, b"u", b"answer")
    payload = response.build()
    assert HandshakeResponse.parse(payload) == response
    assert payload.endswith(b"answer\0" if not flags else b"\x06answer")


def test_a_long_answer_needs_the_length_encoded_form() -> None:
    long = HandshakeResponse(MODERN, b"u", b"x" * 300)
    assert HandshakeResponse.parse(long.build()).auth_response == b"x" * 300
    secure = replace(long, capabilities=Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION)
    with pytest.raises(ValueError, match="300 bytes"):
        secure.build()


def test_fields_missing_at_the_end_are_empty() -> None:
    full = HandshakeResponse(MODERN, b"u", b"a", b"db", NATIVE, ((b"k", b"v"),))
    whole = full.build()
    without_attributes = whole[: whole.rindex(b"\x04\x01k\x01v")]
    assert HandshakeResponse.parse(without_attributes) == replace(full, attributes=())
    without_plugin = whole[: whole.rindex(NATIVE)]
    assert HandshakeResponse.parse(without_plugin) == replace(full, attributes=(), plugin=b"")
    without_database = whole[: whole.rindex(b"db\0")]
    assert HandshakeResponse.parse(without_database).database == b""


def test_attributes_keep_order_and_repeats() -> None:
    pairs = ((b"b", b"1"), (b"a", b""), (b"b", b"2"))
    response = HandshakeResponse(MODERN, b"u", attributes=pairs)
    assert HandshakeResponse.parse(response.build()).attributes == pairs


def test_attributes_cut_inside_are_malformed() -> None:
    payload = HandshakeResponse(MODERN, b"u", attributes=((b"key", b"value"),)).build()
    at = payload.rindex(b"\x05value")
    with pytest.raises(MalformedPacket):
        HandshakeResponse.parse(payload[:at] + b"\x06value")


@pytest.mark.parametrize(
    "payload",
    [
        b"\x85\x20" + b"\0\0\0" + b"user\0scramble",  # HandshakeResponse320
        b"\x05\x00\x00\x00\x00root\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_clients_older_than_4_1_are_recognised(payload: bytes) -> None:
    with pytest.raises(MalformedPacket, match=r"older than 4\.1"):
        HandshakeResponse.parse(payload)


def test_a_million_bytes_of_user_are_just_a_long_user() -> None:
    response = HandshakeResponse(MODERN, b"u" * 1_000_000)
    assert HandshakeResponse.parse(response.build()) == response


def test_ssl_request() -> None:
    response = HandshakeResponse(MODERN, b"u", max_packet=1 << 24, charset=45)
    payload = response.ssl_request.build()
    assert len(payload) == 32
    assert SslRequest.matches(payload)
    assert SslRequest.parse(payload) == response.ssl_request
    assert not SslRequest.matches(response.build())
    assert not SslRequest.matches(payload[:-1])
    tls = replace(response, capabilities=MODERN | Capability.SSL)
    assert not SslRequest.matches(tls.build())
    assert tls.build().startswith(payload)


@given(extensions, st.integers(0, 255))
def test_ssl_request_of_mariadb(mariadb: MariadbCapability, charset: int) -> None:
    request = SslRequest(Capability.SSL | Capability.PROTOCOL_41, 1 << 30, charset, mariadb)
    assert SslRequest.parse(request.build()) == request


def test_switch_forms() -> None:
    assert AuthSwitchRequest.parse(b"\xfe") == AuthSwitchRequest(b"mysql_old_password")
    assert AuthSwitchRequest(b"mysql_old_password").build() == b"\xfe"
    native = AuthSwitchRequest(NATIVE, b"s" * 20 + b"\0")
    assert native.build() == b"\xfe" + NATIVE + b"\0" + b"s" * 20 + b"\0"
    assert native.scramble == b"s" * 20
    # A nonce of 32 may end with NUL and is all nonce.
    assert AuthSwitchRequest(b"client_ed25519", bytes(32)).scramble == bytes(32)


@given(no_nul, st.binary(max_size=60))
def test_switch_round_trip(plugin: bytes, data: bytes) -> None:
    switch = AuthSwitchRequest(plugin, data)
    assert AuthSwitchRequest.parse(switch.build()) == switch


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xfeplugin-without-nul"])
def test_what_is_no_switch(payload: bytes) -> None:
    with pytest.raises(MalformedPacket, match="auth switch"):
        AuthSwitchRequest.parse(payload)


def test_more_data() -> None:
    assert AuthMoreData.parse(b"\x01\x03").data == b"\x03"
    assert AuthMoreData(b"\x04").build() == b"\x01\x04"
    for payload in (b"", b"\x00\x03"):
        with pytest.raises(MalformedPacket, match="auth data"):
            AuthMoreData.parse(payload)


@given(
    some_capabilities, no_nul, short, no_nul,
    st.one_of(st.none(), st.integers(0, 0xFFFF)), no_nul, attributes,
)  # fmt: skip
def test_change_user_round_trip(
    capabilities: Capability,
    user: bytes,
    answer: bytes,
    database: bytes,
    charset: int | None,
    plugin: bytes,
    pairs: Attributes,
) -> None:
    if Capability.SECURE_CONNECTION not in capabilities:
        answer = answer.replace(b"\0", b"n")
    named = charset is not None and Capability.PLUGIN_AUTH in capabilities
    told = named and Capability.CONNECT_ATTRS in capabilities
    change = ChangeUser(
        user, answer, database, charset, plugin if named else None, pairs if told else None
    )
    assert ChangeUser.parse(change.build(capabilities), capabilities) == change


def test_change_user_short_forms() -> None:
    secure = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION
    assert ChangeUser.parse(b"\x11u\0\x02abdb\0", secure) == ChangeUser(b"u", b"ab", b"db")
    assert ChangeUser.parse(b"\x11u\0\0\0\x21\0", secure) == ChangeUser(b"u", charset=33)
    for payload in (b"", b"\x03u\0\0\0", b"\x11u", b"\x11u\0\x05ab\0"):
        with pytest.raises(MalformedPacket, match="change user"):
            ChangeUser.parse(payload, secure)


# -- garbage ------------------------------------------------------------------

GREETINGS = [c.frames[0].payload for c in CAPTURED]
RESPONSES = [c.frames[1].payload for c in CAPTURED]
ANSWERS = [p for c in CAPTURED for client, p in login_payloads(c) if not client]
CHANGES = [f.payload for c in CAPTURED for f in c.frames if f.remark == "COM_CHANGE_USER"]


@given(garbage(*GREETINGS))
def test_garbage_greeting_is_a_value_or_malformed(data: bytes) -> None:
    with suppress(MalformedPacket):
        greeting = Greeting.parse(data)
        assert Greeting.parse(greeting.build()).thread_id == greeting.thread_id


@given(garbage(*RESPONSES))
def test_garbage_response_is_a_value_or_malformed(data: bytes) -> None:
    with suppress(MalformedPacket):
        HandshakeResponse.parse(data)
    with suppress(MalformedPacket):
        SslRequest.parse(data)
    SslRequest.matches(data)


@given(garbage(*ANSWERS), st.sampled_from([AuthSwitchRequest.parse, AuthMoreData.parse]))
def test_garbage_answer_is_a_value_or_malformed(
    data: bytes, parse: Callable[[bytes], object]
) -> None:
    with suppress(MalformedPacket):
        parse(data)


@given(garbage(*CHANGES), some_capabilities)
def test_garbage_change_user_is_a_value_or_malformed(data: bytes, flags: Capability) -> None:
    with suppress(MalformedPacket):
        ChangeUser.parse(data, flags)
