# SPDX-License-Identifier: Apache-2.0
"""What a session with a connection of its own tells of its statements, and what it keeps for it."""

from __future__ import annotations

import pytest

from hproxy._native.notes import Notes
from tests.native.responses import err, framed, ok
from tests.native.rig import Rig, packet

OK, ERR = framed([ok()]), framed([err()])
PREPARE, CLOSE, RESET = b"\x16", b"\x19", packet(b"\x1f")
LAST = b"\xff\xff\xff\xff"
TEXTS_LIMIT, MOST_TEXTS = 1 << 20, 1024


def prepared(number: int) -> bytes:
    """The answer to a COM_STMT_PREPARE without parameters and columns."""
    return framed([b"\0" + number.to_bytes(4, "little") + bytes(7)])


def execute(number: bytes) -> bytes:
    return b"\x17" + number + b"\0\x01\0\0\0"


class Noted:
    """A session of which all is on record."""

    def __init__(self, slow_ns: int = 0, everything: bool = True) -> None:
        self.rig = Rig().start()
        self.notes = self.rig.session.notes = Notes(everything, slow_ns)

    def ask(self, payload: bytes, answer: bytes = OK) -> list[object]:
        """What the driver is told of it."""
        self.rig.driver.told.clear()
        assert self.rig.client_says(packet(payload))
        assert self.rig.say(answer) == answer
        return [what for kind, what in self.rig.driver.told if kind == "noted"]

    def prepare(self, text: bytes, number: int) -> None:
        assert self.ask(PREPARE + text, prepared(number)) == []

    def text(self, number: bytes) -> tuple[int | None, bytes | None]:
        (payload,) = self.ask(execute(number))
        assert isinstance(payload, bytes)
        return self.notes.statement(payload)


def test_statements() -> None:
    noted = Noted()
    assert noted.ask(b"\x03SELECT 1") == [b"\x03SELECT 1"]
    assert noted.ask(b"\x03SELEC", ERR) == [b"\x03SELEC"]
    assert noted.ask(b"\x02other") == [b"\x02other"]
    assert noted.ask(b"\x03KILL 5") == [b"\x03KILL 5"]  # by way of the driver
    assert noted.ask(b"\x0e") == []  # COM_PING


def test_slow_ones() -> None:
    noted = Noted(3600 * 10**9, everything=False)
    assert noted.ask(b"\x03SELECT 1") == []
    noted.notes.slow_ns = 1
    assert noted.ask(b"\x03SELECT 1") == [b"\x03SELECT 1"]
    assert noted.ask(b"\x02other") == []


def test_long_ones_are_cut() -> None:
    noted = Noted()
    (told,) = noted.ask(b"\x03" + b"x" * 200_000)
    assert isinstance(told, bytes)
    assert 0 < len(told) <= 65_536


def test_prepared_statements() -> None:
    noted = Noted()
    noted.prepare(b"SELECT ?", 7)
    noted.prepare(b"SELECT ?, ?", 8)
    assert noted.ask(PREPARE + b"SELEC", ERR) == []
    assert noted.text(b"\x07\0\0\0") == (7, b"SELECT ?")
    assert noted.text(LAST) == (8, b"SELECT ?, ?")
    assert noted.text(b"\x09\0\0\0") == (9, None)
    noted.rig.client_says(packet(CLOSE + b"\x07\0\0\0"))
    assert noted.text(b"\x07\0\0\0") == (7, None)
    noted.rig.client_says(RESET)
    noted.rig.say(OK)
    assert noted.text(b"\x08\0\0\0") == (8, None)
    assert noted.notes.statement(b"\x17") == (None, None)


@pytest.mark.parametrize(("size", "kept"), [(40_000, TEXTS_LIMIT // 40_000), (10, MOST_TEXTS)])
def test_texts_are_bounded(size: int, kept: int) -> None:
    noted = Noted()
    for number in range(kept + 2):
        noted.prepare(b"%0*d" % (size, number), number)
    assert noted.text((kept - 1).to_bytes(4, "little"))[1] is not None
    assert noted.text(kept.to_bytes(4, "little"))[1] is None
    noted.rig.client_says(packet(CLOSE + bytes(4)))
    noted.prepare(b"x" * size, kept)
    assert noted.text(kept.to_bytes(4, "little"))[1] == b"x" * size


def test_without() -> None:
    noted = Noted()
    noted.rig.session.notes = None
    assert noted.ask(b"\x03SELECT 1") == []
