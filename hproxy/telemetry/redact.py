# SPDX-License-Identifier: Apache-2.0
"""Statements as logs may show them: what can hold a password is shown without any value.

    SET PASSWORD FOR bob@'%' = 'x'  ──>  SET PASSWORD FOR bob@? = ?

Told by words that such statements have, wherever they stand: it rather hides too much.
"""

from __future__ import annotations

import re

from hproxy._native.digest import digest

__all__ = ["shown"]

TELLING = re.compile(
    rb"passw|passphrase|pwd|identified|credential|authentication_string|secret|mysql_users",
    re.IGNORECASE,
)
VERB = re.compile(rb"\s*[A-Za-z]*")
NO_BACKSLASH_ESCAPES = 2


def shown(text: bytes, modes: int = 0) -> str:
    """`text` for a log: digested where it may hold a password; `modes` as for the digest."""
    if TELLING.search(text):
        # Where a string ends must not be a matter of opinion: the client may be mistaken.
        found = {digest(digest(text, modes ^ other)) for other in (0, NO_BACKSLASH_ESCAPES)}
        verb = VERB.match(text)
        text = found.pop() if len(found) == 1 else b"%s ..." % (verb[0] if verb else b"")
    return text.decode("utf-8", "backslashreplace")
