# SPDX-License-Identifier: Apache-2.0
"""Two services meet: what is handed over, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hproxy import __version__
from hproxy.errors import ConfigError, HandoverError
from hproxy.process import upgrading
from hproxy.process.upgrading import Heir, connected, hand

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def nobody(slot: int, fd: int) -> None:
    os.close(fd)


def test_sockets_go_over_and_the_old_one_waits_until_they_are_served(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "sub" / "upgrade.sock"

    async def body() -> None:
        heir = Heir(path, nobody)
        assert path.stat().st_mode & 0o777 == 0o600
        waiting = asyncio.ensure_future(heir.handed())
        channel = await connected(path)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            fds = [(f"name {number}", sock.fileno()) for number in range(300)]
            hands = asyncio.ensure_future(
                hand(
                    channel,
                    fds,
                    {"ledger": sock.fileno()},
                    {"admin:127.0.0.1:6032": sock.fileno()},
                    pid=7,
                    generation=3,
                )
            )
            await waiting
            assert not hands.done()
            assert not path.exists()
            heir.serves(["rule 7: left out"])
            handed = await hands
            assert handed.version == __version__
            assert "not as it was: rule 7: left out" in str(handed)
        assert [name for name, _ in heir.sockets] == [name for name, _ in fds]
        assert (heir.facts["pid"], list(heir.heirlooms)) == (7, ["ledger"])
        assert list(heir.operators) == ["admin:127.0.0.1:6032"]
        given = (*heir.heirlooms.values(), *heir.operators.values())
        for fd in (*(fd for _, fd in heir.sockets), *given):
            os.close(fd)
        channel.close()
        await heir.flushed()

    run(body())


def test_one_that_cannot_serve_says_why(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        heir = Heir(tmp_path / "s", nobody)
        waiting = asyncio.ensure_future(heir.handed())
        channel = await connected(tmp_path / "s")
        hands = asyncio.ensure_future(hand(channel, (), {}, {}))
        await waiting
        heir.failed(ConfigError("port in use", key="admin.address"))
        with pytest.raises(HandoverError, match="port in use"):
            await hands
        channel.close()
        await heir.flushed()

    run(body())


def test_one_that_dies_is_noticed(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        heir = Heir(tmp_path / "s", nobody)
        waiting = asyncio.ensure_future(heir.handed())
        channel = await connected(tmp_path / "s")
        hands = asyncio.ensure_future(hand(channel, (), {}, {}))
        await waiting
        assert heir._channel is not None
        heir._channel.close()
        with pytest.raises(HandoverError, match="ended before it served"):
            await hands
        heir.serves()
        await asyncio.sleep(0)

    run(body())


def test_another_format_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        heir = Heir(tmp_path / "s", nobody)
        waiting = asyncio.ensure_future(heir.handed())
        channel = await connected(tmp_path / "s")
        with pytest.raises(HandoverError, match="another format"):
            await channel.ask("hand", format=99, fds_are=[])
        channel.close()
        channel = await connected(tmp_path / "s")  # it still waits, for one that it understands
        hands = asyncio.ensure_future(hand(channel, (), {}, {}))
        await waiting
        heir.serves()
        await hands
        channel.close()
        await heir.flushed()

    run(body())


def test_nobody_who_waits_is_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "TRY_SEC", 0.01)
    with pytest.raises(HandoverError, match="nobody waits for our sockets"):
        run(connected(tmp_path / "s", 2))


def test_nobody_who_comes_is_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "WAIT_SEC", 0.05)

    async def body() -> None:
        await Heir(tmp_path / "s", nobody).handed()

    with pytest.raises(HandoverError, match="no service has handed over"):
        run(body())
    assert not (tmp_path / "s").exists()
