# SPDX-License-Identifier: Apache-2.0
"""Any bytes in any state: an action, or somebody's mistake, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hproxy.errors import BackendProtocolError, ClientError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import (
    AccountFound,
    Done,
    Event,
    Lookup,
    PacketArrived,
    Read,
    ReadAny,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
    Work,
    Worked,
)
from hproxy.protocols.mysql import auth
from hproxy.protocols.mysql.backend import BackendChange, BackendLogin
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.frontend import ClientChange, ClientLogin
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    ChangeUser,
)
from hproxy.protocols.mysql.profile import Profile, profile
from hproxy.protocols.mysql.relay import RelayChange, RelayLogin
from tests.support.garbage import garbage
from tests.support.logins import (
    DENIED,
    MARIADB,
    MYSQL,
    OK,
    OURS,
    PASSWORD,
    SECRETS,
    account,
    options,
    response,
    rsa_key,
)
from tests.support.playbook import worked

MAX_STEPS = 12
PEM = auth.public_pem(rsa_key())
BEFORE = LoginResult(
    user=b"bob",
    capabilities=int(OURS),
    credential=auth.Credential(PASSWORD),
    scramble=b"o" * 20,
    plugin=auth.CACHING_SHA2,
)
SEEDS: dict[Side, list[bytes]] = {
    Side.CLIENT: [
        response(auth_response=b"a" * 32, database=b"shop", attributes=((b"a", b"b"),)).build(),
        response(auth_response=b"a" * 300).build(),
        response(OURS | Capability.SSL).ssl_request.build(),
        PASSWORD + b"\0",
        auth.REQUEST_PUBLIC_KEY,
        auth.SHA256_REQUEST_PUBLIC_KEY,
        auth.encrypt_password(PASSWORD, b"o" * 20, PEM),
    ],
    Side.BACKEND: [
        MYSQL,
        MARIADB,
        OK,
        DENIED,
        b"\x01" + auth.FULL_AUTH_NEEDED,
        b"\x01" + auth.FAST_AUTH_OK,
        AuthMoreData(PEM).build(),
        b"\x01P\x00" + b"s" * 18,
        b"\x02" + auth.NATIVE + b"\0" + b"s" * 21,
        *(
            AuthSwitchRequest(plugin, data).build()
            for plugin in (*auth.PLUGINS, b"dialog")
            for data in (b"", b"s" * 20 + b"\0", b"n" * 32)
        ),
    ],
}
# As they are, so that conversations get somewhere, and broken.
BYTES = {side: st.one_of(st.sampled_from(seeds), garbage(*seeds)) for side, seeds in SEEDS.items()}
TLS = st.sampled_from(["off", "preferred", "required"])
GIVEN = st.builds(
    options,
    client_tls=TLS,
    backend_tls=TLS,
    client_secure=st.booleans(),
    backend_secure=st.booleans(),
    attributes=st.booleans(),
)
ACCOUNTS = st.one_of(
    st.none(),
    st.builds(
        lambda form, plugin: account(SECRETS[form], plugin=plugin),
        st.sampled_from([form for form in SECRETS if form != "sha2 hash"]),
        st.sampled_from([None, "client_ed25519", "mysql_clear_password", "parsec", "nonsense"]),
    ),
)
CREDENTIALS = st.sampled_from(
    [
        auth.Credential(PASSWORD),
        auth.Credential(b""),
        auth.Credential(b"x" * 300),
        auth.Credential(sha1=b"1" * 20),
        auth.Credential(sha256=b"2" * 32),
    ]
)


def play(machine: Any, data: st.DataObject) -> None:
    """Feed whatever is asked for until the end."""
    try:
        actions = machine.start()
        for _ in range(MAX_STEPS):
            for action in actions[:-1]:
                assert isinstance(action, Send)
            match actions[-1]:
                case Read(side):
                    event: Event = PacketArrived(side, data.draw(BYTES[side]))
                case ReadAny():
                    side = data.draw(st.sampled_from(Side))
                    event = PacketArrived(side, data.draw(BYTES[side]))
                case StartTls(side):
                    event = Secured(side)
                case Work() as work:
                    event = Worked(worked(work))
                case Lookup():
                    event = AccountFound(data.draw(ACCOUNTS))
                case Done() | Refuse():
                    assert machine.state.name == "ENDED"
                    return
                case other:
                    raise AssertionError(other)
            actions = machine.receive(event)
    except (ClientError, BackendProtocolError):
        pass


def profiles(draw_from: st.DataObject) -> Profile:
    return profile(draw_from.draw(st.sampled_from([MYSQL, MARIADB])))


MACHINES: dict[str, Callable[[Any, st.DataObject], Any]] = {
    "relay": lambda given, _: RelayLogin(given),
    "client": lambda given, data: ClientLogin(given, profiles(data)),
    "backend": lambda given, data: BackendLogin(
        given,
        LoginResult(
            user=b"ann",
            database=b"shop",
            capabilities=int(OURS),
            credential=data.draw(CREDENTIALS),
        ),
    ),
}


@pytest.mark.parametrize("name", list(MACHINES))
@settings(max_examples=300, deadline=None)
@given(given=GIVEN, data=st.data())
def test_any_bytes_at_login(name: str, given: Any, data: st.DataObject) -> None:
    play(MACHINES[name](given, data), data)


CHANGE = ChangeUser(b"ann", b"a" * 32, b"shop", 45, auth.CACHING_SHA2, ((b"a", b"b"),))


@settings(max_examples=200, deadline=None)
@given(given=GIVEN, data=st.data(), payload=garbage(CHANGE.build(OURS)))
def test_any_bytes_at_a_change_of_user(given: Any, data: st.DataObject, payload: bytes) -> None:
    command = b"\x11" + payload[1:]
    for machine in (RelayChange, ClientChange):
        try:
            made = machine(given, BEFORE, command)
        except ClientError:
            continue
        play(made, data)
    play(BackendChange(given, BEFORE, BEFORE), data)


@settings(max_examples=300, deadline=None)
@given(garbage(MYSQL, MARIADB))
def test_any_bytes_as_a_greeting(payload: bytes) -> None:
    try:
        found = profile(payload)
    except BackendProtocolError:
        return
    ClientLogin(options(), found).start()
