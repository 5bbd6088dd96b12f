# SPDX-License-Identifier: Apache-2.0
"""Which service is meant: options before environment before configuration; and its token."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from hproxy.cli.remote import Remote, cell, columns
from hproxy.control.client import Target
from hproxy.errors import AdminError, ConfigError
from hproxy.net.tls import ensure_certificate
from tests.unit.cli.conftest import Asking

SECRET = "a-token-long-enough-for-everybody"
FILE = '[http]\naddress = "0.0.0.0:7001"\n'


def found(environ: dict[str, str] | None = None, **given: Any) -> Remote:
    return Remote.of(given, environ or {})


def written(folder: Path, text: str) -> str:
    path = folder / "h.toml"
    path.write_text(text)
    return str(path)


def test_options_count_before_the_environment() -> None:
    environ = {"HPROXY_URL": "http://b:2", "HPROXY_TOKEN": "env"}
    assert found(environ).client.target == Target("b", 2)
    assert found(environ).client._token == "env"
    made = found(environ, url="http://a:1", token="option")
    assert (made.client.target, made.client._token) == (Target("a", 1), "option")


def test_a_file_that_is_named_counts_before_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, f'{FILE}token = "{SECRET}"\n')
    made = found({"HPROXY_URL": "http://b:2"}, config=path)
    assert (made.client.target, made.client._token) == (Target("127.0.0.1", 7001), SECRET)


def test_the_file_of_the_environment(tmp_path: Path) -> None:
    environ = {"HPROXY_CONFIG": written(tmp_path, FILE)}
    assert found(environ).client.target == Target("127.0.0.1", 7001)
    assert found(environ | {"HPROXY_URL": "http://b:2"}).client.target == Target("b", 2)


def test_defaults_and_options_of_the_environment(tmp_path: Path) -> None:
    environ = {"HPROXY_SERVER__DATA_DIR": str(tmp_path)}
    (tmp_path / "http.token").write_text(f"{SECRET}\n")
    made = found(environ)
    assert (made.client.target, made.client._token) == (Target("127.0.0.1", 6080), SECRET)
    environ["HPROXY_HTTP__ADDRESS"] = "[::]:7002"
    assert found(environ).client.target == Target("::1", 7002)
    environ["HPROXY_HTTP__ADDRESS"] = f"{tmp_path}/s"
    assert found(environ).client.target == Target(path=f"{tmp_path}/s")


def test_a_token_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(SECRET)
    path = written(tmp_path, f'{FILE}token_file = "{tmp_path}/t"\n')
    assert found(config=path).client._token == SECRET
    (tmp_path / "t").unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        found(config=path)


def test_no_address(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match=r"no http\.address"):
        found(config=written(tmp_path, '[http]\naddress = ""\n'))


def test_a_wrong_file_is_told(tmp_path: Path, asking: Asking) -> None:
    path = written(tmp_path, "[http]\nadress = 1\n")
    with pytest.raises(ConfigError):
        found(config=path)
    result = asking("ctl", "-c", path, "status")
    assert result.exit_code == 1
    assert "did you mean" in result.stderr


def test_a_file_that_has_become_wrong_still_tells_where(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/http.token").write_text(SECRET)
    path = written(tmp_path, f'{FILE}[server]\ndata_dir = "data"\n[proxy]\nmode = "oracle"\n')
    made = found(config=path)
    assert (made.client.target, made.client._token) == (Target("127.0.0.1", 7001), SECRET)
    with pytest.raises(ConfigError, match="is not TOML"):
        found(config=written(tmp_path, f"{FILE}["))


def test_https_of_our_own_certificate(tmp_path: Path) -> None:
    pair = ensure_certificate(tmp_path)
    path = written(tmp_path, f'{FILE}cert = "{pair[0]}"\nkey = "{pair[1]}"\n')
    made = found(config=path).client
    assert made.target.secure
    assert made._context is not None
    assert made._context.verify_mode is ssl.CERT_REQUIRED
    assert made._context.get_ca_certs() or made._context.cert_store_stats()["x509"]


def test_https_elsewhere(tmp_path: Path) -> None:
    made = found(url="https://a", token="x").client._context
    assert made is not None
    assert made.check_hostname
    careless = found(url="https://a", token="x", insecure=True).client._context
    assert careless is not None
    assert careless.verify_mode is ssl.CERT_NONE
    with pytest.raises(AdminError, match="cannot be read"):
        found(url="https://a", token="x", ca=str(tmp_path / "none"))


def test_tables() -> None:
    rows: list[dict[str, object]] = [{"a": 1, "b": "x"}, {"a": 20, "b": None}]
    assert columns(rows, {"number": "a", "text": "b"}) == ["number  text", "     1  x", "    20  -"]
    assert columns([], {"a": "a"}) == ["(none)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (1.25, "1.2"), ("a\nb\t c", "a b c"), ("\x1b[", "\ufffd[")],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_long_cells() -> None:
    assert cell("x" * 10, 5) == "xxxx…"
