# SPDX-License-Identifier: Apache-2.0
"""The registry as a whole: every entry is complete, and can hold its own default."""

from __future__ import annotations

import pytest

from hproxy.config.option import Refusal, detail_of
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables import (
    PREFIXES,
    VARIABLES,
    VERSION,
    find_variable,
    suggestion,
)
from hproxy.config.schema import Config


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=list(VARIABLES))
def test_entry(variable: Variable) -> None:
    assert variable.name.startswith(PREFIXES)
    if variable.form != "fixed":
        assert variable.check(variable.default) == variable.default
    if variable.kind == "int":
        assert variable.low < variable.high
    if variable.acts == "acts":
        assert variable.doc.endswith(".")
        assert not variable.why
    else:
        assert variable.why


def test_what_is_an_option_acts_as_that_does() -> None:
    for variable in VARIABLES.values():
        if variable.option:
            section, key = variable.option.split(".")
            model = type(Config.model_fields[section].default)
            assert key in model.model_fields, variable.name
            assert detail_of(model, key).get("acts", True), variable.name


def test_names_are_found_in_any_case() -> None:
    assert find_variable("MYSQL-QUERY_CACHE_SIZE_mb").name == "mysql-query_cache_size_MB"
    with pytest.raises(Refusal) as caught:
        find_variable("mysql-max_conections")
    assert caught.value.hint == "did you mean mysql-max_connections?"
    assert suggestion("max_connections") == "did you mean mysql-max_connections?"
    assert suggestion("entirely_else") == ""


def test_tools_can_take_the_version_apart() -> None:
    assert [int(part) for part in VERSION.split("-", 1)[0].split(".")] == [3, 0, 2]
