# SPDX-License-Identifier: Apache-2.0
"""Tokens: what they allow, where they come from, and what is kept of one that was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hproxy.config.schema import Config
from hproxy.control.model import Role
from hproxy.control.tokens import Tokens, kept_token, token_path
from hproxy.errors import ConfigError

FULL, READER = "0123456789abcdef", "fedcba9876543210"


def config(folder: Path, **http: Any) -> Config:
    return Config.model_validate(
        {"server": {"data_dir": folder}, "proxy": {"backends": ["a:1"]}, "http": http}
    )


@pytest.mark.parametrize(
    ("header", "role"),
    [
        (f"Bearer {FULL}", Role.OPERATOR),
        (f"bearer   {FULL} ", Role.OPERATOR),
        (f"Bearer {READER}", Role.READER),
        (f"Basic {FULL}", Role.NOBODY),
        (FULL, Role.NOBODY),
        (f"Bearer {FULL}x", Role.NOBODY),
        (f"Bearer {FULL[:-1]}", Role.NOBODY),
        ("Bearer", Role.NOBODY),
        ("Bearer ", Role.NOBODY),
        ("", Role.NOBODY),
        ("Bearer \udcff\udcfe", Role.NOBODY),
    ],
)
def test_what_a_header_allows(header: str, role: Role) -> None:
    tokens = Tokens(FULL, READER)
    assert tokens.role(header.encode("utf-8", "surrogateescape")) is role


def test_no_token_allows_nothing() -> None:
    for header in (b"Bearer ", b"Bearer", b"", b"Bearer None"):
        assert Tokens(None).role(header) is Role.NOBODY
        assert Tokens("").role(header) is Role.NOBODY


def test_one_is_made_once_and_kept_for_this_user_only(tmp_path: Path) -> None:
    wanted = config(tmp_path / "data")
    token = kept_token(wanted)
    assert token is not None
    assert len(token) >= 32
    assert kept_token(wanted) == token
    path = token_path(wanted)
    assert path.read_text().strip() == token
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_that_is_given_is_not_kept(tmp_path: Path) -> None:
    assert kept_token(config(tmp_path, token=FULL)) == FULL
    assert list(tmp_path.iterdir()) == []


def test_one_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    wanted = config(tmp_path, token_file=path)
    with pytest.raises(ConfigError, match="No such file"):
        kept_token(wanted)
    path.write_text("short")
    with pytest.raises(ConfigError, match="at least 16") as raised:
        kept_token(wanted)
    assert "short" not in str(raised.value)
    path.write_text(f"  {FULL}\n")
    assert kept_token(wanted) == FULL


def test_there_may_be_no_place_for_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert kept_token(config(tmp_path / "file" / "data")) is None
