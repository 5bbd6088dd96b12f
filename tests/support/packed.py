# SPDX-License-Identifier: Apache-2.0
"""Compressed frames made and taken apart the obvious way, for tests."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import zstandard

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.wire import u8, u24
from tests.support.recording_client import Login, RecordingClient

__all__ = ["Packed", "PackedClient", "PackedSocket", "pack", "packed", "split", "unpacked"]

HEAD = 7

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "zstd": zstandard.ZstdCompressor(level=1).compress,
}
UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body),
}


@dataclass(frozen=True, slots=True)
class Packed:
    """One compressed frame: its number, what its head announces (0: stored), what it carries."""

    number: int
    size: int
    body: bytes

    def payload(self, algorithm: str) -> bytes:
        """What is in it."""
        return UNPACKERS[algorithm](self.body) if self.size else self.body


def pack(payload: bytes, number: int, algorithm: str | None, *, size: int | None = None) -> bytes:
    """One frame, stored without an `algorithm`; `size` lies about what it unpacks to."""
    body = payload if algorithm is None else PACKERS[algorithm](payload)
    announced = 0 if algorithm is None else len(payload)
    return u24(len(body)) + u8(number & 0xFF) + u24(announced if size is None else size) + body


def packed(data: bytes, algorithm: str | None, *, number: int = 0, each: int = 0xFFFFFF) -> bytes:
    """Frames of `each` bytes, counted from `number` on."""
    pieces = [data[at : at + each] for at in range(0, len(data), each)]
    return b"".join(pack(piece, number + n, algorithm) for n, piece in enumerate(pieces))


def split(data: bytes) -> list[Packed]:
    """The frames in `data`, which must be whole."""
    found = []
    while data:
        length = int.from_bytes(data[:3], "little")
        body = data[HEAD : HEAD + length]
        assert len(body) == length, "a frame is cut off"
        found.append(Packed(data[3], int.from_bytes(data[4:HEAD], "little"), body))
        data = data[HEAD + length :]
    return found


def unpacked(data: bytes, algorithm: str) -> bytes:
    """What the frames in `data` carry."""
    return b"".join(frame.payload(algorithm) for frame in split(data))


class PackedSocket:
    """A socket whose other end speaks compressed frames; checks how they are numbered."""

    def __init__(self, sock: socket.socket, algorithm: str) -> None:
        self.sock = sock
        self.algorithm = algorithm
        self._held = b""  # received, not a whole frame yet
        self._unpacked = b""
        self._cut = b""  # of what is to be sent: a head that is not whole yet
        self._left = 0
        self._number = 0
        self._after_ours = -1  # the last packet's number, if it was ours
        self._asked: list[int] = []  # the last frame's number of each command not answered yet

    def sendall(self, data: bytes) -> None:
        """In one frame for each command in it."""
        data = self._cut + data
        at = start = 0
        while at < len(data):
            step = min(self._left, len(data) - at)
            self._left -= step
            at += step
            if self._left or len(data) - at < 4:
                break
            number = data[at + 3]
            if number == 0 and self._after_ours != 255:
                self._send(data[start:at])
                self._number, start = 0, at
                self._asked.append(0)
            self._after_ours = number
            self._left = int.from_bytes(data[at : at + 3], "little")
            at += 4
        self._cut = data[at:]
        self._send(data[start:at])

    def _send(self, data: bytes) -> None:
        for at in range(0, len(data), 0xFFFFFF):
            piece = data[at : at + 0xFFFFFF]
            algorithm = self.algorithm if len(piece) >= 50 else None
            self.sock.sendall(pack(piece, self._number, algorithm))
            if self._asked:
                self._asked[-1] = self._number
            self._number = (self._number + 1) & 0xFF

    def recv(self, size: int) -> bytes:
        """At most `size` bytes, of one frame; b"" at the end."""
        while not self._unpacked:
            if (frame := self._frame()) is None:
                return b""
            if frame.number != self._number:
                # Sent ahead? Then this answers one of those commands; not all have an answer.
                while self._asked and (self._asked[0] + 1) & 0xFF != frame.number:
                    self._asked.pop(0)
                assert self._asked, f"frame {frame.number}, expected {self._number}"
            self._number = (frame.number + 1) & 0xFF
            self._after_ours = -1
            self._unpacked = frame.payload(self.algorithm)
        data, self._unpacked = self._unpacked[:size], self._unpacked[size:]
        return data

    def _frame(self) -> Packed | None:
        while True:
            length = HEAD + int.from_bytes(self._held[:3], "little")
            if len(self._held) >= max(length, HEAD):
                [frame] = split(self._held[:length])
                self._held = self._held[length:]
                return frame
            data = self.sock.recv(1 << 20)
            if not data:
                return None
            self._held += data

    def close(self) -> None:
        self.sock.close()

    def shutdown(self, how: int) -> None:
        self.sock.shutdown(how)

    def settimeout(self, seconds: float | None) -> None:
        self.sock.settimeout(seconds)


class PackedClient(RecordingClient):
    """A recording client that agrees on compression."""

    def __init__(self, host: str, port: int, login: Login, algorithm: str) -> None:
        flag = {"zlib": Capability.COMPRESS, "zstd": Capability.ZSTD_COMPRESSION}[algorithm]
        super().__init__(host, port, replace(login, capabilities=login.capabilities | flag))
        if flag not in self.capabilities:
            self.close()
            raise AssertionError(f"{algorithm} was not offered")
        self.socket = PackedSocket(self.socket, algorithm)  # type: ignore[assignment]
