# SPDX-License-Identifier: Apache-2.0
"""Login to a backend in a user's name: we are the client.

GREETING ── (SSL request) ──> SECURING ──> response ──> VERDICT
VERDICT ── OK, ERR ───────────────────────────────────> ENDED
   ├ switch to another plugin ── answer ──> VERDICT
   ├ sha2: fast path taken ───────────────> VERDICT (the OK follows)
   └ sha2: full authentication
        ├ under TLS or a Unix socket: the password ──> VERDICT
        └ else: ask for the key ──> KEY ── RSA ──────> VERDICT
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum, auto
from typing import ClassVar

from hproxy.errors import AuthError, BackendProtocolError, ConnectError
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import (
    Action,
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
from hproxy.protocols.mysql.compression import Agreed, choose
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    ChangeUser,
    ErrPacket,
    Greeting,
    HandshakeResponse,
)
from hproxy.protocols.mysql.machine import Machine, Row
from hproxy.protocols.mysql.profile import STRIPPED, client_attributes, split, wide

__all__ = ["BackendChange", "BackendLogin", "BackendState"]

BACKEND = Side.BACKEND
OK, MORE, SWITCH, ERR = 0x00, 0x01, 0xFE, 0xFF
# What we need of a server whatever the client agreed on.
OURS = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH
OPTIONAL = (
    Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.CONNECT_ATTRS
    | Capability.CONNECT_WITH_DB
)
# What changes how results look: a backend without them cannot serve a client that has them.
DECISIVE = (
    Capability.DEPRECATE_EOF
    | Capability.SESSION_TRACK
    | Capability.QUERY_ATTRIBUTES
    | Capability.OPTIONAL_RESULTSET_METADATA
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
)


class BackendState(IntEnum):
    """Where our login stands; each name is what is awaited."""

    GREETING = auto()
    SECURING = auto()
    VERDICT = auto()
    KEY = auto()
    ENDED = auto()


class BackendLogin(Machine):
    """Logs in with `wanted.user`, `.credential` and `.database`, agreeing on `.capabilities`."""

    def __init__(self, options: LoginOptions, wanted: LoginResult) -> None:
        super().__init__(BackendState.GREETING)
        self.options = options
        self.wanted = wanted
        self.credential: auth.Credential = wanted.credential
        self.secure = options.backend_secure
        self.plugin = b""
        self.scramble = b""
        self.response: HandshakeResponse | None = None
        self.packing: Agreed | None = None
        self.backend_id = 0

    def start(self) -> Sequence[Action]:
        """Nothing to say before the backend has."""
        return (Read(BACKEND),)

    def on_greeting(self, event: PacketArrived) -> Sequence[Action]:
        """Compose the response, and ask for TLS first if it is wanted."""
        if event.payload[0] == ERR:
            return self._refused(event.payload)
        greeting = Greeting.parse(event.payload)
        asked, mariadb = split(self.wanted.capabilities)
        offered = greeting.capabilities & ~STRIPPED
        if lacking := (asked & DECISIVE) & ~offered | (OURS & ~offered):
            return self._refuse(ConnectError(f"the backend lacks {lacking!r}", code="capabilities"))
        capabilities = (asked | OURS | OPTIONAL) & offered
        if not self.wanted.database:
            capabilities &= ~Capability.CONNECT_WITH_DB
        self.plugin, self.scramble = greeting.plugin, greeting.scramble
        self.backend_id = greeting.thread_id
        self.response = HandshakeResponse(
            capabilities=capabilities,
            user=self.wanted.user,
            database=self.wanted.database,
            attributes=client_attributes(self.wanted.attributes, self.options),
            charset=self.wanted.charset or greeting.charset,
            max_packet=1 << 30,
            mariadb=mariadb & greeting.mariadb,
        )
        wanted, level = self.options.backend_compression, self.options.compression_level
        self.packing = choose(greeting.capabilities, wanted, level)
        if self.packing is not None:
            # In the packets only: what we tell of as agreed is the same for every backend.
            capabilities |= self.packing.flag
        wants, has = self.options.backend_tls, Capability.SSL in greeting.capabilities
        if wants != "off" and has:
            request = replace(self.response, capabilities=capabilities).ssl_request.build()
            return self.to(BackendState.SECURING, Send(BACKEND, request), StartTls(BACKEND))
        if wants not in ("off", "preferred"):
            return self._refuse(ConnectError("the backend offers no TLS", code="tls"))
        return self._respond(capabilities)

    def on_secured(self, _: Secured) -> Sequence[Action]:
        """The response goes on, now under TLS."""
        assert self.response is not None
        self.secure = True
        packing = Capability(0) if self.packing is None else self.packing.flag
        return self._respond(self.response.capabilities | Capability.SSL | packing)

    def _respond(self, capabilities: Capability) -> Sequence[Action]:
        assert self.response is not None
        answer = self._first_answer()
        packet = replace(
            self.response,
            capabilities=capabilities,
            auth_response=answer,
            plugin=self.plugin,
            zstd_level=0 if self.packing is None else self.packing.level,
        )
        return self.to(BackendState.VERDICT, Send(BACKEND, packet.build()), Read(BACKEND))

    def _first_answer(self) -> bytes:
        """Under the plugin that was named, else under one that what we know can answer.

        A server whose account wants that one takes the answer as it is, any other switches; so
        it must not be left empty: that would be an empty password.
        """
        for plugin in (self.plugin, auth.NATIVE, auth.CACHING_SHA2):
            self.plugin = plugin
            if (answer := self._answer()) is not None:
                return answer
        return b""

    def _answer(self) -> bytes | None:
        plugin = auth.PLUGINS.get(self.plugin)
        if plugin is None:
            return None
        return plugin.respond(self.credential, self.scramble, self.secure)

    def on_verdict(self, event: PacketArrived) -> Sequence[Action]:
        """The backend says yes, no, or wants something more."""
        payload, kind = event.payload, event.payload[0]
        if kind == OK:
            capabilities, codec = self.wanted.capabilities, self.wanted.compression
            if self.response is not None:
                capabilities = wide(self.response.capabilities, self.response.mariadb)
                codec = None if self.packing is None else self.packing.codec
            facts = replace(
                self.wanted,
                capabilities=capabilities,
                scramble=self.scramble,
                plugin=self.plugin,
                backend_id=self.backend_id,
                compression=codec,
                reply=payload,
            )
            packed = () if self.packing is None else (Compress(BACKEND, codec),)
            return self.to(BackendState.ENDED, *packed, Done(facts))
        if kind == ERR:
            return self._refused(payload)
        if kind == SWITCH:
            switch = AuthSwitchRequest.parse(payload)
            self.plugin, self.scramble = switch.plugin, switch.scramble
            answer = self._answer()
            if answer is None:
                return self._refuse(self._unable())
            return self.to(BackendState.VERDICT, Send(BACKEND, answer), Read(BACKEND))
        if kind == MORE:
            return self._on_more(AuthMoreData.parse(payload).data)
        raise BackendProtocolError(f"login answered with a packet of kind {kind:#04x}")

    def _on_more(self, data: bytes) -> Sequence[Action]:
        if self.plugin == auth.CACHING_SHA2 and data == auth.FAST_AUTH_OK:
            return self.to(BackendState.VERDICT, Read(BACKEND))
        password = self.credential.password
        if password is None:
            return self._refuse(self._unable())
        if self.plugin == auth.PARSEC:
            signed = auth.parsec_response(password, self.scramble, data)
            return self.to(BackendState.VERDICT, Send(BACKEND, signed), Read(BACKEND))
        if self.plugin == auth.SHA256 and not self.secure:
            sealed = auth.encrypt_password(password, self.scramble, data)
            return self.to(BackendState.VERDICT, Send(BACKEND, sealed), Read(BACKEND))
        if self.plugin != auth.CACHING_SHA2 or data != auth.FULL_AUTH_NEEDED:
            raise BackendProtocolError(f"{self.plugin!r} asks for something unknown")
        if self.secure:
            return self.to(BackendState.VERDICT, Send(BACKEND, password + b"\0"), Read(BACKEND))
        return self.to(BackendState.KEY, Send(BACKEND, auth.REQUEST_PUBLIC_KEY), Read(BACKEND))

    def on_key(self, event: PacketArrived) -> Sequence[Action]:
        """The server's public key: the password goes under it."""
        if event.payload[0] == ERR:
            return self._refused(event.payload)
        pem = AuthMoreData.parse(event.payload).data
        sealed = auth.encrypt_password(self.credential.password or b"", self.scramble, pem)
        return self.to(BackendState.VERDICT, Send(BACKEND, sealed), Read(BACKEND))

    def _unable(self) -> AuthError:
        return AuthError(
            "the backend asks for a plugin that what is known of the password cannot answer",
            code="backend",
            plugin=self.plugin.decode("ascii", "replace"),
            hint="configure the password in clear text, or use TLS or RSA logins",
        )

    def _refused(self, payload: bytes) -> Sequence[Action]:
        refusal = ErrPacket.parse(payload)
        reason = refusal.message.decode("utf-8", "replace")
        error = ConnectError(reason, code="refused", number=refusal.number)
        return self.to(BackendState.ENDED, Refuse(error, payload))

    def _refuse(self, error: ConnectError | AuthError) -> Sequence[Action]:
        return self.to(BackendState.ENDED, Refuse(error))

    AWAITS: ClassVar[Mapping[BackendState, Row]] = {
        BackendState.GREETING: (PacketArrived, BACKEND, on_greeting),
        BackendState.SECURING: (Secured, BACKEND, on_secured),
        BackendState.VERDICT: (PacketArrived, BACKEND, on_verdict),
        BackendState.KEY: (PacketArrived, BACKEND, on_key),
    }
    NEXT: ClassVar[Mapping[BackendState, frozenset[BackendState]]] = {
        BackendState.GREETING: frozenset(
            {BackendState.SECURING, BackendState.VERDICT, BackendState.ENDED}
        ),
        BackendState.SECURING: frozenset({BackendState.VERDICT}),
        BackendState.VERDICT: frozenset(
            {BackendState.VERDICT, BackendState.KEY, BackendState.ENDED}
        ),
        BackendState.KEY: frozenset({BackendState.VERDICT, BackendState.ENDED}),
    }


class BackendChange(BackendLogin):
    """COM_CHANGE_USER to a backend connection in use."""

    def __init__(self, options: LoginOptions, login: LoginResult, wanted: LoginResult) -> None:
        super().__init__(options, replace(wanted, capabilities=login.capabilities))
        self.plugin, self.scramble = login.plugin, login.scramble
        self.backend_id = login.backend_id

    def start(self) -> Sequence[Action]:
        """The command says everything; servers usually answer with a switch."""
        agreed, _ = split(self.wanted.capabilities)
        answer = self._first_answer()
        change = ChangeUser(
            user=self.wanted.user,
            auth_response=answer,
            database=self.wanted.database,
            charset=self.wanted.charset,
            plugin=self.plugin,
            attributes=client_attributes(self.wanted.attributes, self.options),
        )
        self.state = BackendState.VERDICT
        return Send(BACKEND, change.build(agreed)), Read(BACKEND)
