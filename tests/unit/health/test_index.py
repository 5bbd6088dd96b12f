# SPDX-License-Identifier: Apache-2.0
"""A view by address and by hostgroup."""

from __future__ import annotations

from hproxy.health.index import Index
from hproxy.health.model import Address, Server, View


def test_index() -> None:
    writer = Server(1, "a", 3306)
    reader = Server(2, "a", 3306, use_ssl=True)
    other = Server(2, "b", 3306)
    index = Index(View((writer, reader, other), lag_when_null=((2, 5),)))
    assert index.own(Address("a", 3306)) == [writer, reader]
    assert index.own(Address("c", 3306)) == []
    assert index.members(2) == [reader, other]
    assert index.members(1, 2, 3) == [writer, reader, other]
    assert set(index.addresses) == {Address("a", 3306), Address("b", 3306)}
    assert index.use_ssl(Address("a", 3306))
    assert not index.use_ssl(Address("b", 3306))
    assert index.lag_when_null == {2: 5}


def test_addresses_are_written_as_people_do() -> None:
    assert str(Address("db", 3306)) == "db:3306"
    assert str(Address("::1", 3306)) == "[::1]:3306"
