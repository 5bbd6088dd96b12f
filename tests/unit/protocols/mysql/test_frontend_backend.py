# SPDX-License-Identifier: Apache-2.0
"""Our own client against our own server: every plugin, form of secret and kind of connection."""

from __future__ import annotations

from hashlib import sha1

import pytest

from hproxy.auth import Account
from hproxy.errors import AuthError, ConnectError, HProxyError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import (
    AccountFound,
    Action,
    Done,
    Event,
    Lookup,
    PacketArrived,
    Read,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
    Work,
    Worked,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.auth import CACHING_SHA2, CLEAR, ED25519, NATIVE
from hproxy.protocols.mysql.backend import BackendChange, BackendLogin
from hproxy.protocols.mysql.frontend import ClientChange, ClientLogin
from hproxy.protocols.mysql.profile import profile
from hproxy.protocols.mysql.refusal import error_packet
from tests.support.logins import MARIADB, MYSQL, OK, OURS, PASSWORD, SECRETS, account, options
from tests.support.playbook import worked

PLUGINS = (NATIVE, CACHING_SHA2, ED25519, CLEAR)
KNOWN = {form: auth.Credential(b"" if form == "empty" else PASSWORD) for form in SECRETS}


class Pair:
    """A server machine and a client machine on one wire, until both have ended."""

    def __init__(self, server: ClientLogin, client: BackendLogin, found: Account) -> None:
        self.found = found
        self.wire: list[bytes] = []
        self.tls = False
        self.revealed: list[bytes] = []
        self.accepted: LoginResult | None = None
        self.refused: HProxyError | None = None
        self.told: LoginResult | HProxyError | None = None
        to_client: list[Event] = []
        to_server: list[Event] = []
        self._server(list(server.start()), to_client, to_server)
        self._client(list(client.start()), to_server, to_client)
        if isinstance(server, ClientChange):
            to_server.remove(PacketArrived(Side.CLIENT, self.wire[-1]))  # it was made of that
        for _ in range(20):
            if to_client:
                self._client(list(client.receive(to_client.pop(0))), to_server, to_client)
            elif to_server:
                self._server(list(server.receive(to_server.pop(0))), to_client, to_server)
        assert self.told is not None

    def _server(self, actions: list[Action], to_client: list[Event], own: list[Event]) -> None:
        for action in actions:
            match action:
                case Send(Side.CLIENT, payload):
                    self._carry(payload)
                    to_client.append(PacketArrived(Side.BACKEND, payload))
                case Work():
                    own.insert(0, Worked(worked(action)))
                case Lookup(user):
                    own.insert(0, AccountFound(self.found if user == b"ann" else None))
                case StartTls():
                    self.tls = True
                    own.insert(0, Secured(Side.CLIENT))
                case Done(result):
                    self.accepted = result
                    to_client.append(PacketArrived(Side.BACKEND, OK))
                case Refuse(error):
                    self.refused = error
                    to_client.append(PacketArrived(Side.BACKEND, error_packet(error)))
                case Read(side):
                    assert side is Side.CLIENT

    def _client(self, actions: list[Action], to_server: list[Event], own: list[Event]) -> None:
        for action in actions:
            match action:
                case Send(Side.BACKEND, payload):
                    self._carry(payload)
                    to_server.append(PacketArrived(Side.CLIENT, payload))
                case StartTls():
                    own.append(Secured(Side.BACKEND))
                case Done(result):
                    self.told = result
                case Refuse(error):
                    self.told = error
                case Read(side):
                    assert side is Side.BACKEND

    def _carry(self, payload: bytes) -> None:
        self.wire.append(payload)
        if PASSWORD in payload:
            self.revealed.append(payload)


def meeting(
    found: Account,
    known: auth.Credential,
    *,
    tls: bool = False,
    local: bool = False,
    default: bytes = CACHING_SHA2,
    greeting: bytes = MYSQL,
) -> Pair:
    given = options(
        client_tls="preferred" if tls else "off",
        client_secure=local,
        backend_tls="required" if tls else "off",
        backend_secure=local,
        default_plugin=default.decode(),
    )
    who = LoginResult(
        user=b"ann", database=b"shop", capabilities=int(OURS), charset=45, credential=known
    )
    server = ClientLogin(given, profile(greeting))
    return Pair(server, BackendLogin(given, who), found)


CONNECTIONS = pytest.mark.parametrize("connection", ["plain", "tls", "local"])


@CONNECTIONS
@pytest.mark.parametrize("greeting", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
@pytest.mark.parametrize("form", list(SECRETS))
@pytest.mark.parametrize("default", PLUGINS[:3])
@pytest.mark.parametrize("plugin", [None, *PLUGINS])
def test_who_knows_the_password_comes_in(
    plugin: bytes | None, default: bytes, form: str, connection: str, greeting: bytes
) -> None:
    """Unless the account's plugin cannot work with what is stored, or here."""
    found = account(SECRETS[form], plugin=plugin.decode() if plugin else None)
    tls, local = connection == "tls", connection == "local"
    pair = meeting(found, KNOWN[form], tls=tls, local=local, default=default, greeting=greeting)
    secure = tls or local
    used = plugin or default
    served = plugin is None or found.secret.form in auth.PLUGINS[plugin].serves
    if not served or (plugin == CLEAR and not secure):
        assert isinstance(pair.told, AuthError | ConnectError)
        assert pair.accepted is None
        assert pair.revealed == []
        return
    assert isinstance(pair.told, LoginResult)
    assert pair.accepted is not None
    assert (pair.accepted.user, pair.accepted.database) == (b"ann", b"shop")
    assert pair.told.plugin == pair.accepted.plugin
    assert pair.told.scramble == pair.accepted.scramble
    assert pair.tls == tls
    assert pair.accepted.credential is found.credential is not None
    in_full = pair.accepted.plugin == CACHING_SHA2 and form.endswith("hash")
    in_clear = form != "empty" and secure and (used == CLEAR or in_full)
    assert bool(pair.revealed) == in_clear


@CONNECTIONS
@pytest.mark.parametrize("known", [b"wrong horse", b"", b"x" * 200])
@pytest.mark.parametrize("form", list(SECRETS))
@pytest.mark.parametrize("plugin", PLUGINS)
def test_who_does_not_stays_out(plugin: bytes, form: str, known: bytes, connection: str) -> None:
    if form == "empty" and known == b"":
        known = b"something"
    found = account(SECRETS[form], plugin=plugin.decode())
    before = found.credential
    tls, local = connection == "tls", connection == "local"
    pair = meeting(found, auth.Credential(known), tls=tls, local=local, default=plugin)
    assert isinstance(pair.told, HProxyError)
    assert pair.accepted is None
    assert found.credential is before
    for error in (pair.told, pair.refused):
        assert not known or known.decode() not in f"{error} {error!r}"


def test_what_a_hash_teaches_opens_the_next_server() -> None:
    found = account(SECRETS["native hash"], plugin=NATIVE.decode())
    pair = meeting(found, KNOWN["clear"])
    assert pair.accepted is not None
    learned = pair.accepted.credential
    assert (learned.password, learned.native) == (None, sha1(PASSWORD).digest())
    backend = account(SECRETS["clear"], plugin=NATIVE.decode())
    assert isinstance(meeting(backend, learned).told, LoginResult)
    other = account(SECRETS["clear"], plugin=CACHING_SHA2.decode())
    assert isinstance(meeting(other, learned).told, AuthError)

    found = account(SECRETS["sha2 hash"])
    pair = meeting(found, KNOWN["clear"])
    assert pair.accepted is not None
    learned = pair.accepted.credential
    assert learned.password == PASSWORD
    for plugin in (NATIVE, CACHING_SHA2, ED25519):
        assert isinstance(meeting(account(plugin=plugin.decode()), learned).told, LoginResult)


def test_the_second_login_against_a_hash_is_fast() -> None:
    found = account(SECRETS["sha2 hash"])
    first, second = (meeting(found, KNOWN["clear"]) for _ in range(2))
    assert len(first.wire) > len(second.wire)
    assert second.wire[-1] == b"\x01" + auth.FAST_AUTH_OK
    fast = auth.Credential(sha256=KNOWN["clear"].sha2)
    assert isinstance(meeting(found, fast).told, LoginResult)


@pytest.mark.parametrize("plugin", PLUGINS[:3])
@pytest.mark.parametrize("form", list(SECRETS))
def test_change_of_user(form: str, plugin: bytes) -> None:
    """From a login of ours to another account, on what was agreed."""
    found = account(SECRETS[form])
    pair = meeting(found, KNOWN[form])
    assert pair.accepted is not None
    assert isinstance(pair.told, LoginResult)
    other = account(SECRETS[form], plugin=plugin.decode())
    served = other.secret.form in auth.PLUGINS[plugin].serves
    client = BackendChange(options(), pair.told, pair.told)
    command = BackendChange(options(), pair.told, pair.told).start()[0]
    assert isinstance(command, Send)
    server = ClientChange(options(), pair.accepted, command.payload)
    changed = Pair(server, client, other)
    assert isinstance(changed.told, LoginResult) == served
    assert (changed.accepted is not None) == served
