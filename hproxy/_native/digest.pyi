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
    def low(self) -> int:
        """The lower half of a hash over all of the text and the modes.

        It differs from process to process: nobody outside can make two statements meet.
        """
    @property
    def high(self) -> int:
        """The upper half."""

def digest(sql: Buffer, modes: int = 0) -> bytes:
    """The normalised text of a statement, its first TEXT_BYTES."""

def stable_hash(text: Buffer) -> int:
    """64 bits to show a normalised text by: FNV-1a, the same everywhere and for ever.

    Not for tables: who wants two texts to meet can arrange it.
    """
