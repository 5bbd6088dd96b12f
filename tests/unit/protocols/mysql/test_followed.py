# SPDX-License-Identifier: Apache-2.0
"""Session variables that are not like the others."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.followed import (
    Following,
    canonical,
    companions,
    following,
    holds,
    pairs,
    show,
)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (b"sql_mode", Following.VARIABLE),
        (b"optimizer_trace", Following.VARIABLE),
        (b"collation_connection", Following.CHARSET),
        (b"identity", Following.LAST_ID),
        (b"session_track_schema", Following.TRACKING),
        (b"max_relay_log_size", Following.NOTHING),
        (b"insert_id", Following.HOLD),
    ],
)
def test_following(name: bytes, what: Following) -> None:
    assert following(name) is what


@pytest.mark.parametrize(
    ("name", "value", "tied"),
    [
        (b"gtid_next", b"AUTOMATIC", False),
        (b"gtid_next", b"aaaa:1", True),
        (b"profiling", b"off", False),
        (b"profiling", b"ON", True),
        (b"rand_seed1", b"0", True),
        (b"optimizer_trace", b"enabled=off,one_line=off", False),
        (b"optimizer_trace", b"enabled=on,one_line=off", True),
        (b"sql_mode", b"ANSI", False),
    ],
)
def test_values_that_tie_a_session_down(name: bytes, value: bytes, tied: bool) -> None:
    assert holds(name, value) is tied


def test_one_value_has_one_name() -> None:
    assert canonical(b"storage_engine") == (b"default_storage_engine", True)
    assert canonical(b"character_set_server") == (b"collation_server", False)
    assert canonical(b"sql_mode") == (b"sql_mode", True)
    assert companions(b"max_join_size") == (b"sql_big_selects",)
    assert companions(b"sql_mode") == ()
    assert pairs(b"tx_isolation") == b"transaction_isolation"
    assert pairs(b"sql_mode") == b"sql_mode"


def test_questions_name_only_what_can_be_a_name() -> None:
    assert show([b"a_b.c", b"d"]) == (
        b"SHOW SESSION VARIABLES WHERE Variable_name IN ('a_b.c','d')"
    )
    assert show([b"a", b"it's"]) is None
