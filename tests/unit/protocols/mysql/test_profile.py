# SPDX-License-Identifier: Apache-2.0
"""Profiles of backends, what several have in common, and the attributes we add."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hproxy.errors import BackendProtocolError
from hproxy.protocols.mysql.constants import Capability, MariadbCapability
from hproxy.protocols.mysql.handshake import Greeting
from hproxy.protocols.mysql.profile import (
    STRIPPED,
    client_attributes,
    meet,
    profile,
    split,
    wide,
)
from tests.support.logins import DENIED, MARIADB, MYSQL, OK, options

EOF_LESS = Capability.DEPRECATE_EOF


@pytest.mark.parametrize("payload", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
def test_a_profile_is_the_greeting_without_what_is_ours(payload: bytes) -> None:
    greeting, found = Greeting.parse(payload), profile(payload)
    assert found.capabilities == greeting.capabilities & ~STRIPPED
    assert not found.capabilities & (Capability.SSL | Capability.COMPRESS)
    assert (found.server_version, found.charset) == (greeting.server_version, greeting.charset)
    assert (found.mariadb, found.status) == (greeting.mariadb, greeting.status)


@pytest.mark.parametrize("payload", [b"", b"\x09old", OK, DENIED, MYSQL[:30]])
def test_what_is_no_greeting(payload: bytes) -> None:
    with pytest.raises(BackendProtocolError):
        profile(payload)


def test_one_backend_meets_itself() -> None:
    for payload in (MYSQL, MARIADB):
        assert meet([profile(payload)]) == profile(payload)
        assert meet([profile(payload)] * 3) == profile(payload)


@pytest.mark.parametrize("payloads", [(MYSQL, MARIADB), (MARIADB, MYSQL)])
def test_a_mixed_group_is_no_mariadb(payloads: tuple[bytes, bytes]) -> None:
    """LONG_PASSWORD missing would announce MariaDB's extension, which MySQL has not."""
    first, second = (profile(payload) for payload in payloads)
    both = meet([first, second])
    assert Capability.LONG_PASSWORD in both.capabilities
    assert both.mariadb == MariadbCapability(0)
    common = first.capabilities & second.capabilities
    assert both.capabilities & ~Capability.LONG_PASSWORD == common & ~Capability.LONG_PASSWORD
    assert (both.server_version, both.charset) == (first.server_version, first.charset)


def test_nobody_is_promised_what_one_cannot() -> None:
    first = profile(MYSQL)
    assert first.capabilities & EOF_LESS
    second = replace(first, capabilities=first.capabilities & ~EOF_LESS)
    for group in ([first, second], [second, first], [first, first, second]):
        assert meet(group).capabilities == second.capabilities
    theirs = profile(MARIADB)
    older = replace(theirs, mariadb=MariadbCapability.PROGRESS)
    assert meet([theirs, older]).mariadb == theirs.mariadb & MariadbCapability.PROGRESS
    assert Capability.LONG_PASSWORD not in meet([theirs, older]).capabilities


def test_wide_and_split() -> None:
    bulk = MariadbCapability.STMT_BULK_OPERATIONS
    flags = Capability.PROTOCOL_41 | Capability.REMEMBER_OPTIONS
    assert split(wide(flags, bulk)) == (flags, bulk)
    assert wide(flags, MariadbCapability(0)) == int(flags)
    assert wide(Capability(0), MariadbCapability.PROGRESS) == 1 << 32


def test_a_client_cannot_forge_what_only_we_know() -> None:
    sent = ((b"_client_ip", b"10.0.0.1"), (b"x", b"1"), (b"_proxy_name", b"me"), (b"x", b"2"))
    ours = ((b"_client_ip", b"192.0.2.7"), (b"_proxy_name", b"hproxy"))
    assert client_attributes(sent, options()) == ((b"x", b"1"), (b"x", b"2"), *ours)
    assert client_attributes(sent, options(attributes=False)) == sent
