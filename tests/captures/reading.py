# SPDX-License-Identifier: Apache-2.0
"""Golden conversations between real clients and servers, as text.

    # server: MariaDB 10.11.19          what answered, and other facts by name
    C> 0500000003...  # COM_QUERY      client to server: one frame, head included, in hex
    B> 0100000101     # 1 column       server to client; the remark is for people

A folder per server and version: a new version is a new folder. `record.py` makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["Conversation", "Frame", "conversations", "load"]

HERE = Path(__file__).parent


class Frame(NamedTuple):
    """One frame as it was on the wire."""

    client: bool  # the client sent it
    data: bytes
    remark: str = ""

    @property
    def payload(self) -> bytes:
        return self.data[4:]


@dataclass(slots=True)
class Conversation:
    """One connection, from greeting to close."""

    name: str
    facts: dict[str, str] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)

    def write(self) -> str:
        """The text form."""
        lines = [f"# {name}: {value}" for name, value in self.facts.items()]
        for frame in self.frames:
            line = f"{'C' if frame.client else 'B'}> {frame.data.hex()}"
            lines.append(f"{line}  # {frame.remark}" if frame.remark else line)
        return "\n".join(lines) + "\n"


def read(name: str, lines: Iterable[str]) -> Conversation:
    conversation = Conversation(name)
    for line in lines:
        text, _, remark = (part.strip() for part in line.partition("#"))
        if text:
            side, _, digits = text.partition(">")
            frame = Frame({"C": True, "B": False}[side], bytes.fromhex(digits), remark)
            conversation.frames.append(frame)
        elif not conversation.frames and ":" in remark:
            fact, _, value = remark.partition(":")
            conversation.facts[fact] = value.strip()
    return conversation


def load(name: str) -> Conversation:
    """The conversation in `tests/captures/<name>.txt`."""
    with (HERE / f"{name}.txt").open(encoding="utf-8") as lines:
        return read(name, lines)


def conversations(protocol: str) -> list[Conversation]:
    """All of them under `tests/captures/<protocol>`, in a stable order."""
    paths = sorted((HERE / protocol).glob("*/*.txt"))
    return [load(str(path.relative_to(HERE).with_suffix(""))) for path in paths]
