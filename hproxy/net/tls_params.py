# SPDX-License-Identifier: Apache-2.0
"""TLS towards one server, as its row of mysql_servers_ssl_params says.

With a CA the certificate is verified; the name in it is not, as ProxySQL's users expect.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hproxy.errors import ConfigError

__all__ = ["TlsParams", "make_context"]

VERSIONS = {
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
FIELDS = ("ca", "capath", "cert", "key", "cipher", "crl", "crlpath")


@dataclass(frozen=True, slots=True)
class TlsParams:
    """Paths, and what of TLS may be spoken; everything may be empty."""

    ca: str = ""
    capath: str = ""
    cert: str = ""
    key: str = ""
    cipher: str = ""
    crl: str = ""
    crlpath: str = ""
    tls_version: str = ""
    """A list, "TLSv1.2,TLSv1.3"; older ones are not spoken."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TlsParams:
        """Those of a row of mysql_servers_ssl_params."""
        named = {name: str(row[f"ssl_{name}"]) for name in FIELDS}
        return cls(**named, tls_version=str(row["tls_version"]))


def make_context(params: TlsParams) -> ssl.SSLContext:
    """A context for connections to servers. Raises ConfigError naming what cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    verify = bool(params.ca or params.capath)
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _limit(context, params.tls_version)
    with _naming("ssl_ca", params.ca or params.capath):
        if verify:
            context.load_verify_locations(params.ca or None, params.capath or None)
    with _naming("ssl_cert", params.cert):
        if params.cert:
            context.load_cert_chain(params.cert, params.key or None, password=_no_password)
    with _naming("ssl_crl", params.crl or params.crlpath):
        if params.crl or params.crlpath:
            context.load_verify_locations(params.crl or None, params.crlpath or None)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    with _naming("ssl_cipher", params.cipher):
        if params.cipher:
            context.set_ciphers(params.cipher)
    return context


def _limit(context: ssl.SSLContext, text: str) -> None:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not names:
        return
    versions = sorted(VERSIONS[name] for name in names if name in VERSIONS)
    if not versions:
        raise ConfigError(
            "none of these versions is spoken",
            key="mysql_servers_ssl_params.tls_version",
            value=text,
            hint="TLSv1.2, TLSv1.3",
        )
    context.minimum_version, context.maximum_version = versions[0], versions[-1]


class _naming:
    """Says which parameter is at fault when OpenSSL only says that something is."""

    def __init__(self, column: str, value: str) -> None:
        self._column = column
        self._value = value

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError):  # SSLError is an OSError
            raise ConfigError(
                f"cannot be used: {error}",
                key=f"mysql_servers_ssl_params.{self._column}",
                value=self._value,
            ) from error


def _no_password() -> str:
    """OpenSSL would ask on the terminal, and wait, for the password of an encrypted key."""
    raise ValueError("the key is encrypted: give one without a password")
