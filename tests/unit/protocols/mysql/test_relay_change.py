# SPDX-License-Identifier: Apache-2.0
"""COM_CHANGE_USER relayed: the exchange once more, on the connection as it was agreed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hproxy.errors import ClientError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import Done, PacketArrived, Read, Refuse, Send, Side
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import AuthMoreData, AuthSwitchRequest, ChangeUser
from hproxy.protocols.mysql.relay import RelayChange
from tests.support.logins import DENIED, OK, OURS, PASSWORD, options, rsa_key
from tests.support.playbook import Playbook

CLIENT, BACKEND = Side.CLIENT, Side.BACKEND
FULL = b"\x01" + auth.FULL_AUTH_NEEDED
BEFORE = LoginResult(
    user=b"ann",
    database=b"shop",
    capabilities=int(OURS),
    charset=8,
    backend_id=17,
    scramble=b"o" * 20,
    plugin=auth.CACHING_SHA2,
)
CHANGE = ChangeUser(b"bob", b"x" * 32, b"till", 45, auth.CACHING_SHA2, ((b"a", b"b"),))


def changing(change: ChangeUser = CHANGE, **given: object) -> Playbook:
    """The command was passed on, with attributes of ours."""
    book = Playbook(RelayChange(options(**given), BEFORE, change.build(OURS)))
    return book << Send << Read(BACKEND)


def passed_on(
    change: ChangeUser, agreed: Capability = OURS, **given: object
) -> tuple[bytes, ChangeUser]:
    """What the backend reads, raw and parsed."""
    login = replace(BEFORE, capabilities=int(agreed))
    [send, _] = RelayChange(options(**given), login, change.build(agreed)).start()
    assert isinstance(send, Send)
    return send.payload, ChangeUser.parse(send.payload, agreed)


def test_attributes_are_ours_again() -> None:
    """The command replaces those of the login: a client could pose as another address."""
    forged = replace(CHANGE, attributes=((b"_client_ip", b"6.6.6.6"), (b"a", b"b")))
    _, read = passed_on(forged, client_host="10.0.0.1")
    assert read.attributes is not None
    assert read.attributes[0] == (b"a", b"b")
    assert [value for name, value in read.attributes if name == b"_client_ip"] == [b"10.0.0.1"]
    assert replace(read, attributes=None) == replace(CHANGE, attributes=None)


@pytest.mark.parametrize("agreed", [OURS, OURS & ~Capability.PLUGIN_AUTH])
@pytest.mark.parametrize(
    "change",
    [
        ChangeUser(b"bob", b"x" * 20),
        ChangeUser(b"bob", b"x" * 20, b"till", 45),
        ChangeUser(b"bob", b"x" * 20, b"till", 45, auth.NATIVE),
    ],
)
def test_a_client_without_attributes_is_given_some(change: ChangeUser, agreed: Capability) -> None:
    """The backend agreed on attributes with us: MariaDB and MySQL refuse a command without."""
    _, read = passed_on(change, agreed)
    assert read.attributes
    assert (read.user, read.auth_response, read.database) == (
        change.user,
        change.auth_response,
        change.database,
    )
    assert read.charset == (change.charset or BEFORE.charset)


def test_without_attributes_of_ours_the_command_goes_on_as_it_came() -> None:
    payload, _ = passed_on(CHANGE, attributes=False)
    assert payload == CHANGE.build(OURS)


def test_yes_at_once() -> None:
    book = changing() >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
    result = book.result
    assert (result.user, result.database, result.charset) == (b"bob", b"till", 45)
    assert (result.capabilities, result.backend_id) == (int(OURS), 17)
    assert result.scramble == BEFORE.scramble


def test_what_the_command_leaves_out_stays() -> None:
    book = changing(ChangeUser(b"bob", b"x" * 32)) >> PacketArrived(BACKEND, OK)
    book << Send(CLIENT, OK) << Done
    assert (book.result.charset, book.result.plugin) == (8, auth.CACHING_SHA2)
    assert book.result.database == b""


def test_a_switch_as_servers_usually_ask() -> None:
    packet = AuthSwitchRequest(auth.NATIVE, b"n" * 20 + b"\0").build()
    book = changing() >> PacketArrived(BACKEND, packet) << Send(CLIENT, packet) << Read(CLIENT)
    book >> PacketArrived(CLIENT, b"p" * 20) << Send(BACKEND, b"p" * 20) << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
    assert (book.result.plugin, book.result.scramble) == (auth.NATIVE, b"n" * 20)


def test_sides_unlike_each_other_are_bridged() -> None:
    book = changing(client_secure=True) >> PacketArrived(BACKEND, FULL)
    book << Send(CLIENT, FULL) << Read(CLIENT) >> PacketArrived(CLIENT, PASSWORD + b"\0")
    book << Send(BACKEND, auth.REQUEST_PUBLIC_KEY) << Read(BACKEND)
    pem = AuthMoreData(auth.public_pem(rsa_key())).build()
    book >> PacketArrived(BACKEND, pem) << Send << Read(BACKEND)
    assert auth.decrypt_password(rsa_key(), book.sent, BEFORE.scramble) == PASSWORD


def test_no() -> None:
    book = changing() >> PacketArrived(BACKEND, DENIED)
    book << Refuse
    assert book.refused.full_code == "auth.backend"


@pytest.mark.parametrize("payload", [b"\x11", b"\x11bob", b"\x11bob\0\xffshort", b"\x11bob\0\0"])
def test_a_broken_command_is_the_clients_mistake(payload: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        RelayChange(options(), BEFORE, payload)
    assert caught.value.full_code == "client.malformed"


def test_a_change_of_user_changes_no_compression() -> None:
    given = options(client_compression=("zlib",), backend_compression=("zlib",))
    book = Playbook(RelayChange(given, BEFORE, CHANGE.build(OURS))) << Send << Read(BACKEND)
    book >> PacketArrived(BACKEND, OK) << Send(CLIENT, OK) << Done
