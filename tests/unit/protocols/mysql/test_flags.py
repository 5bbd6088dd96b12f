# SPDX-License-Identifier: Apache-2.0
"""Flag sets behave as IntFlag's do, and do not remember for ever."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.constants import (
    Capability,
    ColumnFlag,
    MariadbCapability,
    ServerStatus,
)
from hproxy.protocols.mysql.flags import COMBINATIONS_KEPT, PeerFlag


@pytest.mark.parametrize("flags", [Capability, MariadbCapability, ServerStatus, ColumnFlag])
def test_combinations_are_forgotten(flags: type[PeerFlag]) -> None:
    first = next(iter(flags))
    names = dict(flags.__members__)
    for value in range(4 * COMBINATIONS_KEPT):
        assert int(flags(value)) == value
        assert len(flags._value2member_map_) <= COMBINATIONS_KEPT
    assert flags(first.value) is first
    assert dict(flags.__members__) == names
    assert {flags(member.value) for member in names.values()} == set(names.values())


def test_sets_of_forgotten_combinations_are_equal() -> None:
    wanted = Capability.SSL | Capability.PROTOCOL_41
    for value in range(2 * COMBINATIONS_KEPT):
        Capability(value << 8)
    again = Capability.SSL | Capability.PROTOCOL_41
    assert again == wanted
    assert hash(again) == hash(wanted)
    assert Capability.SSL in again
    assert Capability.COMPRESS not in again
    assert again & ~Capability.SSL == Capability.PROTOCOL_41
    assert repr(again) == "<Capability.PROTOCOL_41|SSL: 2560>"


def test_bits_without_a_name_are_kept() -> None:
    status = ServerStatus(0x0004 | ServerStatus.AUTOCOMMIT)
    assert int(status) == 6
    assert ServerStatus.AUTOCOMMIT in status
    assert int(ServerStatus(0xFFFF)) == 0xFFFF
