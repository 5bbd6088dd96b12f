# SPDX-License-Identifier: Apache-2.0
"""Login in table mode, client's side: we are the server and know the accounts.

    greeting ──> RESPONSE ── SSL request ──> SECURING ──> RESPONSE
                    │ response
                 LOOKUP ──> check ── wrong plugin for this account ──> SWITCHED ──> check
                              ├ accepted, refused ──────────────────────────────> ENDED
                              └ sha2 needs the password itself ──> FULL
                                   FULL ── under TLS: the password ───> CHECKING ──> ENDED
                                     └ asks for our key ──> SEALED ── decrypt ──┘

A password that is checked against a "$A$" hash is CHECKING meanwhile, which takes long; others
are judged at once.

An unknown user goes the same way as some account with a wrong guess, step by step: always the
same way for the same name (`UserTable.decoy`). So does an account bound to TLS without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum, auto
from typing import Any, ClassVar

from hproxy.errors import AuthError, ClientError
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import (
    AccountFound,
    Action,
    Done,
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
from hproxy.protocols.mysql.compression import agree, flags
from hproxy.protocols.mysql.constants import Capability, ServerStatus
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from hproxy.protocols.mysql.machine import Machine, Row, read_change
from hproxy.protocols.mysql.profile import STRIPPED, Profile, split, wide
from hproxy.protocols.mysql.shortcut import Shortcut

__all__ = ["ClientChange", "ClientLogin", "ClientState"]

CLIENT = Side.CLIENT

# Without these there is no protocol to speak: every client since 4.1 has them.
NEEDED = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION
OURS = NEEDED | Capability.PLUGIN_AUTH | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
# One password each: a second factor is the backends' to ask for.
NOT_OURS = Capability.MULTI_FACTOR_AUTHENTICATION
_NO_STATUS = ServerStatus(0)

# Whom an unknown name is checked against: the same work, the same answer.
NOBODY = auth.Secret.parse(auth.new_scramble())


class ClientState(IntEnum):
    """Where the client's login stands; each name is what is awaited."""

    GREETING = auto()
    RESPONSE = auto()
    SECURING = auto()
    LOOKUP = auto()
    SWITCHED = auto()
    FULL = auto()
    SEALED = auto()
    CHECKING = auto()
    ENDED = auto()


class ClientLogin(Machine):
    """Greets a client with a backend's profile and checks its password."""

    def __init__(self, options: LoginOptions, profile: Profile) -> None:
        super().__init__(ClientState.GREETING)
        self.options = options
        self.secure = options.client_secure
        self.tls_done = False
        self._given = list(options.scrambles)
        self.scramble = self._draw()
        self.shortcut: Shortcut | None = None
        self.plugin = auth.PLUGINS[options.default_plugin.encode()]
        self.answer = b""
        self.account: Any = None
        self.likeness: Any = None
        self.other: auth.Secret | None = None
        """A second password that is as good, until it was tried."""
        self.password = b""
        self.secret = NOBODY
        self.facts = LoginResult(user=b"")
        offered = (profile.capabilities | OURS) & ~NOT_OURS & ~STRIPPED
        offered |= flags(options.client_compression)
        if options.client_tls != "off":
            offered |= Capability.SSL
        version = options.server_version
        self.greeting = Greeting(
            server_version=profile.server_version if version is None else version.encode(),
            thread_id=options.connection_id,
            scramble=self.scramble,
            capabilities=offered,
            charset=profile.charset,
            status=profile.status,
            plugin=self.plugin.name,
            mariadb=profile.mariadb,
        )

    def _draw(self, length: int = auth.SCRAMBLE_BYTES) -> bytes:
        given = self._given.pop(0) if self._given else b""
        return given if len(given) == length else auth.new_scramble(length)

    def start(self) -> Sequence[Action]:
        """Greet."""
        return self.to(ClientState.RESPONSE, Send(CLIENT, self.greeting.build()), Read(CLIENT))

    def on_response(self, event: PacketArrived) -> Sequence[Action]:
        """The client's response, or its wish for TLS first."""
        offered = self.greeting.capabilities
        if SslRequest.matches(event.payload):
            if Capability.SSL not in offered or self.tls_done:
                raise ClientError("TLS was not offered", code="malformed")
            return self.to(ClientState.SECURING, StartTls(CLIENT))
        if self.options.client_tls == "required" and not self.secure:
            error = ClientError("connections must use TLS", code="tls_required")
            return self.to(ClientState.ENDED, Refuse(error))
        response = HandshakeResponse.parse(event.payload)
        agreed = response.capabilities & offered & ~STRIPPED
        if NEEDED & ~agreed:
            raise ClientError("a client older than MySQL 4.1", code="malformed")
        self.answer = response.auth_response
        level, wish = self.options.compression_level, response.zstd_level
        packing = agree(response.capabilities, offered, level, wish)
        self.facts = LoginResult(
            user=response.user,
            database=response.database,
            capabilities=wide(agreed, response.mariadb & self.greeting.mariadb),
            charset=response.charset,
            attributes=response.attributes,
            compression=None if packing is None else packing.codec,
        )
        self.client_plugin = response.plugin or (
            b"" if Capability.PLUGIN_AUTH in agreed else auth.NATIVE
        )
        return self.to(ClientState.LOOKUP, Lookup(response.user))

    def on_secured(self, _: Secured) -> Sequence[Action]:
        """The response follows, now under TLS."""
        self.secure = self.tls_done = True
        return self.to(ClientState.RESPONSE, Read(CLIENT))

    def on_account(self, event: AccountFound) -> Sequence[Action]:
        """The account decides which plugin must be used; switch the client if it chose another."""
        self.account = event.account
        if self.account is not None and self.account.require_tls and not self.secure:
            self.account = None  # asked like anybody, whatever it proves
        self.likeness = self.account
        if self.account is None and self.options.decoy is not None:
            self.likeness = self.options.decoy(self.facts.user)
        if self.likeness is not None:
            self.secret, self.other = self.likeness.secret, self.likeness.additional
        wanted = self._choose()
        if wanted is None:
            return self._refuse()
        agreed, _ = split(self.facts.capabilities)
        switchable = Capability.PLUGIN_AUTH in agreed
        # libmariadb shows a plugin of its own choice no scramble of another one: its first
        # answer is then empty, and it waits for a switch, to this very plugin too.
        unasked = not self.answer and self.client_plugin != self.greeting.plugin
        if (
            wanted.name == self.client_plugin
            and len(self.scramble) == wanted.scramble_bytes
            and not (unasked and switchable)
        ):
            self.plugin = wanted
            return self._check()
        if not switchable:
            return self._refuse()
        self.plugin = wanted
        self.scramble = self._draw(wanted.scramble_bytes)
        data = self.scramble
        if wanted.scramble_bytes == len(self.greeting.scramble):
            data += b"\0"  # 20-byte scrambles end with a NUL on the wire, ed25519's do not
        switch = AuthSwitchRequest(wanted.name, data)
        return self.to(ClientState.SWITCHED, Send(CLIENT, switch.build()), Read(CLIENT))

    def _choose(self) -> auth.Plugin | None:
        """The account's plugin, else the client's if it can serve, else one that can."""
        if self.likeness is not None and self.likeness.plugin is not None:
            own = auth.PLUGINS.get(self.likeness.plugin.encode())
            return None if own is None or (own.reveals and not self.secure) else own
        named = auth.PLUGINS.get(self.client_plugin)
        candidates = [named, auth.PLUGINS[self.options.default_plugin.encode()]]
        candidates += [auth.PLUGINS[auth.NATIVE], auth.PLUGINS[auth.CACHING_SHA2]]
        for plugin in candidates:
            if plugin is None or self.secret.form not in plugin.serves:
                continue
            if not plugin.reveals or self.secure:
                return plugin
        return None

    def on_switched(self, event: PacketArrived) -> Sequence[Action]:
        """The answer under the plugin we asked for."""
        self.answer = event.payload
        return self._check()

    def _check(self) -> Sequence[Action]:
        if self.plugin.reveals and self.secret.is_slow:
            return self._check_password(auth.strip_nul(self.answer))
        learned = None if self.account is None else self._known
        digest = None if learned is None else learned.sha2_digest
        verdict = self.plugin.verify(self.secret, self.answer, self.scramble, digest)
        if not verdict.accepted and self.other is not None:
            verdict = self._try_other(verdict)
        if verdict.outcome is auth.Outcome.FULL_NEEDED:
            more = AuthMoreData(auth.FULL_AUTH_NEEDED).build()
            return self.to(ClientState.FULL, Send(CLIENT, more), Read(CLIENT))
        if not verdict.accepted or self.account is None:
            return self._refuse()
        if not self.tls_done and self._is_first:
            self.shortcut = self._shortcut(verdict)
        if self.plugin.name == auth.CACHING_SHA2 and self.answer not in (b"", b"\0"):
            fast = AuthMoreData(auth.FAST_AUTH_OK).build()
            return self._accept(verdict, Send(CLIENT, fast))
        return self._accept(verdict)

    @property
    def _known(self) -> auth.Credential | None:
        """What is known of the account's own password beside its secret."""
        account = self.account
        known: auth.Credential | None = account.learned
        return account.credential if known is None and not account.separate else known

    def _try_other(self, verdict: auth.Verdict) -> auth.Verdict:
        """The second password, where the first was not the one that was meant."""
        assert self.other is not None
        found = self.plugin.verify(self.other, self.answer, self.scramble, None)
        if found.accepted:
            self.secret, self.other = self.other, None
        return found if found.accepted or found.outcome is auth.Outcome.FULL_NEEDED else verdict

    def _shortcut(self, verdict: auth.Verdict) -> Shortcut | None:
        learned = None if verdict.credential is None else verdict.credential.sha2_digest
        stored = self.secret.digest_for(self.plugin.name, learned)
        if stored is None:
            return None
        own = self.account.plugin is not None or self.account.require_tls
        as_nobody = not own and self.secret.is_clear
        switched = self.state is ClientState.SWITCHED
        return Shortcut(self.plugin.name, stored, switched, as_nobody)

    def on_full(self, event: PacketArrived) -> Sequence[Action]:
        """The password itself, or the question for our public key."""
        if self.secure:
            return self._check_password(auth.strip_nul(event.payload))
        if event.payload != auth.REQUEST_PUBLIC_KEY:
            return self.on_sealed(event)  # it knows our key from an earlier login
        pem = AuthMoreData(auth.public_pem(self.options.rsa_key)).build()
        return self.to(ClientState.SEALED, Send(CLIENT, pem), Read(CLIENT))

    def on_sealed(self, event: PacketArrived) -> Sequence[Action]:
        """The password under our public key."""
        password = auth.decrypt_password(self.options.rsa_key, event.payload, self.scramble)
        return self._refuse() if password is None else self._check_password(password)

    @property
    def _is_first(self) -> bool:
        """Whether it is the account's own password that is being checked, not the second."""
        return self.likeness is None or self.secret is self.likeness.secret

    def _check_password(self, password: bytes) -> Sequence[Action]:
        self.password = password
        if self.secret.is_slow:
            return self.to(ClientState.CHECKING, Work(self.secret.password_steps(password)))
        return self._judge(self.secret.verify_password(password))

    def on_checked(self, event: Worked) -> Sequence[Action]:
        """The password was checked against a hash that is slow to make."""
        return self._judge(event.result)

    def _judge(self, verdict: auth.Verdict) -> Sequence[Action]:
        if not verdict.accepted and self.other is not None:
            self.secret, self.other = self.other, None
            return self._check_password(self.password)
        if not verdict.accepted or self.account is None:
            return self._refuse()
        return self._accept(verdict)

    def _accept(self, verdict: auth.Verdict, *before: Action) -> Sequence[Action]:
        learned, account = verdict.credential, self.account
        if self._is_first and learned is not None:
            known = self._known
            account.learned = learned if known is None else known | learned
        if not account.separate and (self._is_first or account.credential is None):
            account.credential = account.learned or learned
        facts = replace(
            self.facts,
            account=self.account,
            credential=self.account.credential,
            scramble=self.scramble,
            plugin=self.plugin.name,
            proof=self._proof(),
        )
        return self.to(ClientState.ENDED, *before, Done(facts))

    def _proof(self) -> bytes:
        """Without it MariaDB 11.4+ clients refuse a certificate that no authority signed."""
        if not (self.tls_done and self.options.certificate):
            return b""
        scramble, certificate = self.greeting.scramble, self.options.certificate
        return self.secret.certificate_proof(self.plugin.name, scramble, certificate) or b""

    def _refuse(self) -> Sequence[Action]:
        error = AuthError(
            user=self.facts.user.decode("utf-8", "replace"),
            host=self.options.client_host,
            using_password="YES" if self.answer not in (b"", b"\0") else "NO",
        )
        return self.to(ClientState.ENDED, Refuse(error))

    MAY_BE_EMPTY = frozenset({ClientState.SWITCHED, ClientState.FULL})
    AWAITS: ClassVar[Mapping[ClientState, Row]] = {
        ClientState.RESPONSE: (PacketArrived, CLIENT, on_response),
        ClientState.SECURING: (Secured, CLIENT, on_secured),
        ClientState.LOOKUP: (AccountFound, None, on_account),
        ClientState.SWITCHED: (PacketArrived, CLIENT, on_switched),
        ClientState.FULL: (PacketArrived, CLIENT, on_full),
        ClientState.SEALED: (PacketArrived, CLIENT, on_sealed),
        ClientState.CHECKING: (Worked, None, on_checked),
    }
    NEXT: ClassVar[Mapping[ClientState, frozenset[ClientState]]] = {
        ClientState.GREETING: frozenset({ClientState.RESPONSE, ClientState.LOOKUP}),
        ClientState.RESPONSE: frozenset(
            {ClientState.SECURING, ClientState.LOOKUP, ClientState.ENDED}
        ),
        ClientState.SECURING: frozenset({ClientState.RESPONSE}),
        ClientState.LOOKUP: frozenset(
            {ClientState.SWITCHED, ClientState.FULL, ClientState.CHECKING, ClientState.ENDED}
        ),
        ClientState.SWITCHED: frozenset(
            {ClientState.FULL, ClientState.CHECKING, ClientState.ENDED}
        ),
        ClientState.FULL: frozenset({ClientState.SEALED, ClientState.CHECKING, ClientState.ENDED}),
        ClientState.SEALED: frozenset({ClientState.CHECKING, ClientState.ENDED}),
        ClientState.CHECKING: frozenset({ClientState.CHECKING, ClientState.ENDED}),
    }


class ClientChange(ClientLogin):
    """COM_CHANGE_USER in table mode: the same check, from the lookup on."""

    def __init__(self, options: LoginOptions, login: LoginResult, payload: bytes) -> None:
        agreed, mariadb = split(login.capabilities)
        super().__init__(options, Profile(b"", agreed, mariadb, login.charset, _NO_STATUS))
        change = read_change(payload, agreed)
        self.scramble = login.scramble
        self.answer = change.auth_response
        self.client_plugin = login.plugin if change.plugin is None else change.plugin
        attributes = login.attributes if change.attributes is None else change.attributes
        self.facts = LoginResult(
            user=change.user,
            database=change.database,
            capabilities=login.capabilities,
            charset=login.charset if change.charset is None else change.charset,
            attributes=attributes,
        )

    def start(self) -> Sequence[Action]:
        """Everything was said in the command."""
        return self.to(ClientState.LOOKUP, Lookup(self.facts.user))
