# SPDX-License-Identifier: Apache-2.0
"""One hostgroup for everything."""

from __future__ import annotations

import pytest

from hproxy.routing import Request, Route
from hproxy.routing.policies import Single


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("in_transaction", [True, False])
def test_always_the_default_hostgroup(reads: bool, in_transaction: bool) -> None:
    route = Single().decide(Request(reads, 7, in_transaction=in_transaction))
    assert route == Route(7, "the account's hostgroup")
