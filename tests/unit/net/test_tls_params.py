# SPDX-License-Identifier: Apache-2.0
"""TLS towards each server: which row holds, what its columns do, what is refused."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from hproxy.errors import ConfigError
from hproxy.net.tls import ensure_certificate
from hproxy.net.tls_params import FIELDS, TlsParams, make_context


def row(host: str, user: str = "", port: int = 3306, **given: str) -> dict[str, Any]:
    columns = {f"ssl_{name}": "" for name in FIELDS} | {"tls_version": "", "comment": ""}
    return {"hostname": host, "port": port, "username": user} | columns | given


def test_a_row_of_the_table() -> None:
    params = TlsParams.of(row("a", ssl_ca="ca.pem", ssl_cipher="X", tls_version="TLSv1.3"))
    assert params == TlsParams(ca="ca.pem", cipher="X", tls_version="TLSv1.3")


def test_without_a_ca_nothing_is_verified() -> None:
    assert make_context(TlsParams()).verify_mode is ssl.CERT_NONE


def test_with_a_ca_the_certificate_is(tmp_path: Path) -> None:
    cert, key = ensure_certificate(tmp_path)
    context = make_context(TlsParams(ca=str(cert), cert=str(cert), key=str(key)))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.check_hostname


@pytest.mark.parametrize(
    ("text", "lowest", "highest"),
    [
        ("TLSv1.2", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
        ("TLSv1.3, TLSv1.2", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
        ("TLSv1,TLSv1.2", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
    ],
)
def test_versions(text: str, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> None:
    context = make_context(TlsParams(tls_version=text))
    assert (context.minimum_version, context.maximum_version) == (lowest, highest)


def test_ciphers() -> None:
    wanted = "ECDHE-RSA-AES128-GCM-SHA256"
    offered = [c["name"] for c in make_context(TlsParams(cipher=wanted)).get_ciphers()]
    assert wanted in offered
    assert "ECDHE-RSA-AES256-GCM-SHA384" not in offered


@pytest.mark.parametrize(
    ("params", "column"),
    [
        (TlsParams(ca="/nowhere/ca.pem"), "ssl_ca"),
        (TlsParams(cert="/nowhere/cert.pem"), "ssl_cert"),
        (TlsParams(crl="/nowhere/crl.pem"), "ssl_crl"),
        (TlsParams(cipher="NO-SUCH-CIPHER"), "ssl_cipher"),
        (TlsParams(tls_version="SSLv3"), "tls_version"),
    ],
)
def test_what_cannot_be_used_is_named(params: TlsParams, column: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_context(params)
    assert caught.value.findings[0].key == f"mysql_servers_ssl_params.{column}"
