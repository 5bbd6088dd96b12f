# SPDX-License-Identifier: Apache-2.0
"""Breaks good bytes in the ways that reach far: mostly valid frames, a few wrong ones."""

from __future__ import annotations

import random

__all__ = ["Mutator"]

TELLING = (0x00, 0x01, 0x03, 0x0A, 0x16, 0x17, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)
LENGTHS = (0, 1, 4, 5, 250, 251, 0xFFFF, 0x10000, 0xFFFFFE, 0xFFFFFF)


class Mutator:
    """The same `seed` gives the same inputs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def payload(self, seeds: list[bytes]) -> bytes:
        """One of `seeds` as it is, or with some bytes changed; rarely mere noise."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.03:
            return rng.randbytes(rng.randrange(80))
        data = bytearray(seeds[int(rng.random() * len(seeds))])
        if chance < 0.2:
            return bytes(data)
        for _ in range(1 if chance < 0.7 else rng.randrange(1, 6)):
            self.damage(data)
        return bytes(data)

    def damage(self, data: bytearray) -> None:
        rng = self.rng
        at = int(rng.random() * (len(data) + 1))
        kind = int(rng.random() * 6)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            data[at : at + 1] = bytes((TELLING[int(rng.random() * len(TELLING))],))
        elif kind == 2:
            data[at : at + 1] = bytes((int(rng.random() * 256),))
        elif kind == 3:
            data[at:at] = rng.randbytes(int(rng.random() * 12))
        elif kind == 4:
            del data[at : at + int(rng.random() * 8)]
        else:
            data[at:at] = data[at : at + int(rng.random() * 40)]

    def frames(self, frames: list[bytes]) -> bytes:
        """A stream of `frames` with a few of them wrong, missing, doubled or out of place."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.02:
            return rng.randbytes(int(rng.random() * 200))
        out = list(frames)
        for _ in range(0 if chance < 0.1 else 1 if chance < 0.7 else 3):
            if not out:
                break
            at = int(rng.random() * len(out))
            kind = int(rng.random() * 8)
            if kind == 0:
                del out[at]
            elif kind == 1:
                out.insert(at, out[at])
            elif kind == 2:
                other = int(rng.random() * len(out))
                out[at], out[other] = out[other], out[at]
            elif kind == 3:
                frame = bytearray(out[at])
                if len(frame) > 3:
                    frame[3] = int(rng.random() * 256)
                out[at] = bytes(frame)
            elif kind == 4:
                length = LENGTHS[int(rng.random() * len(LENGTHS))]
                out[at] = length.to_bytes(3, "little") + out[at][3:]
            else:
                frame = bytearray(out[at])
                # The payload changes and the head says so: the frame itself stays whole.
                body = frame[4:]
                self.damage(body)
                out[at] = len(body).to_bytes(3, "little") + bytes(frame[3:4]) + bytes(body)
        data = b"".join(out)
        if chance > 0.95:
            data = data[: int(rng.random() * (len(data) + 1))]
        return data

    def pieces(self, data: bytes) -> list[bytes]:
        """Cut as a network might: often not at all."""
        rng = self.rng
        if rng.random() < 0.4 or len(data) < 2:
            return [data]
        out: list[bytes] = []
        at = 0
        while at < len(data) and len(out) < 40:
            size = 1 + int(rng.random() * (8 if rng.random() < 0.5 else len(data)))
            out.append(data[at : at + size])
            at += size
        if at < len(data):
            out.append(data[at:])
        return out
