# SPDX-License-Identifier: Apache-2.0
"""What a worker proves who it is with: TLS contexts of both sides, and its RSA key.

Made as a whole before anything is used, so that a certificate that cannot be read changes nothing.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hproxy.config.schema import Config
from hproxy.net.tls import (
    backend_context,
    client_context,
    ensure_certificate,
    fingerprint,
)
from hproxy.net.tls_params import TlsParams, make_context
from hproxy.protocols.base import Protocol
from hproxy.runtime.settings import rsa_key
from hproxy.session.services import Services

__all__ = ["Secured"]


@dataclass(frozen=True, slots=True)
class Secured:
    """Generated where none is configured."""

    client: ssl.SSLContext | None
    backend: ssl.SSLContext | None
    certificate: bytes
    """SHA-256 of the one shown to clients."""
    key: Any = field(repr=False)
    shown: Path | None = None
    """The file of the certificate shown to clients."""
    servers: dict[tuple[str, int, str], ssl.SSLContext] = field(default_factory=dict)
    """Of single backends: mysql_servers_ssl_params."""

    @classmethod
    def of(cls, config: Config, folder: Path, protocol: Protocol) -> Secured:
        """As `config` says; generated ones are kept in `folder`. Raises ConfigError."""
        tls = config.tls
        client, certificate, shown = None, b"", None
        if tls.client != "off":
            cert, key = tls.cert, tls.key
            if cert is None:
                cert, key = ensure_certificate(folder)
            client = client_context(cert, key, tls.ca, tls.min_version)
            certificate, shown = fingerprint(cert), cert
        mode = tls.backend
        if mode == "off" and any(row.use_ssl for row in config.servers):
            mode = "required"
        backend = backend_context(
            mode,
            ca=tls.backend_ca,
            cert=tls.backend_cert,
            key=tls.backend_key,
            min_version=tls.min_version,
        )
        servers = {}
        for row in config.mysql_servers_ssl_params:
            key_of = (row.hostname, row.port, row.username)
            servers[key_of] = make_context(TlsParams.of(row.model_dump()))
        return cls(client, backend, certificate, rsa_key(folder, protocol), shown, servers)

    def enter(self, services: Services) -> None:
        """What is shown and accepted from now on; connections that are open stay as they are."""
        services.client_tls, services.backend_tls = self.client, self.backend
        services.certificate, services.rsa_key = self.certificate, self.key
        services.server_tls = self.servers
        services.heard += 1  # the greeting may offer TLS, or no more
