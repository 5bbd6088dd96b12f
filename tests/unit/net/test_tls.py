# SPDX-License-Identifier: Apache-2.0
"""TLS contexts, the certificate made once, and files nobody else may read."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hproxy.errors import ConfigError
from hproxy.net.tls import (
    backend_context,
    client_context,
    ensure_certificate,
    fingerprint,
    write_private,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return ensure_certificate(tmp_path)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> str:
    """A handshake in memory; the version agreed on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(10):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        version = ours.version() if theirs.version() else None
        if version is not None and ours.cipher() and theirs.cipher():
            return version
    raise AssertionError("no end of the handshake")


# -- the generated certificate ------------------------------------------------


def test_a_certificate_is_made_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    cert, key = ensure_certificate(folder)
    before = (cert.read_bytes(), key.read_bytes())
    assert ensure_certificate(folder) == (cert, key)
    assert (cert.read_bytes(), key.read_bytes()) == before
    assert (mode_of(key), mode_of(cert), mode_of(folder)) == (0o600, 0o644, 0o700)
    assert sorted(path.name for path in folder.iterdir()) == ["server-cert.pem", "server-key.pem"]


@pytest.mark.parametrize("lost", ["server-cert.pem", "server-key.pem"])
def test_half_a_certificate_is_made_anew(tmp_path: Path, lost: str) -> None:
    cert, key = ensure_certificate(tmp_path)
    (tmp_path / lost).unlink()
    ensure_certificate(tmp_path)
    client_context(cert, key)  # raises when they do not belong together


def test_what_the_certificate_says(certificate: tuple[Path, Path]) -> None:
    cert = x509.load_pem_x509_certificate(certificate[0].read_bytes())
    assert "hproxy" in cert.subject.rfc4514_string()
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert (cert.not_valid_after_utc - cert.not_valid_before_utc).days > 3600
    assert len(fingerprint(certificate[0])) == 32


def test_it_can_be_pinned(certificate: tuple[Path, Path]) -> None:
    pinned = ssl.create_default_context(cafile=certificate[0])
    assert shake(client_context(*certificate), pinned, "localhost") == "TLSv1.3"


# -- contexts -----------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_versions(certificate: tuple[Path, Path], version: str) -> None:
    server = client_context(*certificate, min_version=version)
    client = backend_context("required", min_version="1.2")
    assert client is not None
    assert shake(server, client) == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    if version == "1.2":
        assert shake(server, client) == "TLSv1.2"
    else:
        with pytest.raises(ssl.SSLError):
            shake(server, client)


def test_backend_modes(certificate: tuple[Path, Path]) -> None:
    server, (ca, _) = client_context(*certificate), certificate
    assert backend_context("off") is None
    for mode in ("preferred", "required"):
        anybody = backend_context(mode)
        assert anybody is not None
        shake(server, anybody, "elsewhere.example")
    known = backend_context("verify_ca", ca=ca)
    assert known is not None
    shake(server, known, "elsewhere.example")
    named = backend_context("verify_identity", ca=ca)
    assert named is not None
    shake(server, named, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(server, named, "elsewhere.example")
    stranger = backend_context("verify_ca")
    assert stranger is not None
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        shake(server, stranger, "localhost")


def test_a_client_certificate_is_verified_if_sent(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    other = ensure_certificate(tmp_path / "other")
    server = client_context(*certificate, ca=certificate[0])
    for cert, key in ((None, None), certificate):
        client = backend_context("required", cert=cert, key=key)
        assert client is not None
        shake(server, client)
    forged = backend_context("required", cert=other[0], key=other[1])
    assert forged is not None
    with pytest.raises(ssl.SSLError):
        shake(server, forged)


# -- files that cannot be used ------------------------------------------------


def refused(code: str, error: pytest.ExceptionInfo[ConfigError]) -> None:
    assert error.value.findings[0].key == code


def test_certificates_that_cannot_be_used(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    other, _ = ensure_certificate(tmp_path / "other")
    empty = tmp_path / "empty.pem"
    empty.touch()
    for bad in (tmp_path / "missing.pem", empty, tmp_path):
        with pytest.raises(ConfigError) as caught:
            client_context(bad, key)
        refused("tls.cert", caught)
        with pytest.raises(ConfigError) as caught:
            client_context(cert, key, ca=bad)
        refused("tls.ca", caught)
        with pytest.raises(ConfigError) as caught:
            backend_context("verify_ca", ca=bad)
        refused("tls.backend_ca", caught)
        with pytest.raises(ConfigError) as caught:
            backend_context("required", cert=bad, key=key)
        refused("tls.backend_cert", caught)
    with pytest.raises(ConfigError, match="mismatch"):
        client_context(other, key)


def test_an_encrypted_key_is_refused_and_nobody_is_asked(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """OpenSSL would wait for a password on the terminal."""
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match="the key is encrypted"):
        client_context(certificate[0], locked)


# -- private files ------------------------------------------------------------


def test_private_files_replace_whole_ones(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    write_private(path, b"one")
    path.chmod(0o644)
    write_private(path, b"two")
    assert (path.read_bytes(), mode_of(path)) == (b"two", 0o600)
    assert [entry.name for entry in path.parent.iterdir()] == ["key.pem"]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        ensure_certificate(tmp_path / "file")
    refused("server.data_dir", caught)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(ConfigError) as caught:
        write_private(tmp_path / "key.pem", b"x")
    refused("server.data_dir", caught)
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]
