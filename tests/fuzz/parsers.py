# SPDX-License-Identifier: Apache-2.0
"""Targets without sockets: scanner, framer, cursor, and the login machines."""

from __future__ import annotations

from typing import Any

from hproxy._native.cursor import Cursor, CursorError
from hproxy._native.mysql import CommandFramer, ResponseScanner
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
from hproxy.protocols.mysql.backend import BackendLogin
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.frontend import ClientLogin
from hproxy.protocols.mysql.handshake import AuthMoreData, AuthSwitchRequest
from hproxy.protocols.mysql.profile import profile
from hproxy.protocols.mysql.relay import RelayLogin
from tests.captures.reading import conversations
from tests.fuzz.mutation import Mutator
from tests.native.recorded import exchanges
from tests.native.reference import reference_frame_packet, reference_scan
from tests.support.logins import (
    DENIED,
    MARIADB,
    MYSQL,
    OK,
    OURS,
    PASSWORD,
    account,
    options,
    response,
    rsa_key,
)
from tests.support.playbook import worked

__all__ = ["cursor", "framer", "login", "scanner"]

EXCHANGES = exchanges()
RESPONSES = [
    (each.code, each.deprecate_eof, split)
    for each in EXCHANGES
    if (split := [data for client, data in each.turns if not client])
]


def cut_frames(stream: bytes) -> list[bytes]:
    """A good stream, frame by frame."""
    found, at = [], 0
    while at < len(stream):
        size = 4 + int.from_bytes(stream[at : at + 3], "little")
        found.append(stream[at : at + size])
        at += size
    return found


RESPONSE_FRAMES = [(code, eof, cut_frames(turns[0])) for code, eof, turns in RESPONSES]
COMMAND_FRAMES = [cut_frames(each.command) for each in EXCHANGES]
PAYLOADS = list({frame.payload for talk in conversations("mysql") for frame in talk.frames})
GUARD = b"\xfe\xff\xfb\x00" * 4
COMPARED = 0.1  # of the inputs: the twin is slow


def scanner(mutator: Mutator) -> None:
    """A response, broken: fed in pieces, nothing is taken that is not there, nor after a fault."""
    rng = mutator.rng
    code, deprecate_eof, frames = RESPONSE_FRAMES[int(rng.random() * len(RESPONSE_FRAMES))]
    if rng.random() < 0.1:
        code = int(rng.random() * 256)
    data = mutator.frames(frames)
    found = ResponseScanner(deprecate_eof)
    found.start(code)
    used = 0
    for piece in mutator.pieces(data):
        took = found.scan(memoryview(GUARD + piece + GUARD)[len(GUARD) : -len(GUARD)])
        assert 0 <= took <= len(piece)
        used += took
        if found.fault is not None:
            assert not found.done
            assert found.scan(data) == 0
            break
        if took < len(piece):
            assert found.done or found.wants_file
            break
    if found.wants_file:
        found.file_sent(int(rng.random() * 256))
    if rng.random() < COMPARED and code not in (0x11, 0x20, 0x21):
        expected = reference_scan(code, data, deprecate_eof=deprecate_eof)
        assert (found.fault is not None) == expected.fault
        if expected.done or expected.wants_file:
            assert (used, found.rows) == (expected.used, expected.rows)


def framer(mutator: Mutator) -> None:
    """A command, broken."""
    rng = mutator.rng
    data = mutator.frames(COMMAND_FRAMES[int(rng.random() * len(COMMAND_FRAMES))])
    found = CommandFramer()
    found.start(0)
    used, complete = 0, False
    for piece in mutator.pieces(data):
        took, complete = found.scan(piece)
        assert 0 <= took <= len(piece)
        used += took
        if complete or found.fault is not None:
            break
        assert took == len(piece)
    if rng.random() < COMPARED:
        expected = reference_frame_packet(data)
        assert (found.fault is not None) == expected[2]
        if not expected[2]:
            assert (used, complete) == expected[:2]


READS = (
    Cursor.u8, Cursor.u16, Cursor.u24, Cursor.u32, Cursor.u48, Cursor.u64, Cursor.lenenc_int,
    Cursor.lenenc_bytes, Cursor.nul_bytes, Cursor.peek,
)  # fmt: skip


def cursor(mutator: Mutator) -> None:
    """Reads over a payload that was not written for them."""
    rng = mutator.rng
    data = mutator.payload(PAYLOADS)
    found = Cursor(memoryview(GUARD + data + GUARD)[len(GUARD) : len(GUARD) + len(data)])
    for _ in range(12):
        before = found.pos
        try:
            if rng.random() < 0.2:
                count = int(rng.random() * 300) - 2
                assert found.take(count) == data[before : before + count]
            else:
                READS[int(rng.random() * len(READS))](found)
        except CursorError as error:
            refused = error.offset
        else:
            refused = before
        assert refused == before
        assert 0 <= found.pos <= len(data)
    at = found.pos
    assert found.rest() == data[at:]


# -- logins -----------------------------------------------------------------------------

PEM = auth.public_pem(rsa_key())
SAID: dict[Side, list[bytes]] = {
    Side.CLIENT: [
        response(auth_response=b"a" * 32, database=b"shop", attributes=((b"a", b"b"),)).build(),
        response(auth_response=b"a" * 20, plugin=auth.NATIVE).build(),
        response(OURS | Capability.SSL).ssl_request.build(),
        PASSWORD + b"\0",
        auth.REQUEST_PUBLIC_KEY,
        b"a" * 20,
        b"a" * 32,
    ],
    Side.BACKEND: [
        MYSQL,
        MARIADB,
        OK,
        DENIED,
        b"\x01" + auth.FULL_AUTH_NEEDED,
        b"\x01" + auth.FAST_AUTH_OK,
        AuthMoreData(PEM).build(),
        *(
            AuthSwitchRequest(plugin, data).build()
            for plugin in (*auth.PLUGINS, b"dialog")
            for data in (b"", b"s" * 20 + b"\0", b"n" * 32)
        ),
    ],
}
TLS = ("off", "preferred", "required")
GIVEN = [
    options(client_tls=client, backend_tls=backend, client_secure=secure, backend_secure=secure)
    for client in TLS
    for backend in TLS
    for secure in (False, True)
]
PROFILES = [profile(MYSQL), profile(MARIADB)]
STEPS = 10


def machine(mutator: Mutator) -> Any:
    rng = mutator.rng
    given = GIVEN[int(rng.random() * len(GIVEN))]
    kind = int(rng.random() * 3)
    if kind == 0:
        return RelayLogin(given)
    if kind == 1:
        return ClientLogin(given, PROFILES[int(rng.random() * 2)])
    credential = auth.Credential(PASSWORD if rng.random() < 0.7 else b"")
    wanted = LoginResult(b"ann", b"shop", int(OURS), credential=credential)
    return BackendLogin(given, wanted)


def login(mutator: Mutator) -> None:
    """A whole login with broken packets: an outcome, or the mistake of a side."""
    playing = machine(mutator)
    rng = mutator.rng
    try:
        actions = playing.start()
        for _ in range(STEPS):
            assert all(isinstance(action, Send) for action in actions[:-1])
            last = actions[-1]
            event: Event
            if isinstance(last, Read | ReadAny):
                side = last.side if isinstance(last, Read) else rng.choice(list(Side))
                event = PacketArrived(side, mutator.payload(SAID[side]))
            elif isinstance(last, StartTls):
                event = Secured(last.side)
            elif isinstance(last, Work):
                event = Worked(worked(last))
            elif isinstance(last, Lookup):
                event = AccountFound(account() if rng.random() < 0.8 else None)
            else:
                assert isinstance(last, Done | Refuse)
                return
            actions = playing.receive(event)
    except (ClientError, BackendProtocolError):
        pass
