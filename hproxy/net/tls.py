# SPDX-License-Identifier: Apache-2.0
"""TLS contexts for both sides, and the certificate made at first start.

Without a configured certificate one is generated once and kept in the data directory, so
that clients may pin it; generation is atomic (written aside, then renamed).
"""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hproxy.errors import ConfigError

__all__ = [
    "backend_context",
    "client_context",
    "ensure_certificate",
    "fingerprint",
    "write_private",
]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_LIFETIME = datetime.timedelta(days=3650)


def client_context(
    cert: Path, key: Path | None, ca: Path | None = None, min_version: str = "1.2"
) -> ssl.SSLContext:
    """The context we show to clients; with `ca`, client certificates are verified if sent.

    Raises ConfigError naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[min_version]
    # Tickets would be sent after the handshake and cost every login a write nobody reads.
    context.num_tickets = 0
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot use the certificate: {error}",
            key="tls.cert",
            value=str(cert),
            hint="give a PEM certificate and its key, readable by hproxy",
        ) from error
    if ca is not None:
        _load_ca(context, ca, "tls.ca")
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def backend_context(
    mode: str,
    *,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    min_version: str = "1.2",
) -> ssl.SSLContext | None:
    """The context for backends; None when `mode` is "off". Raises ConfigError."""
    if mode == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[min_version]
    context.check_hostname = mode == "verify_identity"
    context.verify_mode = (
        ssl.CERT_REQUIRED if mode in ("verify_ca", "verify_identity") else ssl.CERT_NONE
    )
    if ca is not None:
        _load_ca(context, ca, "tls.backend_ca")
    elif context.verify_mode is ssl.CERT_REQUIRED:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if cert is not None:
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"cannot use the certificate: {error}", key="tls.backend_cert", value=str(cert)
            ) from error
    return context


def ensure_certificate(folder: Path) -> tuple[Path, Path]:
    """Paths of (certificate, key) in `folder`, generated when missing. Raises ConfigError."""
    cert, key = folder / "server-cert.pem", folder / "server-key.pem"
    if not (cert.exists() and key.exists()):
        cert_pem, key_pem = _generate()
        write_private(key, key_pem)
        write_private(cert, cert_pem, mode=0o644)
    return cert, key


def fingerprint(cert: Path) -> bytes:
    """SHA-256 of the first certificate in `cert`, in DER form."""
    return x509.load_pem_x509_certificate(cert.read_bytes()).fingerprint(hashes.SHA256())


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `path` atomically with `mode`, making its folder. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                os.fchmod(out.fileno(), mode)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot write: {error.strerror}",
            key="server.data_dir",
            value=str(path.parent),
            hint="name a folder hproxy may write to",
        ) from error


def _load_ca(context: ssl.SSLContext, ca: Path, key: str) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the CA file: {error}", key=key, value=str(ca)) from error


def _no_password() -> str:
    """OpenSSL would ask on the terminal, and wait, for the password of an encrypted key."""
    raise ValueError("the key is encrypted: give one without a password")


def _generate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hproxy auto-generated")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.DNSName(socket.gethostname() or "localhost")]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        cert.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
