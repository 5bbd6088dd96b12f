# SPDX-License-Identifier: Apache-2.0
"""Password proofs that need nothing but hashing, and the scrambles they are about."""

from typing import final

@final
class ScrambleSource:
    """Draws scrambles, 20 random bytes each without NUL and "$"."""

    def scramble(self) -> bytes:
        """The next one."""

def sha1(data: bytes) -> bytes:
    """The digest; for tests, hashlib is the one to use."""

def sha256(data: bytes) -> bytes:
    """The digest; for tests, hashlib is the one to use."""

def check(answer: bytes, scramble: bytes, stored: bytes) -> bool:
    """Whether `answer` proves the password of which `stored` is the double hash.

    SHA-1 (mysql_native_password) or SHA-256 (caching_sha2_password), by the length of `stored`.
    Raises ValueError for lengths that are neither.
    """
