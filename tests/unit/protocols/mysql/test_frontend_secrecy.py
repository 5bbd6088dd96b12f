# SPDX-License-Identifier: Apache-2.0
"""What a stranger learns at our door: not which half was wrong, and never a password."""

from __future__ import annotations

import dataclasses

import pytest

from hproxy.auth import Account
from hproxy.protocols.model import (
    AccountFound,
    Action,
    Done,
    Lookup,
    PacketArrived,
    Read,
    Refuse,
    Send,
    Side,
    Work,
    Worked,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.auth import CACHING_SHA2, CLEAR, ED25519, NATIVE, SHA256
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.frontend import ClientLogin
from hproxy.protocols.mysql.handshake import AuthSwitchRequest, Greeting
from hproxy.protocols.mysql.profile import profile
from hproxy.protocols.mysql.refusal import error_packet
from tests.support.logins import MYSQL, OURS, PASSWORD, SECRETS, account, options, response
from tests.support.playbook import Playbook, worked

CLIENT = Side.CLIENT
WRONG = auth.Credential(b"wrong horse")
FULL = b"\x01" + auth.FULL_AUTH_NEEDED
SCRAMBLES = slice(-21, None)


def dialogue(
    found: Account | None,
    plugin: bytes,
    known: auth.Credential,
    secure: bool,
    plugins: bool,
    decoy: Account | None = None,
) -> list[object]:
    """All that a client sees of one login, with scrambles blanked, and how it ended."""
    given = options(client_secure=secure, decoy=None if decoy is None else lambda _: decoy)
    machine = ClientLogin(given, profile(MYSQL))
    seen: list[object] = []
    scramble = machine.greeting.scramble
    actions = list(machine.start())
    capabilities = OURS if plugins else OURS & ~Capability.PLUGIN_AUTH
    named = plugin in auth.PLUGINS
    answer = auth.PLUGINS[plugin].respond(known, scramble, secure) if named else b"?"
    said = response(capabilities, plugin=plugin, auth_response=answer or b"").build()
    while True:
        last: Action = actions[-1]
        seen += [without_scramble(a.payload) for a in actions if isinstance(a, Send)]
        match last:
            case Lookup():
                actions = list(machine.receive(AccountFound(found)))
            case Read():
                if seen[-1] == FULL:
                    said = (known.password or b"") + b"\0" if secure else b"x" * 256
                elif len(seen) > 1:
                    switch = AuthSwitchRequest.parse(actions[0].payload)  # type: ignore[union-attr]
                    respond = auth.PLUGINS[switch.plugin].respond
                    said = respond(known, switch.scramble, secure) or b""
                actions = list(machine.receive(PacketArrived(CLIENT, said)))
            case Work():
                actions = list(machine.receive(Worked(worked(last))))
            case Refuse(error, packet):
                assert packet is None
                return [*seen, error_packet(error)]
            case Done():
                return [*seen, "welcome"]
            case _:
                raise AssertionError(last)


def without_scramble(payload: bytes) -> object:
    if payload[0] == 10:
        return dataclasses.replace(Greeting.parse(payload), scramble=b"")
    if payload[0] == 0xFE:
        return dataclasses.replace(AuthSwitchRequest.parse(payload), data=b"")
    return payload


@pytest.mark.parametrize("plugins", [True, False], ids=["plugins", "old"])
@pytest.mark.parametrize("secure", [True, False], ids=["secure", "open"])
@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519, CLEAR, SHA256, b"dialog"])
@pytest.mark.parametrize("known", [WRONG, auth.Credential(b"")], ids=["wrong", "empty"])
def test_an_unknown_user_and_a_wrong_password_look_the_same(
    plugin: bytes, secure: bool, plugins: bool, known: auth.Credential
) -> None:
    stranger = dialogue(None, plugin, known, secure, plugins)
    assert stranger == dialogue(account(), plugin, known, secure, plugins)
    assert b"Access denied for user 'ann'@'192.0.2.7'" in stranger[-1]  # type: ignore[operator]


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "open"])
@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519, CLEAR])
@pytest.mark.parametrize(
    "real",
    [
        *(account(SECRETS[form]) for form in SECRETS),
        account(plugin=ED25519.decode()),
        account(SECRETS["sha2 hash"], plugin=CLEAR.decode()),
        account(SECRETS["native hash"], require_tls=True),
    ],
)
def test_a_decoy_looks_like_the_account_it_is_made_like(
    plugin: bytes, secure: bool, real: Account
) -> None:
    decoy = Account(b"", real.secret.decoy(), plugin=real.plugin)
    stranger = dialogue(None, plugin, WRONG, secure, True, decoy)
    assert stranger == dialogue(real, plugin, WRONG, secure, True, decoy)


def test_the_refusal_says_whether_a_password_was_used() -> None:
    yes, no = (
        dialogue(None, CACHING_SHA2, known, False, True)[-1]
        for known in (WRONG, auth.Credential(b""))
    )
    assert b"(using password: YES)" in yes  # type: ignore[operator]
    assert b"(using password: NO)" in no  # type: ignore[operator]


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "open"])
@pytest.mark.parametrize("plugin", [NATIVE, CLEAR])
def test_an_account_bound_to_clear_passwords_is_never_asked_for_one_in_the_open(
    plugin: bytes, secure: bool
) -> None:
    bound = account(plugin=CLEAR.decode())
    seen = dialogue(bound, plugin, auth.Credential(PASSWORD), secure, True)
    assert (seen[-1] == "welcome") is secure
    assert secure or len(seen) == 2  # the greeting and the refusal: no switch


@pytest.mark.parametrize("form", ["clear", "sha2 hash", "native hash"])
def test_nothing_that_is_shown_holds_a_password(form: str) -> None:
    found = account(SECRETS[form])
    machine = ClientLogin(options(client_secure=True), profile(MYSQL))
    book = Playbook(machine) << Send << Read(CLIENT)
    sent = response(plugin=CLEAR, auth_response=PASSWORD + b"\0")
    book >> PacketArrived(CLIENT, sent.build()) << Lookup(b"ann") >> AccountFound(found) << Done
    shown = [found, found.secret, book.result, book.result.credential, Done(book.result)]
    shown += [AccountFound(found)]
    for thing in shown:
        for text in (repr(thing), str(thing)):
            assert PASSWORD.decode() not in text
            assert SECRETS[form].decode() not in text
    assert book.everything_sent
    assert not [payload for payload in book.everything_sent if PASSWORD in payload]


@pytest.mark.parametrize("payload", [PASSWORD + b"\0", b"ann\0" + PASSWORD])
def test_events_and_actions_do_not_show_their_payload(payload: bytes) -> None:
    """They end up in the texts of exceptions, and so in logs."""
    for thing in (PacketArrived(CLIENT, payload), Send(Side.BACKEND, payload)):
        assert PASSWORD.decode() not in repr(thing)
    machine = ClientLogin(options(), profile(MYSQL))
    machine.start()
    with pytest.raises(RuntimeError) as caught:
        machine.receive(PacketArrived(Side.BACKEND, payload))
    assert PASSWORD.decode() not in str(caught.value)


def test_packets_do_not_show_passwords() -> None:
    sent = response(plugin=CLEAR, auth_response=PASSWORD + b"\0")
    assert PASSWORD.decode() not in repr(sent)
