# SPDX-License-Identifier: Apache-2.0
"""stats_tls_certificates: what is shown to clients and to backends, and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["rows"]


def rows(runtime: Runtime) -> list[tuple[Any, ...]]:
    """The server's certificate, its CA, and the one we show to backends, as far as there are."""
    tls = runtime.config.tls
    places: list[tuple[str, Path | None]] = [
        ("server", runtime.certificate),
        ("ca", tls.ca),
        ("backend", tls.backend_cert),
        ("backend_ca", tls.backend_ca),
    ]
    found = []
    for kind, path in places:
        if path is not None and path.exists():
            found.append((kind, str(path), *_facts(path), runtime.certificates_loaded_at))
    return found


def _facts(path: Path) -> tuple[Any, ...]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):  # replaced by something else since it was loaded
        return (None, None, None, None, None, None, None)
    ends = certificate.not_valid_after_utc
    return (
        _name(certificate.subject),
        _name(certificate.issuer),
        f"{certificate.serial_number:X}",
        certificate.not_valid_before_utc.strftime("%Y-%m-%d %H:%M:%S"),
        ends.strftime("%Y-%m-%d %H:%M:%S"),
        (ends - datetime.now(UTC)).days,
        certificate.fingerprint(hashes.SHA256()).hex().upper(),
    )


def _name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
