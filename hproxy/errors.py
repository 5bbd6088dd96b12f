# SPDX-License-Identifier: Apache-2.0
"""All error classes; a leaf that knows no protocol and imports nothing of ours.

Raise with keywords, never with finished prose: the sentence is built in `__str__` from
`summary` and the facts, so that logs, metrics and the peer's error packet use the same
words. `code` is stable and dotted; `docs/errors.md` has one section per code.

    HProxyError
      ConfigError            the operator's mistake
      ClientError            the client broke the protocol, or left
      AuthError              refused login
      RouteError             nowhere to send it
      PoolError -> PoolTimeout, ConnectError
      BackendError -> BackendProtocolError, BackendLost
      ScriptError  AdminError
      HandoverError -> ChannelClosed, RemoteError
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AdminError",
    "AuthError",
    "BackendError",
    "BackendLost",
    "BackendProtocolError",
    "ChannelClosed",
    "ClientError",
    "ConfigError",
    "ConfigFinding",
    "ConnectError",
    "HProxyError",
    "HandoverError",
    "PoolError",
    "PoolTimeout",
    "RemoteError",
    "RouteError",
    "ScriptError",
]


class HProxyError(Exception):
    """Base of all our errors: `code` (dotted, stable), `reason` (a clause) and facts by name."""

    code: ClassVar[str] = "internal"
    summary: ClassVar[str] = "internal error"

    def __init__(self, reason: str = "", /, *, code: str | None = None, **facts: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts
        self.full_code = f"{type(self).code}.{code}" if code else type(self).code

    def __str__(self) -> str:
        text = f"{self.summary}: {self.reason}" if self.reason else self.summary
        # Packets are carried for the peer; a line of a log is for people.
        shown = [f"{k}={v}" for k, v in self.facts.items() if not isinstance(v, bytes)]
        return f"{text} ({', '.join(shown)})" if shown else text


@dataclass(frozen=True, slots=True)
class ConfigFinding:
    """One mistake in a configuration: where it stands, what is wrong, what would be right."""

    source: str  # "file.toml:12", "env HPROXY_X", "flag --backend"
    key: str  # dotted; "" for the file as a whole
    message: str
    value: str | None = None  # as written; never a password
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.key}: {self.message}" if self.key else self.message
        if self.value is not None:
            text = f"{text}, got {self.value}"
        if self.source:
            text = f"{self.source}: {text}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(HProxyError):
    """The operator's mistake, or all of them: `findings`.

    A single one may be given by its facts: key, and source (file:line, env or flag), value, hint.
    """

    code = "config"
    summary = "configuration refused"

    def __init__(
        self,
        reason: str = "",
        /,
        *,
        findings: Iterable[ConfigFinding] = (),
        code: str | None = None,
        **facts: object,
    ) -> None:
        super().__init__(reason, code=code, **facts)
        self.findings = tuple(findings)
        if "key" in facts and not self.findings:
            wanted = ("source", "key", "value", "hint")
            given = {name: str(facts[name]) for name in wanted if name in facts}
            self.findings = (ConfigFinding(**({"source": "", "message": reason} | given)),)

    def __str__(self) -> str:
        if not self.findings:
            return super().__str__()
        text = self.summary
        if len(self.findings) == 1:
            return f"{text}: {self.findings[0]}"
        return "\n".join((f"{text}:", *(f"  {finding}" for finding in self.findings)))


class ClientError(HProxyError):
    """The client broke the protocol, ran into a limit or went away."""

    code = "client"
    summary = "client error"


class AuthError(HProxyError):
    """Refused login; the text never says which half was wrong."""

    code = "auth"
    summary = "access denied"


class RouteError(HProxyError):
    """No policy answered, the hostgroup is empty, or a rule (named) blocked it."""

    code = "route"
    summary = "no route"


class PoolError(HProxyError):
    """A backend connection could not be had."""

    code = "pool"
    summary = "no backend connection"


class PoolTimeout(PoolError):
    """Waited longer than allowed. Facts: waited_ms."""

    code = "pool.timeout"
    summary = "timed out waiting for a backend connection"


class ConnectError(PoolError):
    """A backend was unreachable or refused our login. Facts: backend."""

    code = "pool.connect"
    summary = "cannot connect to backend"


class BackendError(HProxyError):
    """A backend misbehaved after we had a connection."""

    code = "backend"
    summary = "backend error"


class BackendProtocolError(BackendError):
    """Its bytes make no sense: the connection is discarded."""

    code = "backend.protocol"
    summary = "malformed packet from backend"


class BackendLost(BackendError):
    """It died while we needed it. Facts: phase, answered (did anything reach the client)."""

    code = "backend.lost"
    summary = "lost connection to backend"


class ScriptError(HProxyError):
    """A handler raised or overran its budget."""

    code = "script"
    summary = "script failed"


class AdminError(HProxyError):
    """A statement was refused on the operators' port."""

    code = "admin"
    summary = "admin statement refused"


class HandoverError(HProxyError):
    """An upgrade cannot go on; the old process keeps serving."""

    code = "handover"
    summary = "handover failed"


class ChannelClosed(HandoverError):
    """A process of the same service is gone, and does not do what it was asked."""

    code = "handover.closed"
    summary = "the other process is gone"


class RemoteError(HandoverError):
    """A process of the same service refuses; the fact `remote` is its error's code."""

    code = "handover.remote"
    summary = "refused by another process"
    original: HProxyError | None = None
    """The same as it was raised there, where it is an operator's."""
