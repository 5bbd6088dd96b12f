# SPDX-License-Identifier: Apache-2.0
"""Runs a login machine with what this worker has: accounts, TLS contexts, keys, settings."""

from __future__ import annotations

from typing import Any

from hproxy.dial.converse import Channels, converse
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Event, Login, Side
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend

__all__ = ["login_options", "run_login"]


def login_options(
    services: Services, connection: Connection, backend: Backend | None
) -> LoginOptions:
    """What a login machine must know."""
    settings = services.settings
    tls = settings.backend_tls
    if backend is not None and backend.use_tls and tls == "off":
        tls = "required"
    return LoginOptions(
        connection_id=connection.id,
        client_host=connection.host,
        client_tls=settings.client_tls if services.client_tls is not None else "off",
        client_secure=connection.peer == "unix" or connection.client_secure,
        backend_tls="off" if backend is not None and backend.path is not None else tls,
        backend_secure=backend is not None and backend.path is not None,
        default_plugin=settings.default_plugin,
        server_version=settings.server_version,
        rsa_key=services.rsa_key,
        certificate=services.certificate,
        client_compression=settings.compression,
        backend_compression=backend.compression if backend is not None else (),
        compression_level=settings.compression_level,
        attributes=settings.attributes,
        decoy=services.users.decoy if backend is None else None,
    )


async def run_login(
    services: Services,
    machine: Login,
    channels: Channels,
    *,
    first: Event | None = None,
    backend: Backend | None = None,
    user: bytes = b"",
    host: str | None = None,
) -> LoginResult:
    """Run `machine` to its end. Raises Refusal, ClientError, BackendError.

    `user` is who logs in to `backend`, where that is known. `host` is the client's address, where
    it proves to us who it is: the guard counts for it."""

    async def secure(side: Side, channel: Any) -> None:
        if side is Side.CLIENT:
            await channel.start_tls(services.client_tls, server_side=True)
            return
        name = services.settings.backend_server_name or (backend.host if backend else None)
        context = services.tls_to(backend, user)
        await channel.start_tls(context, server_side=False, server_hostname=name or None)

    find = services.users.find
    if host is None:
        return await converse(machine, channels, find=find, secure=secure, first=first)
    with services.guard.attempt(host) as attempt:
        return await converse(
            machine, channels, find=attempt.over(find), secure=secure, first=first,
            turn=services.heavy,
        )  # fmt: skip
