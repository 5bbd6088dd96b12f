# SPDX-License-Identifier: Apache-2.0
"""How the text of a digest is written where it is listed: options of ProxySQL's.

    SELECT A1 FROM t2 WHERE b=NULL
      lowercase     select a1 from t2 where b=null
      no_digits     SELECT A? FROM t? WHERE b=NULL
      replace_null  SELECT A1 FROM t2 WHERE b=?

Decisions are made from the text as it is: this is done once for each, not for every statement.
Statements whose texts become the same are one row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DigestForm"]

DIGITS = re.compile(rb"[0-9]+")
# A name in quotes may be NULL; only the bare word is the value.
NULLS = re.compile(rb"(`[^`]*`|\"[^\"]*\")|(?<![\w$.@])NULL(?![\w$.])", re.IGNORECASE)
IS_NULL = re.compile(rb"\bIS (?:NOT )?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DigestForm:
    """The options of now."""

    longest: int = 2048
    """Bytes that are kept."""
    lowercase: bool = False
    no_digits: bool = False
    replace_null: bool = False

    def write(self, digest: bytes) -> bytes:
        """The text to list a digest by."""
        if self.replace_null:
            digest = NULLS.sub(lambda found: _value(digest, found), digest)
        if self.no_digits:
            digest = DIGITS.sub(b"?", digest)
        if self.lowercase:
            digest = digest.lower()
        return digest[: self.longest]


def _value(digest: bytes, found: re.Match[bytes]) -> bytes:
    """A quoted name and IS NULL stay, a value becomes one."""
    if found[1] is not None or IS_NULL.search(digest[: found.start()][-8:]):
        return found[0]
    return b"?"
