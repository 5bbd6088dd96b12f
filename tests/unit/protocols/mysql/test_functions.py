# SPDX-License-Identifier: Apache-2.0
"""The lists of names; whether the servers agree, tests/integration/test_classification.py asks."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.functions import GRAMMAR, NATIVE


def test_a_name_is_in_one_list_only() -> None:
    assert not NATIVE & GRAMMAR


def test_names_are_in_capitals() -> None:
    assert {name for name in NATIVE | GRAMMAR if name != name.upper() or not name} == set()


KNOWN = b"""
    CONCAT JSON_EXTRACT JSON_TABLE JSON_VALUE ST_DISTANCE_SPHERE REGEXP_LIKE REGEXP_SUBSTR NVL NVL2
    DECODE_ORACLE ADD_MONTHS KDF SFORMAT MD5 SHA1 UUID_TO_BIN BIN_TO_UUID ANY_VALUE GROUPING
    STRING_TO_VECTOR VEC_DISTANCE ROW_NUMBER LEAD LAG NTILE MEDIAN PERCENTILE_CONT COUNT SUM
    GROUP_CONCAT CAST CONVERT EXTRACT TRIM POSITION IF LEFT REPEAT INSERT REPLACE VALUES DATABASE
    CURRENT_TIMESTAMP NOW DATE_ADD INTERVAL IN EXISTS VARCHAR DECIMAL PARTITION USING OVER LATERAL
"""


def test_of_both_families_old_and_new() -> None:
    assert set(KNOWN.split()) - NATIVE - GRAMMAR == set()


@pytest.mark.parametrize("name", ["F", "NEXTVAL", "MY_FUNCTION", "UUID4", "ESCAPE", "SYSTEM"])
def test_could_be_a_users(name: str) -> None:
    assert name.encode() not in NATIVE | GRAMMAR
