# SPDX-License-Identifier: Apache-2.0
"""Login relayed: the backend authenticates the client, the proxy knows no password.

    backend                     proxy                                   client
    GREETING ── greeting ────> own id, own compression, own TLS ──────> RESPONSE
                                              (SECURING_CLIENT) <────── SSL request
    VERDICT <── response ────── more attributes, the same <──────────── response
       │ OK, ERR ─────────────────────────────────────────────────────> end
       └ switch, more data ───────────────────────────────────────────> ANSWER ──> VERDICT

Every plugin works because its packets pass through. One thing cannot: caching_sha2_password
and sha256_password send the password in clear under TLS and RSA-encrypted without. Where only
one side has TLS the proxy bridges: it encrypts for the backend (PUBLIC_KEY), or decrypts with
a key of its own (ENCRYPTED). Plugins we do not know may speak in any order: both sides are
read (TALK).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum, auto
from typing import ClassVar

from hproxy.errors import AuthError, BackendProtocolError, ClientError, ConnectError
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import (
    Action,
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
from hproxy.protocols.mysql.compression import Agreed, agree, choose, flags
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    ErrPacket,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from hproxy.protocols.mysql.machine import Machine, Row, read_change
from hproxy.protocols.mysql.profile import STRIPPED, client_attributes, split, wide

__all__ = ["RelayChange", "RelayLogin", "RelayState"]

CLIENT, BACKEND = Side.CLIENT, Side.BACKEND
OK, MORE, FACTOR, SWITCH, ERR = 0x00, 0x01, 0x02, 0xFE, 0xFF

SHA2 = auth.CACHING_SHA2
# Plugins of one question and one answer.
TERSE = frozenset({SHA2, auth.SHA256, auth.NATIVE, auth.ED25519, auth.CLEAR, b""})
# Plugins that take turns strictly; with any other, both sides are read.
TURNS = TERSE | {auth.PARSEC}


class RelayState(IntEnum):
    """Where a relayed login stands; each name is what is awaited."""

    GREETING = auto()
    RESPONSE = auto()
    SECURING_CLIENT = auto()
    SECURING_BACKEND = auto()
    VERDICT = auto()
    ANSWER = auto()
    TALK = auto()
    PUBLIC_KEY = auto()
    ENCRYPTED = auto()
    ENDED = auto()


class RelayLogin(Machine):
    """Both sides of a login at once; its first event is the backend's greeting."""

    def __init__(self, options: LoginOptions) -> None:
        super().__init__(RelayState.GREETING)
        self.options = options
        self.client_secure = options.client_secure
        self.backend_secure = options.backend_secure
        self.client_tls_done = False
        self.plugin = b""
        self.scramble = b""
        self.password = b""
        self.ask_key = b""
        """The question for a public key, once the password itself is the next answer."""
        self.greeting: Greeting | None = None
        self.offered = Capability(0)
        self.response: HandshakeResponse | None = None
        self.packing: dict[Side, Agreed | None] = {}
        self.facts = LoginResult(user=b"")

    def start(self) -> Sequence[Action]:
        """Nothing to say before the backend has."""
        return (Read(BACKEND),)

    # -- greeting and response -------------------------------------------------

    def on_greeting(self, event: PacketArrived) -> Sequence[Action]:
        """Show the client what the backend offers, less what each side does by itself."""
        if event.payload[0] == ERR:
            refusal = ErrPacket.parse(event.payload)
            reason = refusal.message.decode("utf-8", "replace")
            error = ConnectError(reason, code="refused", number=refusal.number)
            return self.to(RelayState.ENDED, Refuse(error, event.payload))
        self.greeting = greeting = Greeting.parse(event.payload)
        self.plugin, self.scramble = greeting.plugin, greeting.scramble
        self.offered = greeting.capabilities & ~STRIPPED
        self.offered |= flags(self.options.client_compression)
        if self.options.client_tls != "off":
            self.offered |= Capability.SSL
        shown = replace(greeting, thread_id=self.options.connection_id, capabilities=self.offered)
        return self.to(RelayState.RESPONSE, Send(CLIENT, shown.build()), Read(CLIENT))

    def on_response(self, event: PacketArrived) -> Sequence[Action]:
        """The client's response, or its wish for TLS first."""
        if SslRequest.matches(event.payload):
            if Capability.SSL not in self.offered or self.client_tls_done:
                raise ClientError("TLS was not offered", code="malformed")
            return self.to(RelayState.SECURING_CLIENT, StartTls(CLIENT))
        if self.options.client_tls == "required" and not self.client_secure:
            error = ClientError("connections must use TLS", code="tls_required")
            return self.to(RelayState.ENDED, Refuse(error))
        assert self.greeting is not None
        response = HandshakeResponse.parse(event.payload)
        agreed = response.capabilities & self.offered & ~STRIPPED
        if self.options.attributes and Capability.CONNECT_ATTRS in self.greeting.capabilities:
            agreed |= Capability.CONNECT_ATTRS
        self.plugin = response.plugin or self.plugin
        lenenc = Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA in agreed
        counted = lenenc or Capability.SECURE_CONNECTION in agreed
        answer = response.auth_response
        if (len(answer) > 255 and not lenenc) or (b"\0" in answer and not counted):
            raise ClientError("an answer in a form that was not offered", code="malformed")
        level = self.options.compression_level
        towards = choose(self.greeting.capabilities, self.options.backend_compression, level)
        self.packing = {
            CLIENT: agree(response.capabilities, self.offered, level, response.zstd_level),
            BACKEND: towards,
        }
        self.response = replace(
            response,
            capabilities=agreed if towards is None else agreed | towards.flag,
            zstd_level=level,
            mariadb=response.mariadb & self.greeting.mariadb,
            attributes=client_attributes(response.attributes, self.options),
        )
        self.facts = LoginResult(
            user=response.user,
            database=response.database,
            capabilities=wide(agreed, self.response.mariadb),
            charset=response.charset,
            attributes=response.attributes,
            backend_id=self.greeting.thread_id,
        )
        wants, has = self.options.backend_tls, Capability.SSL in self.greeting.capabilities
        backend_secure = self.backend_secure or (wants != "off" and has)
        if self.plugin == auth.SHA256 and self.client_secure != backend_secure:
            # What it says first depends on TLS: have the backend switch, and bridge the answer.
            self.response = replace(self.response, plugin=auth.NATIVE, auth_response=b"")
        if wants != "off" and has:
            request = self.response.ssl_request.build()
            return self.to(RelayState.SECURING_BACKEND, Send(BACKEND, request), StartTls(BACKEND))
        if wants not in ("off", "preferred"):
            error2 = ConnectError("the backend offers no TLS", code="tls")
            return self.to(RelayState.ENDED, Refuse(error2))
        return self.to(RelayState.VERDICT, Send(BACKEND, self.response.build()), Read(BACKEND))

    def on_client_secured(self, _: Secured) -> Sequence[Action]:
        """The response follows, now under TLS."""
        self.client_secure = self.client_tls_done = True
        return self.to(RelayState.RESPONSE, Read(CLIENT))

    def on_backend_secured(self, _: Secured) -> Sequence[Action]:
        """The response goes on, now under TLS."""
        assert self.response is not None
        self.backend_secure = True
        secured = replace(self.response, capabilities=self.response.capabilities | Capability.SSL)
        return self.to(RelayState.VERDICT, Send(BACKEND, secured.build()), Read(BACKEND))

    # -- the plugins' exchange ---------------------------------------------------

    @property
    def factors(self) -> bool:
        """Whether more than one plugin was agreed on."""
        agreed, _ = split(self.facts.capabilities)
        return Capability.MULTI_FACTOR_AUTHENTICATION in agreed

    def on_verdict(self, event: PacketArrived) -> Sequence[Action]:
        """The backend says yes, no, or wants something more."""
        payload, kind = event.payload, event.payload[0]
        if kind == OK:
            facts = replace(self.facts, scramble=self.scramble, plugin=self.plugin, reply=payload)
            packed = [Compress(side, how.codec) for side, how in self.packing.items() if how]
            return self.to(RelayState.ENDED, Send(CLIENT, payload), *packed, Done(facts))
        if kind == ERR:
            refusal = ErrPacket.parse(payload)
            reason = refusal.message.decode("utf-8", "replace")
            error = AuthError(reason, code="backend", number=refusal.number)
            return self.to(RelayState.ENDED, Refuse(error, payload))
        if kind == SWITCH or (kind == FACTOR and self.factors):
            # A next factor is asked for in the form of a switch.
            switch = AuthSwitchRequest.parse(bytes((SWITCH,)) + payload[1:])
            self.plugin, self.scramble = switch.plugin, switch.scramble
            self.ask_key = auth.SHA256_REQUEST_PUBLIC_KEY if self.plugin == auth.SHA256 else b""
            return self._pass_to_client(payload)
        if kind == MORE and self.plugin == SHA2:
            return self._on_sha2(payload)
        if kind == MORE or self.plugin not in TERSE:
            # MariaDB marks what a plugin says with MORE only where it could be mistaken.
            return self._pass_to_client(payload)
        raise BackendProtocolError(f"login answered with a packet of kind {kind:#04x}")

    def _on_sha2(self, payload: bytes) -> Sequence[Action]:
        data = AuthMoreData.parse(payload).data
        if data == auth.FULL_AUTH_NEEDED:
            self.ask_key = auth.REQUEST_PUBLIC_KEY
        if data == auth.FAST_AUTH_OK:
            return self.to(RelayState.VERDICT, Send(CLIENT, payload), Read(BACKEND))
        return self._pass_to_client(payload)

    def _pass_to_client(self, payload: bytes) -> Sequence[Action]:
        if self.plugin in TURNS:
            return self.to(RelayState.ANSWER, Send(CLIENT, payload), Read(CLIENT))
        return self.to(RelayState.TALK, Send(CLIENT, payload), ReadAny())

    def on_answer(self, event: PacketArrived) -> Sequence[Action]:
        """The client's next part; the password itself where sha2 asked for full authentication."""
        payload = event.payload
        bridge = bool(self.ask_key) and self.client_secure != self.backend_secure
        if bridge and self.client_secure:
            self.password = auth.strip_nul(payload)
            return self.to(RelayState.PUBLIC_KEY, Send(BACKEND, self.ask_key), Read(BACKEND))
        if bridge and payload == self.ask_key:
            own = AuthMoreData(auth.public_pem(self.options.rsa_key)).build()
            return self.to(RelayState.ENCRYPTED, Send(CLIENT, own), Read(CLIENT))
        if bridge:
            # Encrypted with a key it remembers: ours if it came through here before.
            return self.on_encrypted(event)
        return self.to(RelayState.VERDICT, Send(BACKEND, payload), Read(BACKEND))

    def on_public_key(self, event: PacketArrived) -> Sequence[Action]:
        """Bridge: client under TLS, backend without. Its key came, encrypt for it."""
        if event.payload[0] == ERR:
            return self.on_verdict(event)
        pem = AuthMoreData.parse(event.payload).data
        sealed = auth.encrypt_password(self.password, self.scramble, pem)
        self.password = b""
        return self.to(RelayState.VERDICT, Send(BACKEND, sealed), Read(BACKEND))

    def on_encrypted(self, event: PacketArrived) -> Sequence[Action]:
        """Bridge: client without TLS, backend under it. Open with our key, pass on in TLS."""
        password = auth.decrypt_password(self.options.rsa_key, event.payload, self.scramble)
        if password is None:
            error = AuthError("the password was not encrypted with our key", code="rsa")
            return self.to(RelayState.ENDED, Refuse(error))
        return self.to(RelayState.VERDICT, Send(BACKEND, password + b"\0"), Read(BACKEND))

    def on_talk(self, event: PacketArrived) -> Sequence[Action]:
        """A plugin without known turns: whatever comes goes to the other side."""
        if event.side is CLIENT:
            return self.to(RelayState.TALK, Send(BACKEND, event.payload), ReadAny())
        return self.on_verdict(event)

    MAY_BE_EMPTY = frozenset({RelayState.ANSWER, RelayState.TALK})
    AWAITS: ClassVar[Mapping[RelayState, Row]] = {
        RelayState.GREETING: (PacketArrived, BACKEND, on_greeting),
        RelayState.RESPONSE: (PacketArrived, CLIENT, on_response),
        RelayState.SECURING_CLIENT: (Secured, CLIENT, on_client_secured),
        RelayState.SECURING_BACKEND: (Secured, BACKEND, on_backend_secured),
        RelayState.VERDICT: (PacketArrived, BACKEND, on_verdict),
        RelayState.ANSWER: (PacketArrived, CLIENT, on_answer),
        RelayState.TALK: (PacketArrived, None, on_talk),
        RelayState.PUBLIC_KEY: (PacketArrived, BACKEND, on_public_key),
        RelayState.ENCRYPTED: (PacketArrived, CLIENT, on_encrypted),
    }
    NEXT: ClassVar[Mapping[RelayState, frozenset[RelayState]]] = {
        RelayState.GREETING: frozenset({RelayState.RESPONSE, RelayState.ENDED}),
        RelayState.RESPONSE: frozenset(
            {
                RelayState.SECURING_CLIENT,
                RelayState.SECURING_BACKEND,
                RelayState.VERDICT,
                RelayState.ENDED,
            }
        ),
        RelayState.SECURING_CLIENT: frozenset({RelayState.RESPONSE}),
        RelayState.SECURING_BACKEND: frozenset({RelayState.VERDICT}),
        RelayState.VERDICT: frozenset(
            {RelayState.VERDICT, RelayState.ANSWER, RelayState.TALK, RelayState.ENDED}
        ),
        RelayState.ANSWER: frozenset(
            {RelayState.VERDICT, RelayState.PUBLIC_KEY, RelayState.ENCRYPTED, RelayState.ENDED}
        ),
        RelayState.TALK: frozenset({RelayState.TALK, RelayState.ANSWER, RelayState.ENDED}),
        RelayState.PUBLIC_KEY: frozenset({RelayState.VERDICT, RelayState.ENDED}),
        RelayState.ENCRYPTED: frozenset({RelayState.VERDICT, RelayState.ENDED}),
    }


class RelayChange(RelayLogin):
    """COM_CHANGE_USER relayed: the same exchange again, from the response on."""

    def __init__(self, options: LoginOptions, login: LoginResult, payload: bytes) -> None:
        super().__init__(options)
        capabilities, _ = split(login.capabilities)
        change = read_change(payload, capabilities)
        self.plugin = login.plugin if change.plugin is None else change.plugin
        self.scramble = login.scramble
        charset = login.charset if change.charset is None else change.charset
        self.payload = payload
        if options.attributes and Capability.CONNECT_ATTRS in capabilities:
            # They replace those of the login: ours must come again, nobody may forge them, and
            # a server that was promised some refuses a command without.
            self.payload = replace(
                change,
                charset=charset,
                plugin=self.plugin,
                attributes=client_attributes(change.attributes or (), options),
            ).build(capabilities)
        self.facts = replace(login, user=change.user, database=change.database, charset=charset)

    def start(self) -> Sequence[Action]:
        """The client's command goes on."""
        self.state = RelayState.VERDICT
        return Send(BACKEND, self.payload), Read(BACKEND)
