# SPDX-License-Identifier: Apache-2.0
"""The slow points: which commands the driver sees, and what it may do about them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hproxy._native.channel import Channel
from hproxy._native.mysql_session import Session
from tests.native.responses import framed, ok
from tests.native.rig import Rig, packet
from tests.support.chopper import Chop

SELECT = b"\x03SELECT 1"
OK = framed([ok()])

KILLS = [
    b"KILL 5",
    b"kill query 5",
    b"  \t\n KILL CONNECTION 12",
    b"((kill 5",
    b"/* who */ KILL 5",
    b"/*! KILL 5 */",
    b"/* " + b"long " * 200 + b"*/ KiLl 5",
    b"-- remark\nKILL 5",
    b"# remark\nKILL 5",
    b"          KILL 5",
    b"KILL" + b" " * 3000 + b"5",
    b"kill",
    b"KILLER",  # a false alarm: the slow lane reads it properly
]
NOT_KILLS = [
    b"SELECT 1",
    b"",
    b" ",
    b"k",
    b"KI",
    b"kil",
    b"keep",
    b"KIL 5",
    b"SELECT 'KILL 5'",
    b"/* app */ SELECT 1",
    b"-- remark\nSELECT 1",
    b"(SELECT 1)",
    b"x" * 10,
    b"\0\0\0\0\0\0\0\0\0",
    b"KILL 5 /* " + b"far too long to be looked at" * 200 + b"*/",
]


@pytest.mark.parametrize("sql", KILLS, ids=lambda sql: repr(sql[:20]))
@pytest.mark.parametrize("attributes", [False, True])
def test_the_driver_sees_what_may_be_a_kill(sql: bytes, attributes: bool, chop: Chop) -> None:
    rig = Rig(query_attributes=attributes).start()
    command = b"\x03" + (b"\x00\x01" if attributes else b"") + sql
    heard = b"".join(rig.client_says(piece) for piece in chop(packet(command)))
    assert rig.driver.told == [("slow", command)]
    assert heard == packet(command)  # this driver forwards it
    assert rig.say(OK) == OK
    assert rig.state == "idle"


@pytest.mark.parametrize("sql", NOT_KILLS, ids=lambda sql: repr(sql[:20]))
@pytest.mark.parametrize("attributes", [False, True])
def test_the_driver_sees_nothing_else(sql: bytes, attributes: bool, chop: Chop) -> None:
    rig = Rig(query_attributes=attributes).start()
    command = b"\x03" + (b"\x00\x01" if attributes else b"") + sql
    heard = b"".join(rig.client_says(piece) for piece in chop(packet(command)))
    assert heard == packet(command)
    assert rig.driver.told == []
    assert rig.say(OK) == OK
    assert rig.state == "idle"


def test_attributes_hide_no_kill(chop: Chop) -> None:
    rig = Rig(query_attributes=True).start()
    command = b"\x03\x01\x01\x00\x01\xfe\x00\x01a\x05valueKILL 5"
    for piece in chop(packet(command)):
        rig.client_says(piece)
    assert rig.driver.told == [("slow", command)]


@pytest.mark.parametrize("command", [b"\x0c\x05\x00\x00\x00", b"\x11user\0\0\0", b"\x11" * 64_000])
def test_whole_commands_are_shown(command: bytes) -> None:
    rig = Rig().start()
    sent = rig.client.send_some(packet(command)[:-1])
    rig.settle()
    assert rig.driver.told == []
    rig.client_says(packet(command)[sent:])
    assert rig.driver.told == [("slow", command)]
    assert rig.state == "response"


def test_a_change_of_user_that_is_too_long_is_refused() -> None:
    rig = Rig().start()
    rig.client.send_some(packet(b"\x11" * 70_000))
    rig.settle()
    assert rig.driver.told[0] == ("client fault", "COM_CHANGE_USER is too long")


def test_commands_before_a_slow_one_are_sent_first() -> None:
    rig = Rig().start()
    close = b"\x19\x01\x00\x00\x00"
    assert rig.ask(close, b"\x03KILL 5", SELECT) == packet(close) + packet(b"\x03KILL 5")
    rig.say(OK)
    assert rig.to_backend() == packet(SELECT)


def test_the_driver_may_forward_something_else() -> None:
    rig = Rig().start()
    rig.driver.on_slow = lambda session, payload: session.forward(payload.replace(b"5", b"77"))
    assert rig.ask(b"\x03KILL 5") == packet(b"\x03KILL 77")
    assert rig.state == "response"


def test_the_driver_may_answer_itself(chop: Chop) -> None:
    rig = Rig().start()
    rig.driver.on_slow = lambda session, _: session.reply([ok(3)])
    commands = [b"\x03KILL 5", b"\x03KILL 6", SELECT]
    heard = b"".join(rig.client_says(p) for p in chop(b"".join(map(packet, commands))))
    assert rig.to_client() == framed([ok(3)]) * 2
    assert heard == packet(SELECT)
    assert rig.driver.told == [("slow", b"\x03KILL 5"), ("slow", b"\x03KILL 6")]
    assert rig.state == "response"


def test_the_driver_may_answer_later(chop: Chop) -> None:
    rig = Rig().start()
    held: list[Session] = []
    rig.driver.on_slow = lambda session, _: held.append(session)
    for piece in chop(packet(b"\x03KILL 5") + packet(SELECT)):
        assert rig.client_says(piece) == b""
    assert rig.state == "slow"
    held[0].reply([ok(1), ok(2)])
    assert rig.to_client() == framed([ok(1), ok(2)])
    assert rig.to_backend() == packet(SELECT)


def test_a_backend_that_speaks_meanwhile_is_judged_afterwards() -> None:
    rig = Rig().start()
    rig.driver.on_slow = lambda session, payload: None
    rig.ask(b"\x03KILL 5")
    assert rig.say(b"\x01\x00\x00\x00\x00") == b""
    assert rig.state == "slow"
    rig.session.reply([ok()])
    rig.say(b"\x00")
    assert ("backend fault", "data without a command") in rig.driver.told


def test_slow_points_belong_to_the_slow_state() -> None:
    rig = Rig().start()
    with pytest.raises(ValueError, match="cannot forward 2 bytes in state idle"):
        rig.session.forward(b"\x0e\x00")
    with pytest.raises(ValueError, match="cannot reply in state idle"):
        rig.session.reply([])
    with pytest.raises(ValueError, match="cannot suspend in state idle"):
        rig.session.suspend(100)
    rig.session.resume()
    assert rig.state == "idle"


@pytest.mark.parametrize("payload", [b"", b"x" * 0xFFFFFF])
def test_only_commands_of_one_frame_are_forwarded(payload: bytes) -> None:
    rig = Rig().start()
    rig.driver.on_slow = lambda session, _: None
    rig.ask(b"\x03KILL 5")
    with pytest.raises(ValueError, match="cannot forward"):
        rig.session.forward(payload)
    with pytest.raises(ValueError, match="fits one frame"):
        rig.session.reply([b"x" * 0xFFFFFF])


def test_a_conversation_takes_over_and_gives_back(chop: Chop) -> None:
    """COM_CHANGE_USER: packets both ways, then commands again; nothing is lost or doubled."""
    rig = Rig(idle_timeout=60.0).start()
    held: list[tuple[Channel, Channel]] = []
    rig.driver.on_slow = lambda session, _: held.append(session.suspend(1000))

    async def converse() -> None:
        for piece in chop(packet(b"\x11user\0") + packet(b"answer", 3) + packet(SELECT)):
            rig.client_says(piece)
        client, backend = held[0]
        assert rig.state == "slow"
        assert client.seq == 1
        backend.seq = 0
        backend.write_packet(b"\x11user\0")
        assert rig.to_backend() == packet(b"\x11user\0")
        rig.backend.send(packet(b"\xfeplugin\0", 1))
        rig.settle()
        client.seq = 2
        client.write_packet(await backend.read_packet())
        assert rig.to_client() == packet(b"\xfeplugin\0", 2)
        assert await client.read_packet() == b"answer"
        client.detach()
        backend.detach()
        rig.session.resume()

    asyncio.run(converse())
    assert rig.to_backend() == packet(SELECT)
    assert rig.say(OK) == OK
    assert rig.state == "idle"
    assert [kind for kind, _ in rig.driver.told] == ["slow"]


def test_resume_finds_what_came_early_on_both_sides() -> None:
    rig = Rig()
    rig.client.send(packet(SELECT))
    rig.backend.send(framed([b"\xff\x01\x02late"], 0))
    rig.settle()
    assert rig.state == "slow"  # until it is started
    rig.start()
    assert rig.session.farewell


@pytest.mark.parametrize("point", ["slow_command", "client_lost"])
def test_a_driver_that_raises_closes_this_session_only(point: str) -> None:
    rig, other = Rig().start(), Rig().start()
    boom = RuntimeError("boom")

    def fail(*_: object) -> None:
        raise boom

    setattr(rig.driver, point, fail)
    rig.ask(b"\x03KILL 5")
    rig.client.shut()
    assert rig.over()
    assert ("broken", boom) in rig.driver.told
    assert other.ask(SELECT) == packet(SELECT)


def test_an_error_nobody_can_be_told_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    rig = Rig().start()
    boom = RuntimeError("boom")

    def closed(*_: object) -> None:
        raise boom

    monkeypatch.setattr(rig.driver, "closed", closed)
    rig.client.shut()
    rig.settle()
    assert rig.state == "closed"
    assert [each.exc_value for each in unraisable] == [boom]


def test_a_driver_that_raises_even_then_leaves_no_session_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    rig = Rig().start()

    def fail(*_: object) -> None:
        raise RuntimeError("and again")

    rig.driver.on_slow = fail
    rig.driver.on_broken = fail
    rig.ask(b"\x03KILL 5")
    assert len(unraisable) == 1
    assert rig.over()
