# SPDX-License-Identifier: Apache-2.0
"""What workers share: handed out by the angel, joined by the worker, cleared when it is dead."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from contextlib import ExitStack
from time import monotonic
from types import SimpleNamespace
from typing import Any

from hproxy.auth.guard import Guard
from hproxy.pool.shares import Ledger, create
from hproxy.process.channel import Message
from hproxy.process.commons import Commons, joined


def become(commons: Commons, slot: int, workers: int) -> Message:
    """What a worker hears, with descriptors of its own."""
    given = commons.given(slot)
    fds = [os.dup(fd) for fd in given.values()]
    facts = {"fds_are": list(given), "slot": slot, "workers": workers, "column": commons.first}
    return Message("become", facts, fds)


def clients_of(commons: Commons, slot: int, workers: int) -> Any:
    """The row of clients as a worker sees it that has joined."""
    common = joined(become(commons, slot, workers))
    assert common.balance is not None
    common.balance.close()
    os.close(common.mailbox)
    return common.shares.clients()


def test_workers_count_together_until_they_are_dead() -> None:
    commons = Commons(2)
    one, two = (clients_of(commons, slot, 2) for slot in range(2))
    assert one.take(2)
    assert two.take(2)
    assert not one.take(2)
    commons.left(1)
    assert one.take(2)
    assert (one.mine, two.mine) == (2, 0)
    commons.close()


def test_a_client_goes_to_who_has_fewer() -> None:
    async def scenario() -> None:
        commons = Commons(2)
        heard: list[tuple[int, str, str]] = []
        came = asyncio.Event()

        def client(*told: Any) -> None:
            heard.append(told)
            came.set()

        with ExitStack() as stack:
            balances = []
            for slot in range(2):
                common = joined(become(commons, slot, 2))
                assert common.balance is not None
                stack.callback(common.balance.close)
                common.balance.open(common.mailbox, client, lambda name: None)
                balances.append((common.shares, common.balance))
            (shares, first), (_, second) = balances
            clients = shares.clients()
            assert clients is not None
            ours, theirs = socket.socketpair()
            listener: Any = SimpleNamespace(address="a:1")
            assert not first.pass_on(ours.fileno(), "p:2", listener)
            for _ in range(3):
                clients.enter()
            assert first.pass_on(ours.detach(), "p:2", listener)
            assert first.passed_on == 1
            async with asyncio.timeout(5):
                await came.wait()
            fd, *rest = heard[0]
            assert rest == ["p:2", "a:1"]
            with theirs, socket.socket(fileno=fd) as there:
                theirs.sendall(b"y")
                assert there.recv(1) == b"y"
            second.refuse()
            assert not first.pass_on(theirs.fileno(), "p:2", listener)
        commons.close()

    asyncio.run(scenario())


def test_the_next_service_counts_with_the_one_before() -> None:
    old = Commons(2)
    clients = clients_of(old, 0, 2)
    assert clients.take(1)
    new = Commons(3, *map(os.dup, old.heirlooms.values()))
    assert new.first == 2
    theirs = clients_of(new, 0, 3)
    assert not theirs.take(1)
    old.close()
    assert theirs.take(1)
    new.close()


def test_columns_of_a_killed_service_are_taken_over() -> None:
    fd = create(1)
    ledger = Ledger(fd)
    dead = subprocess.Popen(["true"])
    dead.wait()
    ledger.claim(dead.pid, ledger.columns)
    ledger.row_of("clients", 0).enter()
    commons = Commons(1, fd)
    assert commons.first == 0
    assert commons.heirlooms["ledger"] == fd
    assert ledger.row_of("clients", 1).taken == 0
    commons.close()


def test_a_ledger_that_cannot_be_used_is_replaced() -> None:
    other = os.memfd_create("other")
    commons = Commons(1, other)
    assert commons.first == 0
    commons.close()
    fd = create(1)
    full = Ledger(fd)
    full.claim(os.getpid(), full.columns)
    commons = Commons(1, fd)
    assert commons.first == 0
    commons.close()


def test_a_worker_without() -> None:
    common = joined(Message("become", {"fds_are": []}, []))
    assert common.shares.ledger is None
    assert common.balance is None
    assert common.guesses is None


def guesses_of(commons: Commons, slot: int, workers: int) -> Guard:
    common = joined(become(commons, slot, workers))
    assert common.balance is not None
    common.balance.close()
    os.close(common.mailbox)
    return Guard(monotonic, per_host=5, buckets=common.guesses)


def test_failed_logins_are_counted_over_workers_and_services() -> None:
    old = Commons(2)
    one, two = (guesses_of(old, slot, 2) for slot in range(2))
    assert [guard.admit("192.0.2.1") for guard in (one, two) * 4].count(True) == 5
    old.left(0)
    assert not guesses_of(old, 0, 2).admit("192.0.2.1")
    new = Commons(1, *map(os.dup, old.heirlooms.values()))
    old.close()
    assert not guesses_of(new, 0, 1).admit("192.0.2.1")
    new.close()


def test_buckets_that_cannot_be_used_are_replaced() -> None:
    commons = Commons(1, None, os.memfd_create("other"))
    assert guesses_of(commons, 0, 1).admit("192.0.2.1")
    commons.close()
