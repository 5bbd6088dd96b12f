# SPDX-License-Identifier: Apache-2.0
"""The numbers of traits are part of a contract with compiled code."""

from __future__ import annotations

from hproxy.protocols.mysql.flags import PeerFlag
from hproxy.protocols.mysql.statement import SLOW_EFFECTS, Effect, Trait, Traits


def test_numbers_of_traits() -> None:
    assert {trait.name: trait.value for trait in Trait} == {
        "READ": 1,
        "SLOW": 2,
        "CONTEXT": 4,
        "LAST_ID": 8,
        "WRITE": 16,
        "CALC_ROWS": 32,
        "BEGINS": 64,
        "ENDS": 128,
        "SAFE_REPEAT": 256,
        "MULTI": 512,
        "NO_TABLE": 1024,
        "FOUND_ROWS": 2048,
    }


def test_every_effect_has_a_bit_of_its_own() -> None:
    assert [effect.value for effect in Effect] == [1 << bit for bit in range(len(Effect))]


def test_combinations_that_clients_make_are_forgotten() -> None:
    assert issubclass(Trait, PeerFlag)
    assert issubclass(Effect, PeerFlag)


def test_effects_that_the_session_need_not_hear_of_are_fast() -> None:
    fast = Effect.DDL | Effect.SAVEPOINT | Effect.LOCKING_READ | Effect.INTO | Effect.SEQUENCE
    fast |= Effect.LAST_ID_SET | Effect.CONNECTION_ID
    assert SLOW_EFFECTS | fast == Effect((1 << len(Effect)) - 1)
    assert not SLOW_EFFECTS & fast


def test_equal_content_is_equal() -> None:
    assert Traits(Trait.READ, Effect.INTO, b"SELECT") == Traits(
        Trait(1), Effect.INTO, b"SELECT", ()
    )
