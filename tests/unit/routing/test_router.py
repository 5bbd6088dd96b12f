# SPDX-License-Identifier: Apache-2.0
"""The chain, and what becomes of it for compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from hproxy.routing import CompiledRoute, Request, Route, Router

HOLD = 1.0


class Fixed:
    """Answers for one user."""

    def __init__(self, user: bytes, hostgroup: int) -> None:
        self.user = user
        self.hostgroup = hostgroup

    def decide(self, request: Request) -> Route | None:
        return Route(self.hostgroup, "fixed") if request.user == self.user else None


def test_the_first_answer_counts() -> None:
    router = Router([Fixed(b"ann", 1), Fixed(b"ann", 2), Fixed(b"bob", 3)])
    assert router.route(Request(True, 9, b"ann")) == Route(1, "fixed")
    assert router.route(Request(True, 9, b"bob")) == Route(3, "fixed")
    assert router.route(Request(True, 9, b"eve")) == Route(9, "the account's hostgroup")


@pytest.mark.parametrize(
    ("reads", "hostgroup", "compiled"),
    [
        (True, 10, CompiledRoute(10, 20, "a read")),
        (False, 10, CompiledRoute(10, None, "not only a read")),
        (True, 5, CompiledRoute(5, None, "the account's hostgroup")),
        (False, 5, CompiledRoute(5, None, "the account's hostgroup")),
    ],
)
def test_compiled(reads: bool, hostgroup: int, compiled: CompiledRoute) -> None:
    assert Router.split([(10, 20)], HOLD).compile(Request(reads, hostgroup)) == compiled


def test_no_policies_is_the_accounts_hostgroup() -> None:
    assert Router().compile(Request(True, 4)) == CompiledRoute(4, None, "the account's hostgroup")


def sessions() -> Iterator[Request]:
    for reads, hostgroup, inside, since in product(
        (True, False), (5, 10, 20), (True, False), (None, 0.0, 0.5, HOLD, 60.0)
    ):
        yield Request(reads, hostgroup, in_transaction=inside, since_write=since)


@pytest.mark.parametrize("request_", list(sessions()))
def test_compiled_routes_agree_with_the_policies(request_: Request) -> None:
    """What native code does with a CompiledRoute is what the chain would have said."""
    router = Router.split([(10, 20)], HOLD)
    compiled = router.compile(request_)
    held = request_.since_write is not None and request_.since_write < HOLD
    free = not request_.in_transaction and not held
    reader = compiled.reader if free else None
    hostgroup = compiled.writer if reader is None else reader
    assert router.route(request_).hostgroup == hostgroup
