# SPDX-License-Identifier: Apache-2.0
"""MySQL and MariaDB, protocol 4.1: what the layers above need, as one object."""

from __future__ import annotations

from typing import Any

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_session import Session
from hproxy._native.reactor import Reactor
from hproxy.protocols.base import LoginResult, Protocol
from hproxy.protocols.mysql import auth, multiplexing, portable, shortcut, tethered
from hproxy.protocols.mysql.backend import BackendChange, BackendLogin
from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.frontend import ClientChange, ClientLogin
from hproxy.protocols.mysql.profile import meet, profile, split
from hproxy.protocols.mysql.refusal import error_packet, read_error, retryable
from hproxy.protocols.mysql.relay import RelayChange, RelayLogin
from hproxy.protocols.mysql.slow import interpret, kill_command, ok_packet, side_login, vouch

__all__ = ["PROTOCOL"]


def _channel(reactor: Reactor, fd: int, side: str, limit: int) -> Channel:
    return Channel(Endpoint(reactor, fd), side, limit)


def _session(
    client: Channel, backend: Channel, driver: Any, login: LoginResult, idle_timeout: float
) -> Session:
    agreed, _ = split(login.capabilities)
    return Session(
        client.detach(),
        backend.detach(),
        driver,
        deprecate_eof=Capability.DEPRECATE_EOF in agreed,
        query_attributes=Capability.QUERY_ATTRIBUTES in agreed,
        idle_timeout=idle_timeout,
    )


def _rsa_key(pem: bytes | None) -> tuple[Any, bytes]:
    key = auth.generate_rsa_key() if pem is None else auth.load_rsa_key(pem)
    return key, auth.private_pem(key)


PROTOCOL = Protocol(
    name="mysql",
    default_port=3306,
    channel=_channel,
    session=_session,
    error_packet=error_packet,
    read_error=read_error,
    relay_login=RelayLogin,
    relay_change=RelayChange,
    client_login=ClientLogin,
    client_change=ClientChange,
    backend_login=BackendLogin,
    backend_change=BackendChange,
    profile=profile,
    meet=meet,
    retryable=retryable,
    secret=auth.Secret.parse,
    rsa_key=_rsa_key,
    interpret=interpret,
    vouch=vouch,
    ok_packet=ok_packet,
    side_login=side_login,
    shortcut=shortcut,
    multiplexing=multiplexing,
    portable=portable,
    tethered=tethered,
    quit_command=bytes([Command.QUIT]),
    kill_command=kill_command,
)
