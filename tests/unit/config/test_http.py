# SPDX-License-Identifier: Apache-2.0
"""[http]: tokens that can be sent, pairs that belong together, the older name of the address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hproxy.config.load import load_config
from hproxy.config.schema import Config
from hproxy.errors import ConfigError

BACKEND = {"proxy": {"backends": ["a:1"]}}


def refused(**http: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(None, {"backend": "a:1", **{f"http.{k}": v for k, v in http.items()}}, {})
    return str(raised.value)


def made(**sections: Any) -> Config:
    return Config.model_validate(BACKEND | sections)


def test_it_listens_on_this_machine_only() -> None:
    assert [str(address) for address in made().http_listens] == ["127.0.0.1:6080"]


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        ({"http": {"address": ""}}, ""),
        ({"admin": {"address": ""}}, ""),
        ({"admin": {"address": ""}, "http": {"token": "x" * 16}}, ""),
        ({"admin": {"address": ""}, "http": {"address": ":8"}}, ":8"),
        ({"admin": {"address": "", "http_address": ":7"}}, ":7"),
        ({"admin": {"http_address": ""}}, ""),
        ({"admin": {"http_address": ":7"}}, ":7"),
        ({"admin": {"http_address": ":7"}, "http": {"address": ":8"}}, ":8"),
        ({"http": {"address": "127.0.0.1:1; [::1]:2 ;/run/h.sock"}},
         "127.0.0.1:1;[::1]:2;/run/h.sock"),
    ],
)  # fmt: skip
def test_where(sections: dict[str, Any], wanted: str) -> None:
    assert ";".join(map(str, made(**sections).http_listens)) == wanted


@pytest.mark.parametrize(
    ("admin", "http", "operated"), [("", "", False), (":1", "", True), ("", ":1", True)]
)
def test_operators_have_a_port(admin: str, http: str, operated: bool) -> None:
    config = made(admin={"address": admin}, http={"address": http})
    assert config.operated is operated


def test_a_token_is_long_and_sendable_and_never_told() -> None:
    assert "at least 16 characters" in refused(token="hush")
    assert "hush" not in refused(token="hush")
    assert "without blanks" in refused(token="hush hush hush hush")
    assert "hush" not in refused(read_token="hush\nhush hush hush")
    assert "hush" not in repr(made(http={"token": "hush" * 5}))


def test_what_belongs_together(tmp_path: Path) -> None:
    assert "http.cert is not" in refused(key=str(tmp_path))
    assert "give one of them" in refused(token="0123456789abcdef", token_file=str(tmp_path))


def test_files_must_be_there(tmp_path: Path) -> None:
    assert "does not exist" in refused(cert=str(tmp_path / "none.pem"))
    assert "is a folder" in refused(token_file=str(tmp_path))


def test_the_flag_and_the_short_name(tmp_path: Path) -> None:
    config = load_config(None, {"backend": "a:1", "http": ""}, {"HPROXY_HTTP": ":9"})
    assert config.http_listens == ()
    config = load_config(None, {"backend": "a:1", "http": None}, {"HPROXY_HTTP": ":9"})
    assert str(config.http_listens[0]) == ":9"
