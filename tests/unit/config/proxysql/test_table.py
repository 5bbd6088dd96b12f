# SPDX-License-Identifier: Apache-2.0
"""A table is taken apart as SQLite would, and put together as it was written."""

from __future__ import annotations

import pytest

from hproxy.config.proxysql.table import table

TEXT = """
hostgroup_id INT CHECK (hostgroup_id>=0) NOT NULL DEFAULT 0
kind VARCHAR
  CHECK (UPPER(kind) IN ('A','B')) NOT NULL DEFAULT 'A'
note VARCHAR
lag INT UNSIGNED CHECK (lag >= 0) DEFAULT NULL
UNIQUE (note, lag)
PRIMARY KEY (hostgroup_id, kind)
"""


def test_columns_are_told_by_name_type_and_constraint() -> None:
    made = table("main", "t", TEXT)
    assert made.names == ("hostgroup_id", "kind", "note", "lag")
    first, kind, note, lag = made.columns
    assert (first.type, first.not_null, first.default, first.check) == (
        "INT",
        True,
        "0",
        "hostgroup_id>=0",
    )
    assert (kind.check, kind.initial, kind.numeric) == ("UPPER(kind) IN ('A','B')", "A", False)
    assert (note.not_null, note.default, note.initial) == (False, None, None)
    assert (lag.type, lag.numeric, lag.initial) == ("INT UNSIGNED", True, None)
    assert first.initial == 0


def test_keys_give_the_order_and_what_is_unique() -> None:
    made = table("main", "t", TEXT)
    assert made.keys == ("UNIQUE (note, lag)", "PRIMARY KEY (hostgroup_id, kind)")
    assert made.order_by == ("hostgroup_id", "kind")
    assert made.unique_keys == (("hostgroup_id", "kind"), ("note", "lag"))
    assert table("main", "t", "a INT\nb INT PRIMARY KEY").order_by == ("b",)
    assert table("main", "t", "a INT\nb INT").order_by == ("a", "b")


def test_ddl_is_the_lines_joined() -> None:
    made = table("main", "t", "a INT NOT NULL\nPRIMARY KEY (a)")
    assert made.ddl == "CREATE TABLE t (a INT NOT NULL , PRIMARY KEY (a))"
    assert made.renamed("u", "stats").ddl == "CREATE TABLE u (a INT NOT NULL , PRIMARY KEY (a))"
    assert made.renamed("u", "stats").schema == "stats"


def test_a_column_is_found_in_any_case() -> None:
    assert table("main", "t", "flagIN INT").column("FLAGin").name == "flagIN"
    with pytest.raises(KeyError):
        table("main", "t", "flagIN INT").column("flagOUT")


@pytest.mark.parametrize("text", ["INT", "a INT CHECK (a > (1)"])
def test_what_is_no_column_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a column|parenthesis"):
        table("main", "t", text)
