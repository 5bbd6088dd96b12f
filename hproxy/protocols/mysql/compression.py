# SPDX-License-Identifier: Apache-2.0
"""zlib and zstd as the protocol uses them, and which of them two sides agree on.

    client's flags & ours offered ── both? zlib, as the servers do ──> Agreed (server's side)
    backend's flags & ours wanted ── the first of ours it has ───────> Agreed (client's side)

A frame is unpacked only to the length it announces: what would be longer is refused before it
is there. Each codec object serves every connection of the process, one frame after another.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import zstandard

from hproxy.protocols.mysql.constants import Capability

if TYPE_CHECKING:
    from hproxy._native.compression import Codec

__all__ = ["COMPRESSION", "Agreed", "Zlib", "Zstd", "agree", "choose", "codec", "flags"]

_FLAGS = {"zlib": Capability.COMPRESS, "zstd": Capability.ZSTD_COMPRESSION}
NONE = Capability(0)
COMPRESSION = _FLAGS["zlib"] | _FLAGS["zstd"]


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a login has agreed on with one side."""

    algorithm: str
    level: int

    @property
    def flag(self) -> Capability:
        """The capability that says so."""
        return _FLAGS[self.algorithm]

    @property
    def codec(self) -> Codec:
        """What packs and unpacks."""
        return codec(self.algorithm, self.level)


class Zlib:
    """Deflate in zlib's envelope."""

    algorithm = "zlib"

    def __init__(self, level: int) -> None:
        self.level = level

    def compress(self, data: Any) -> bytes:
        """Never fails; may come out longer."""
        return zlib.compress(data, self.level)

    def decompress(self, data: Any, size: int) -> bytes:
        """Exactly `size` bytes. Raises ValueError."""
        stream = zlib.decompressobj()
        try:
            # One more than may come: only then does it go on to its checksum.
            out = stream.decompress(data, size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(out) != size or not stream.eof or stream.unused_data:
            raise ValueError(f"it does not unpack to the {size} bytes it announces")
        return out


class Zstd:
    """Zstandard; every frame of the protocol is one of its frames."""

    algorithm = "zstd"

    def __init__(self, level: int) -> None:
        self.level = level
        self._packer = zstandard.ZstdCompressor(level=level)
        self._unpacker = zstandard.ZstdDecompressor()

    def compress(self, data: Any) -> bytes:
        """Never fails; may come out longer."""
        return self._packer.compress(data)

    def decompress(self, data: Any, size: int) -> bytes:
        """Exactly `size` bytes. Raises ValueError."""
        try:
            # A length in the data overrules max_output_size: it must be ours.
            said = zstandard.frame_content_size(data)
            out = b""
            if said in (-1, size):
                out = self._unpacker.decompress(data, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        if len(out) != size:
            raise ValueError(f"it does not unpack to the {size} bytes it announces")
        return out


@cache
def codec(algorithm: str, level: int) -> Codec:
    """The codec of this process for `algorithm` ("zlib" or "zstd") at `level`."""
    return Zlib(level) if algorithm == "zlib" else Zstd(level)


def flags(algorithms: Sequence[str]) -> Capability:
    """The capabilities that offer `algorithms`."""
    found = NONE
    for name in algorithms:
        found |= _FLAGS[name]
    return found


def agree(response: Capability, offered: Capability, level: int, wish: int) -> Agreed | None:
    """What a client has chosen of `offered`; at most `level`, and less if it wishes for less."""
    both = response & offered
    if Capability.COMPRESS in both:
        return Agreed("zlib", level)
    if Capability.ZSTD_COMPRESSION in both:
        return Agreed("zstd", min(level, wish) if wish else level)
    return None


def choose(greeting: Capability, wanted: Sequence[str], level: int) -> Agreed | None:
    """The first algorithm of `wanted` that the server offers."""
    for name in wanted:
        if _FLAGS[name] in greeting:
            return Agreed(name, level)
    return None
