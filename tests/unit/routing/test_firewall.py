# SPDX-License-Identifier: Apache-2.0
"""The firewall's tables: who is looked up how, what is listed, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.routing.firewall import Firewall, Judgement, Mode, parse_digest

ALLOW, DETECT, BLOCK = Judgement.ALLOW, Judgement.DETECT, Judgement.BLOCK


def user(name: str, mode: str, client: str = "", active: int = 1) -> dict[str, Any]:
    return {"username": name, "client_address": client, "mode": mode, "active": active}


def rule(
    name: str, digest: int, client: str = "", schema: str = "s", **more: Any
) -> dict[str, Any]:
    row = {"username": name, "client_address": client, "schemaname": schema, "flagIN": 0,
           "digest": f"0x{digest:016X}", "active": 1}  # fmt: skip
    return row | more


FIREWALL = Firewall.compile(
    [
        user("ann", "PROTECTING"),
        user("ann", "OFF", "10.0.0.1"),
        user("ann", "DETECTING", "10.0.0.2"),
        user("bob", "DETECTING"),
        user("cat", "OFF"),
        user("dan", "OFF", active=0),
    ],
    [
        rule("ann", 1),
        rule("ann", 2, "10.0.0.2"),
        rule("ann", 3, flagIN=7),
        rule("ann", 4, active=0),
        rule("eve", 5),
    ],
    enabled=True,
)


@pytest.mark.parametrize(
    ("who", "client", "schema", "flag", "digest", "expected"),
    [
        ("ann", "10.9.9.9", "s", 0, 1, ALLOW),
        ("ann", "10.9.9.9", "other", 0, 1, BLOCK),
        ("ann", "10.9.9.9", "s", 0, 2, BLOCK),
        ("ann", "10.9.9.9", "s", 0, 3, BLOCK),
        ("ann", "10.9.9.9", "s", 7, 3, ALLOW),
        ("ann", "10.9.9.9", "s", 0, 4, BLOCK),
        ("ann", "10.0.0.1", "s", 0, 99, ALLOW),
        ("ann", "10.0.0.2", "s", 0, 2, ALLOW),
        ("ann", "10.0.0.2", "s", 0, 1, DETECT),  # rules of "" are not those of an address
        ("bob", "10.0.0.1", "s", 0, 1, DETECT),
        ("cat", "10.0.0.1", "s", 0, 1, ALLOW),
        ("dan", "10.0.0.1", "s", 0, 1, BLOCK),
        ("eve", "10.0.0.1", "s", 0, 5, ALLOW),  # listed, though she is no user of it
        ("eve", "10.0.0.1", "s", 0, 6, BLOCK),
    ],
)
def test_judge(
    who: str, client: str, schema: str, flag: int, digest: int, expected: Judgement
) -> None:
    assert FIREWALL.judge(who.encode(), client, schema.encode(), flag, digest) is expected


def test_off() -> None:
    off = Firewall.off()
    assert off.judge(b"anybody", "x", b"", 0, 0) is ALLOW
    assert off.client_class(b"ann", "10.0.0.1") == ""
    disabled = Firewall.compile([user("ann", "PROTECTING", "c")], [], enabled=False)
    assert disabled.judge(b"ann", "c", b"", 0, 0) is ALLOW
    assert disabled.client_class(b"ann", "c") == ""
    assert disabled.sizes == (1, 0)


@given(
    st.sampled_from([b"ann", b"bob", b"eve"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "10.9.9.9", ""]),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "10.9.9.9", ""]),
    st.integers(0, 6),
)
def test_clients_of_one_class_are_judged_alike(
    who: bytes, first: str, second: str, digest: int
) -> None:
    if FIREWALL.client_class(who, first) == FIREWALL.client_class(who, second):
        assert FIREWALL.judge(who, first, b"s", 0, digest) is FIREWALL.judge(
            who, second, b"s", 0, digest
        )


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="ann: 'MAYBE' is not a mode"):
        Firewall.compile([user("ann", "MAYBE")], [], enabled=True)
    for text in ("12", "0x", "0xZZ", "0x1FFFFFFFFFFFFFFFF", "-0x1"):
        with pytest.raises(ValueError, match=r".+"):
            parse_digest(text)
    assert parse_digest("0xabcdef0123456789") == 0xABCDEF0123456789
    assert Mode("OFF") is Mode.OFF
