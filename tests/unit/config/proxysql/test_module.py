# SPDX-License-Identifier: Apache-2.0
"""Every table belongs to one module; variables to one by their prefix."""

from __future__ import annotations

import pytest

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.module import MODULES, module_of


def test_modules_carry_every_table_of_the_configuration() -> None:
    carried = [name for module in MODULES.values() for name in module.tables]
    assert set(carried) == set(CONFIG_TABLES)
    assert [name for name in carried if carried.count(name) > 1] == ["global_variables"] * 2


def test_the_spelling_is_the_name_in_words() -> None:
    for name, module in MODULES.items():
        assert module.name == name == module.spelling.lower().replace(" ", "_")


def test_a_table_is_found_in_its_module() -> None:
    assert module_of("mysql_hostgroup_attributes").name == "mysql_servers"
    assert module_of("global_variables", "admin-version").name == "admin_variables"
    assert module_of("global_variables", "mysql-threads").name == "mysql_variables"
    with pytest.raises(KeyError):
        module_of("runtime_mysql_servers")
