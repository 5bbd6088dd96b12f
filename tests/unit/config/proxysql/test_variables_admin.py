# SPDX-License-Identifier: Apache-2.0
"""The variables of the admin server: accounts are secrets, being strict is the default."""

from __future__ import annotations

from hproxy.config.proxysql.variables_admin import ADMIN


def test_accounts_are_secrets() -> None:
    found = {variable.name: variable for variable in ADMIN}
    for name in ("admin-admin_credentials", "admin-stats_credentials"):
        assert found[name].secret
        assert found[name].form == "accounts"
    assert found["admin-cluster_password"].secret
    assert found["admin-cluster_mysql_users_diffs_before_sync"].default == "3"
    assert found["admin-strict"].default == "true"
    assert found["admin-read_only"].default == "false"
    assert {f"admin-checksum_mysql_{what}" for what in ("users", "servers", "variables")} <= set(
        found
    )
