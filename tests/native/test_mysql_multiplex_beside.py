# SPDX-License-Identifier: Apache-2.0
"""What is sent again goes to another server than the one that has just lost a connection."""

from __future__ import annotations

import pytest

from hproxy._native.pool import Server
from tests.native.multiplex_rig import Backend, Client, Pooled
from tests.native.responses import columns, eof, err, framed

ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
SELECT = b"\x03SELECT 1"


class Two:
    """Two connections to one server and one to another; `ann` asks, on the first server."""

    def __init__(self) -> None:
        self.rig = Pooled(connections=2)
        self.server = Server("db2", 1, weight=0.0)  # not drawn before
        self.there = self.rig.connect(self.rig.group.add(self.server))
        self.ann: Client = self.rig.login()
        self.ann.ask(SELECT)
        self.server.weight = 1.0
        (self.first,) = [backend for backend in self.rig.backends if backend.heard()]
        (self.second,) = [backend for backend in self.rig.backends if backend is not self.first]


def has_it(backend: Backend) -> bool:
    return SELECT in backend.heard()


def test_a_connection_breaks() -> None:
    two = Two()
    two.first.end()
    assert has_it(two.there)
    assert not has_it(two.second)
    two.there.say(ROWS)
    assert two.ann.heard() == ROWS


@pytest.mark.parametrize("number", [1053, 2013])
def test_a_server_says_farewell(number: int) -> None:
    """2013: a proxy says so of the server behind it."""
    two = Two()
    two.first.say(framed([err(number)]))
    assert has_it(two.there)
    two.there.say(ROWS)
    assert two.ann.heard() == ROWS
    assert two.rig.slow.about("may repeat") == [number]
    assert two.rig.slow.count("retired") == 1


def test_a_write_that_a_proxy_lost_is_the_clients() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(b"\x03UPDATE t")
    answer = framed([err(2013)])
    rig.backends[0].say(answer)
    assert ann.heard() == answer
    assert rig.slow.count("may repeat") == 0
    assert rig.slow.count("retired") == 1  # what was set there is lost, too


def test_the_other_one_is_busy() -> None:
    """It is waited for: the first may be about to die as a whole."""
    two = Two()
    bob = two.rig.login()
    two.rig.server.online = False
    bob.ask(SELECT)
    assert has_it(two.there)
    two.rig.server.online = True
    two.first.end()
    assert two.ann.state == "waiting"
    two.there.say(ROWS)
    assert has_it(two.there)
    two.there.say(ROWS)
    assert (two.ann.heard(), bob.heard()) == (ROWS, ROWS)


def test_there_is_no_other() -> None:
    two = Two()
    two.server.online = False
    two.first.end()
    assert has_it(two.second)
    two.second.say(ROWS)
    assert two.ann.heard() == ROWS


def test_it_is_avoided_once() -> None:
    two = Two()
    two.first.end()
    two.there.say(ROWS)
    two.server.online = False
    two.ann.ask(SELECT)
    assert has_it(two.second)
