# SPDX-License-Identifier: Apache-2.0
"""The numbers of the reasons are a contract with compiled code."""

from __future__ import annotations

import re

from hproxy.protocols.mysql import pins
from hproxy.protocols.mysql.pins import Pin


def test_reasons_are_numbered_without_gaps_in_their_order() -> None:
    assert [pin.value for pin in Pin] == [1 << i for i in range(len(Pin))]
    assert int(Pin.TRANSACTION) == 1
    assert int(Pin.FOUND_ROWS) == 64
    assert Pin.WIDE_STATEMENT == 1 << 17


def test_table_in_the_docstring_names_every_reason_in_order() -> None:
    assert pins.__doc__ is not None
    assert re.findall(r"^    ([A-Z_]+) ", pins.__doc__, re.MULTILINE) == [pin.name for pin in Pin]
