# SPDX-License-Identifier: Apache-2.0
"""Accounts by name, and how many sessions each may have."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy.auth import Account, UserTable
from hproxy.errors import ClientError


def account(name: bytes = b"ann", **fields: Any) -> Account:
    return Account(name, "secret", **fields)


def test_names_compare_byte_by_byte() -> None:
    ann, other = account(), account(b"Ann")
    table = UserTable([ann, other])
    assert len(table) == 2
    assert table.find(b"ann") is ann
    assert table.find(b"Ann") is other
    for name in (b"", b"ann ", b"ANN", b"bob"):
        assert table.find(name) is None
    assert len(UserTable()) == 0


def test_sessions_are_counted_up_to_the_limit() -> None:
    ann = account(max_connections=2)
    UserTable.enter(ann)
    UserTable.enter(ann)
    with pytest.raises(ClientError) as caught:
        UserTable.enter(ann)
    assert caught.value.full_code == "client.user_limit"
    assert caught.value.facts == {"user": "ann", "current": 2}
    assert ann.sessions == 2
    UserTable.leave(ann)
    UserTable.enter(ann)
    assert ann.sessions == 2


def test_an_account_that_may_have_none() -> None:
    with pytest.raises(ClientError):
        UserTable.enter(account(max_connections=0))


def test_names_that_are_no_text_can_be_told() -> None:
    with pytest.raises(ClientError) as caught:
        UserTable.enter(account(b"\xff", max_connections=0))
    assert caught.value.facts["user"] == "\N{REPLACEMENT CHARACTER}"


def test_an_account_does_not_show_its_secrets() -> None:
    ann = Account(b"ann", "hush", credential="psst")
    assert "hush" not in repr(ann)
    assert "psst" not in repr(ann)


class Kept:
    """A secret that knows what it was made like."""

    def __init__(self, form: str) -> None:
        self.form = form

    def decoy(self) -> Kept:
        return Kept(f"like {self.form}")


def test_unknown_names_have_decoys_of_all_kinds() -> None:
    table = UserTable(
        [Account(b"a", Kept("clear")), Account(b"b", Kept("hash"), plugin="client_ed25519")]
    )
    names = [b"user%d" % number for number in range(100)]
    found = [table.decoy(name) for name in names]
    assert found == [table.decoy(name) for name in names]  # always the same one
    kinds = {(one.secret.form, one.plugin) for one in found if one is not None}
    assert kinds == {("like clear", None), ("like hash", "client_ed25519")}
    assert all(table.find(name) is None for name in names)
    assert UserTable().decoy(b"a") is None
    table.replace([Account(b"a", Kept("hash"))])
    new = [table.decoy(name) for name in names]
    assert {one.secret.form for one in new if one is not None} == {"like hash"}
    empty = UserTable()
    assert empty.decoy(b"x") is None
    empty.replace([Account(b"a", Kept("clear"))])
    assert empty.decoy(b"x") is not None
