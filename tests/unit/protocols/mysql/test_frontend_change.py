# SPDX-License-Identifier: Apache-2.0
"""COM_CHANGE_USER where we are the server: the check of a login, from the lookup on."""

from __future__ import annotations

import pytest

from hproxy.errors import ClientError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import (
    AccountFound,
    Done,
    Lookup,
    PacketArrived,
    Read,
    Refuse,
    Send,
    Side,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.auth import CACHING_SHA2, NATIVE
from hproxy.protocols.mysql.frontend import ClientChange, ClientState
from hproxy.protocols.mysql.handshake import AuthSwitchRequest, ChangeUser
from tests.support.logins import OURS, PASSWORD, SECRETS, account, options
from tests.support.playbook import Playbook

CLIENT = Side.CLIENT
SCRAMBLE = b"o" * 20
KNOWN = auth.Credential(PASSWORD)
FAST = Send(CLIENT, b"\x01" + auth.FAST_AUTH_OK)
BEFORE = LoginResult(
    user=b"bob",
    database=b"shop",
    capabilities=int(OURS),
    charset=8,
    attributes=((b"a", b"b"),),
    scramble=SCRAMBLE,
    plugin=CACHING_SHA2,
)


def proof(plugin: bytes = CACHING_SHA2, scramble: bytes = SCRAMBLE) -> bytes:
    answer = auth.PLUGINS[plugin].respond(KNOWN, scramble, True)
    assert answer is not None
    return answer


def changing(change: ChangeUser, secret: bytes = PASSWORD, **given: object) -> Playbook:
    """The account was looked up."""
    machine = ClientChange(options(**given), BEFORE, change.build(OURS))
    book = Playbook(machine) << Lookup(b"ann")
    assert Playbook.walked[-1] == (ClientState.GREETING, ClientState.LOOKUP)
    return book >> AccountFound(account(secret))


def test_yes_with_the_scramble_in_force() -> None:
    change = ChangeUser(b"ann", proof(), b"till", 45, CACHING_SHA2, ((b"c", b"d"),))
    book = changing(change) << FAST << Done
    result = book.result
    assert (result.user, result.database, result.charset) == (b"ann", b"till", 45)
    assert (result.capabilities, result.attributes) == (int(OURS), ((b"c", b"d"),))
    assert result.account.username == b"ann"
    assert result.credential.password == PASSWORD


def test_what_the_command_leaves_out_stays() -> None:
    book = changing(ChangeUser(b"ann", proof())) << FAST << Done
    assert (book.result.charset, book.result.attributes) == (8, BEFORE.attributes)
    assert (book.result.plugin, book.result.database) == (CACHING_SHA2, b"")


def test_a_switch() -> None:
    """Clients answer with the plugin of the server's greeting; the account may need another."""
    change = ChangeUser(b"ann", b"n" * 20, b"", 45, NATIVE)
    book = changing(change, SECRETS["sha2 hash"], client_secure=True) << Send << Read(CLIENT)
    packet = AuthSwitchRequest.parse(book.sent)
    assert packet.plugin == CACHING_SHA2
    book >> PacketArrived(CLIENT, proof(scramble=packet.scramble)) << Send << Read(CLIENT)
    book >> PacketArrived(CLIENT, PASSWORD + b"\0") << Done
    assert book.result.scramble == packet.scramble


def test_no() -> None:
    book = changing(ChangeUser(b"ann", b"x" * 32, b"", 45, CACHING_SHA2)) << Refuse
    assert book.refused.full_code == "auth"


@pytest.mark.parametrize("payload", [b"\x11", b"\x11bob", b"\x11bob\0\xffshort", b"\x11bob\0\0"])
def test_a_broken_command_is_the_clients_mistake(payload: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        ClientChange(options(), BEFORE, payload)
    assert caught.value.full_code == "client.malformed"
