# SPDX-License-Identifier: Apache-2.0
"""What a protocol package offers to the rest of the program, and how it is found.

`hproxy.protocols.<name>.PROTOCOL` is one `Protocol`; nothing above this layer imports a
protocol package by name, so a new protocol is a new folder and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hproxy._native.channel import Channel
from hproxy._native.reactor import Reactor
from hproxy.errors import ConfigError, HProxyError
from hproxy.protocols.model import Login, SlowCommand

__all__ = ["LoginOptions", "LoginResult", "Protocol", "load_protocol"]


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """What a login machine must know of the connection and the configuration."""

    connection_id: int
    """Ours: what the client learns as its connection id."""
    client_host: str = ""
    """The client's address, for connection attributes and error texts."""
    client_tls: str = "off"
    """off, preferred or required."""
    client_secure: bool = False
    """The client came over a Unix socket: clear passwords are as safe as under TLS."""
    backend_tls: str = "off"
    """off, preferred, required, verify_ca or verify_identity."""
    backend_secure: bool = False
    """The backend is reached over a Unix socket."""
    default_plugin: str = "caching_sha2_password"
    server_version: str | None = None
    """Shown to clients in table mode; None shows the backend's."""
    rsa_key: Any = None
    """Our RSA private key, for passwords sent to us without TLS."""
    certificate: bytes = b""
    """SHA-256 of the certificate clients see under TLS, for those who want it vouched for."""
    client_compression: tuple[str, ...] = ()
    """Algorithms offered to the client: zlib, zstd."""
    backend_compression: tuple[str, ...] = ()
    """Algorithms asked of the backend, the best first."""
    compression_level: int = 3
    attributes: bool = True
    """Add _client_ip and the like to the connection attributes."""
    decoy: Callable[[bytes], Any] | None = None
    """The account that an unknown name is checked against, by that name."""
    scrambles: tuple[bytes, ...] = ()
    """What the client was challenged with so far, where somebody else began its login."""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """What a finished login machine knows."""

    user: bytes
    database: bytes = b""
    capabilities: int = 0
    """Agreed with this peer, the MariaDB extension in the upper 32 bits."""
    charset: int = 0
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    credential: Any = None
    """What opens backends in this user's name, in the protocol's own form; None in relay mode."""
    account: Any = None
    backend_id: int = 0
    """The backend's own connection id."""
    scramble: bytes = b""
    """What the last password of this connection was mixed with; COM_CHANGE_USER needs it."""
    plugin: bytes = b""
    compression: Any = None
    """The codec agreed on with this peer, in force from the OK on; None for none. Where the machine
    itself sends or reads that OK, it starts compression by itself."""
    proof: bytes = b""
    """What our OK says to vouch for our certificate (MariaDB 11.4+ clients want it)."""
    reply: bytes = b""
    """The backend's OK packet."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One wire protocol, as the layers above see it."""

    name: str
    default_port: int
    channel: Callable[[Reactor, int, str, int], Channel]
    """(reactor, descriptor, side, packet limit in bytes) -> Channel that owns the descriptor."""
    session: Callable[[Channel, Channel, Any, LoginResult, float], Any]
    """(client, backend, driver, login in force, idle timeout in s) -> Session, not started."""
    error_packet: Callable[[HProxyError], bytes]
    read_error: Callable[[bytes], tuple[int, str]]
    """(number, text) of an error packet; (0, "") when it is none."""
    relay_login: Callable[[LoginOptions], Login]
    """Both sides at once; its first event is the backend's greeting."""
    relay_change: Callable[[LoginOptions, LoginResult, bytes], Login]
    client_login: Callable[[LoginOptions, Any], Login]
    """(options, backend profile): we are the server."""
    client_change: Callable[[LoginOptions, LoginResult, bytes], Login]
    backend_login: Callable[[LoginOptions, LoginResult], Login]
    """We are the client; LoginResult says who, and which capabilities to agree on."""
    backend_change: Callable[[LoginOptions, LoginResult, LoginResult], Login]
    """(options, the login in force, the one wanted)."""
    profile: Callable[[bytes], Any]
    """What a backend's greeting says it can do."""
    meet: Callable[[list[Any]], Any]
    """The profile that all of several backends fulfil."""
    retryable: Callable[[int], bool]
    """Whether another backend may do better after this error number at login."""
    secret: Callable[[str], Any]
    rsa_key: Callable[[bytes | None], tuple[Any, bytes]]
    """(PEM or None) -> (key, PEM); generates one when there is none."""
    interpret: Callable[[bytes, LoginResult], SlowCommand]
    vouch: Callable[[LoginResult, bytes], bytes]
    """(login, the backend's OK) -> the OK for the client, with our proof in it."""
    ok_packet: Callable[[LoginResult], bytes]
    side_login: Callable[[LoginResult, tuple[bytes, bytes] | None], LoginResult | None]
    """Who to be on a side connection: the monitor account, or the user if its password is known."""
    shortcut: Any
    """Module of logins like ones that were seen before, for sessions that share connections."""
    multiplexing: Any
    """Module of what sessions that share backend connections need."""
    portable: Any
    """Module of what takes such a session apart and puts it together in another process."""
    tethered: Any
    """Module of the same for one that its backend connection goes with."""
    quit_command: bytes
    kill_command: Callable[[int, bool], bytes]
    """(backend connection id, query only) -> payload."""


def load_protocol(name: str) -> Protocol:
    """Find the protocol package `name`. Raises ConfigError."""
    try:
        module = import_module(f"hproxy.protocols.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "this version does not speak the protocol", key="proxy.mode", value=name
        ) from error
    protocol: Protocol = module.PROTOCOL
    return protocol
