# SPDX-License-Identifier: Apache-2.0
"""What is accepted without an effect says why, and knows its values all the same."""

from __future__ import annotations

import pytest

from hproxy.config.option import Refusal
from hproxy.config.proxysql.variables_ignored import IGNORED, VERSION


def test_each_says_why() -> None:
    assert all(variable.acts == "ignored" and variable.why for variable in IGNORED)


def test_values_are_checked() -> None:
    found = {variable.name: variable for variable in IGNORED}
    assert found["mysql-threads"].check("8") == "8"
    with pytest.raises(Refusal):
        found["mysql-poll_timeout"].check("1")
    with pytest.raises(Refusal, match="cannot be set"):
        found["admin-version"].check(VERSION)
    assert found["admin-cluster_ldap_variables_diffs_before_sync"].default == "3"
