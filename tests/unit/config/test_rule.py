# SPDX-License-Identifier: Apache-2.0
"""Rules and firewall lists: what is not said is None, and what makes no sense is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.rule import (
    MysqlFirewallRule,
    MysqlFirewallSqliFingerprint,
    MysqlFirewallUser,
    MysqlQueryRule,
    MysqlQueryRuleFastRouting,
)


def test_a_rule_has_the_columns_of_its_table() -> None:
    assert tuple(MysqlQueryRule.model_fields) == CONFIG_TABLES["mysql_query_rules"].names


@pytest.mark.parametrize("column", CONFIG_TABLES["mysql_query_rules"].columns, ids=lambda c: c.name)
def test_a_rule_has_the_defaults_of_its_table(column: Any) -> None:
    rule = MysqlQueryRule(rule_id=1)
    if column.name != "rule_id":
        assert getattr(rule, column.name) == column.initial


def test_modifiers_are_words_in_any_case() -> None:
    assert MysqlQueryRule(rule_id=1, re_modifiers="caseless, global").re_modifiers == (
        "CASELESS,GLOBAL"
    )
    assert MysqlQueryRule(rule_id=1, re_modifiers="").re_modifiers == ""


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rule_id": 0}, "greater than or equal to 1"),
        ({"replace_pattern": "x"}, "needs match_pattern"),
        ({"cache_ttl": 0}, "greater than or equal to 1"),
        ({"multiplex": 3}, "less than or equal to 2"),
        ({"retries": 1001}, "less than or equal to 1000"),
        ({"re_modifiers": "EXTENDED"}, "EXTENDED is not a modifier"),
        ({"attributes": "[1]"}, "must be a JSON object or empty"),
        ({"destination_hostgroup": True}, "must be a number"),
    ],
)
def test_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MysqlQueryRule.model_validate({"rule_id": 1} | columns)


def test_lists() -> None:
    assert MysqlFirewallUser(username="a").mode == "OFF"
    assert MysqlFirewallRule(username="a", digest="0x1").active
    assert (
        MysqlQueryRuleFastRouting(username="", schemaname="", destination_hostgroup=1).flagIN == 0
    )
    with pytest.raises(ValidationError):
        MysqlFirewallSqliFingerprint(fingerprint="")
    with pytest.raises(ValidationError):
        MysqlFirewallUser.model_validate({"username": "a", "mode": "ON"})
