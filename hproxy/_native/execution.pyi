# SPDX-License-Identifier: Apache-2.0
"""The head of an execution: where the types of its parameters are, or would be."""

from typing import final

from typing_extensions import Buffer

@final
class ParameterTypes:
    """The types bound to the "?" of a statement, two bytes each."""

    def __init__(self, wire: bytes) -> None: ...
    @property
    def wire(self) -> bytes: ...
    @property
    def shape(self) -> bytes:
        """One byte for each: the class that MySQL derives from it, 0 for NULL."""

def find_types(
    payload: Buffer, params: int, attributes: bool = False, total: int | None = None
) -> tuple[int, dict[str, int] | None]:
    """(1 found, 0 more bytes needed, -1 malformed; the layout when found).

    A layout is the struct ExecuteLayout of the map: offsets from the command byte, -1 without.
    `total` is the length of the whole packet when `payload` is only its beginning.
    """

def put_types(
    payload: Buffer, params: int, types: ParameterTypes, attributes: bool = False
) -> bytes:
    """An execution without types, with `types`. Raises ValueError where they have no place."""
