# SPDX-License-Identifier: Apache-2.0
"""Errors that cross from one process to another."""

from __future__ import annotations

import orjson
import pytest

from hproxy.errors import (
    AdminError,
    ClientError,
    ConfigError,
    ConfigFinding,
    HandoverError,
    HProxyError,
)
from hproxy.process.refusal import original, refusal, refused


def across(error: HProxyError) -> HProxyError:
    return original(refusal(orjson.loads(orjson.dumps(refused(error)))))


@pytest.mark.parametrize(
    "error",
    [
        AdminError("Unknown thread id: 5", number=1094, code="session"),
        ClientError("", code="kill_owner", id=7),
        ConfigError("no room", key="mysql_users", hint="less"),
        ConfigError(findings=[ConfigFinding("f:1", "a", "is wrong", "9", "1"),
                              ConfigFinding("", "b", "is too")]),
    ],
)  # fmt: skip
def test_what_operators_and_clients_read_is_the_same(error: HProxyError) -> None:
    found = across(error)
    assert type(found) is type(error)
    assert (str(found), found.full_code) == (str(error), error.full_code)
    assert found.facts == error.facts


def test_any_other_is_told_as_it_is() -> None:
    found = across(HandoverError("a worker does not do that", verb="fly"))
    assert isinstance(found, AdminError)
    assert "a worker does not do that (verb=fly)" in str(found)
