# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from hproxy.routing.rules import Verdict
from hproxy.routing.rules.comment import MOST_BYTES, READERS, read_hints


@pytest.mark.parametrize(
    ("comment", "fields"),
    [
        (b" hostgroup=3 ", {"destination_hostgroup": 3}),
        (b"HostGroup = 3;cache_ttl=500", {"destination_hostgroup": 3, "cache_ttl": 500}),
        (b"query_delay=1;query_retries=2;query_timeout=3", {
            "delay": 1, "retries": 2, "timeout": 3}),
        (b"mirror=4;max_lag_ms=5;min_epoch_ms=6", {
            "mirror_hostgroup": 4, "max_lag_ms": 5, "min_epoch_ms": 6}),
        (b"min_gtid=3E11FA47-71CA-11E1-9E33-C80AA9429562:23", {
            "min_gtid": "3E11FA47-71CA-11E1-9E33-C80AA9429562:23"}),
        (b"create_new_connection=1", {"create_new_connection": True}),
        (b"hostgroup=-1", {}),
        (b"min_epoch_ms=1795795200123", {"min_epoch_ms": 1795795200123}),
        (b"hostgroup=x; max_lag_ms=600001; cache_ttl=0; min_gtid=nothing", {}),
        (b"hostgroup", {}),
        (b"traceparent='00-a-b-01',route='x'", {}),
        (b"", {}),
        (b"hostgroup=1" + b" " * MOST_BYTES, {}),
    ],
)  # fmt: skip
def test_read(comment: bytes, fields: dict[str, Any]) -> None:
    found, names = read_hints(comment)
    assert found == fields
    assert len(names) == len(fields)


def test_fields_are_the_verdicts() -> None:
    assert all(hasattr(Verdict(), name) for name, _ in READERS.values())
