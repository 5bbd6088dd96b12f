# SPDX-License-Identifier: Apache-2.0
"""What is left of a statement when its values are taken out, and its hash."""

from typing import final

from typing_extensions import Buffer

TEXT_BYTES: int  # of normalised text that are kept

@final
class Digester:
    """Reads one statement after the other; the fields are about the last one."""

    def __new__(cls) -> Digester: ...
    def read(self, sql: Buffer, modes: int = 0) -> bytes:
        """The normalised text, its first TEXT_BYTES; modes are those of the lexer."""
    @property
    def size(self) -> int:
        """Bytes of normalised text that are kept."""
    @property
    def total(self) -> int:
        """Bytes it has."""
    @property
    def truncated(self) -> bool: ...
    @property
    def comment_at(self) -> int:
        """Where the inside of the first comment begins, one that is neither code nor a hint nor a
        line; -1: there is none."""
    @property
    def comment_size(self) -> int: ...
    @property
    def low(self) -> int:
        """The lower half of a hash over all of the text and the modes.

        It differs from process to process: nobody outside can make two statements meet.
        """
    @property
    def high(self) -> int:
        """The upper half."""

def digest(sql: Buffer, modes: int = 0) -> bytes:
    """The normalised text of a statement, its first TEXT_BYTES."""

def first_comment(sql: Buffer, modes: int = 0) -> bytes:
    """The inside of the first comment that is neither code nor a hint nor a line."""

def stable_hash(text: Buffer) -> int:
    """64 bits to show a normalised text by: FNV-1a, the same everywhere and for ever.

    Not for tables: who wants two texts to meet can arrange it.
    """
