# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: where they come from, and what one that is shown allows.

    http.token, or http.token_file, or http.token of data_dir      everything
    http.read_token                                                reading

All are compared every time, in constant time. A token nobody has given is made once and kept where
only this user can read it: `hproxy ctl` on this machine finds it there.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from hproxy.config.http import SHORTEST
from hproxy.config.schema import Config
from hproxy.control.model import Role
from hproxy.errors import ConfigError
from hproxy.net.tls import write_private

__all__ = ["Tokens", "kept_token", "token_path"]

NAME = "http.token"
LONGEST = 4096


class Tokens:
    """Those that count; `role` of a header."""

    def __init__(self, full: str | None, reader: str | None = None) -> None:
        self._known = [
            (_digest(token), role)
            for token, role in ((full, Role.OPERATOR), (reader, Role.READER))
            if token
        ]

    def role(self, header: bytes) -> Role:
        """What the value of an Authorization header allows."""
        scheme, _, token = header.strip().partition(b" ")
        shown = _digest(token.strip()) if scheme.lower() == b"bearer" else b""
        found = Role.NOBODY
        for digest, role in self._known:
            if hmac.compare_digest(digest, shown):
                found = max(found, role)
        return found


def _digest(token: str | bytes) -> bytes:
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).digest()


def token_path(config: Config) -> Path:
    """Where the token is that no option gives."""
    return config.http.token_file or config.server.state_dir / NAME


def kept_token(config: Config) -> str | None:
    """The token that may do everything; made if nobody has. None: there is no place to keep one.

    Raises ConfigError for a file that is named and cannot be used."""
    if config.http.token:
        return config.http.token
    path, named = token_path(config), config.http.token_file is not None
    try:
        with path.open("rb") as file:
            token = file.read(LONGEST).decode("utf-8", "replace").strip()
    except OSError as error:
        if named:
            raise _unusable(path, f"cannot be read: {error.strerror}") from error
        return _made(path) if isinstance(error, FileNotFoundError) else None
    if len(token) < SHORTEST:
        if named:
            raise _unusable(path, f"must hold a token of at least {SHORTEST} characters")
        return _made(path)
    return token


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(reason, key="http.token_file", value=str(path))


def _made(path: Path) -> str | None:
    token = secrets.token_urlsafe(32)
    try:
        write_private(path, f"{token}\n".encode())
    except ConfigError:
        return None
    return token
