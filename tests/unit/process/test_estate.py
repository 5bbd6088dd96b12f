# SPDX-License-Identifier: Apache-2.0
"""What a service runs on, as the next one is told."""

from __future__ import annotations

import orjson
import pytest

from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import rows_in
from hproxy.config.schema import Config
from hproxy.errors import HandoverError
from hproxy.process.estate import Estate

CONFIG = Config.model_validate(
    {"proxy": {"backends": ["db1"]}, "mysql_users": [{"username": "a", "password": "b"}]}
)
RUNNING = {
    name: {table: rows_in(CONFIG, table) for table in module.tables}
    for name, module in MODULES.items()
}


def test_it_arrives_as_it_was() -> None:
    left = Estate(RUNNING, {"scheduler": {"scheduler": []}}, CONFIG, [[0, "h", 1, "SHUNNED"]])
    assert Estate.of(orjson.loads(orjson.dumps(left.facts))) == left


def test_modules_that_are_not_known_are_left_out() -> None:
    facts = Estate({**RUNNING, "of_tomorrow": {}}, {"of_tomorrow": {}}).facts
    found = Estate.of(facts)
    assert set(found.running) == set(MODULES)
    assert found.memory == {}


def test_a_file_that_is_not_understood_is_not_known() -> None:
    assert Estate.of({**Estate({}, {}).facts, "file": '{"of_tomorrow": 1}'}).file is None


@pytest.mark.parametrize("facts", [None, {**Estate({}, {}).facts, "format": 99}])
def test_another_format_is_refused(facts: dict[str, object] | None) -> None:
    with pytest.raises(HandoverError) as refused:
        Estate.of(facts)
    assert refused.value.full_code == "handover.estate"
