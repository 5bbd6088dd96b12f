# SPDX-License-Identifier: Apache-2.0
"""Addresses: every accepted form, every refusal with its hint, and no other outcome."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hproxy.config.address import (
    Address,
    AddressError,
    parse_address,
    parse_backend,
    parse_listen,
)

ports = st.integers(0, 65535)
labels = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
# A name of digits only would be read as an IPv4 address.
names = st.lists(labels, min_size=1, max_size=4).map(".".join).map(lambda name: f"x{name}")
hosts = st.one_of(
    names,
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.just(""),
)
paths = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20).map(
    lambda tail: f"/run/{tail}".strip()
)
addresses = st.one_of(st.builds(Address, host=hosts, port=ports), st.builds(Address, path=paths))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db:3306", Address("db", 3306)),
        (" db:3306 ", Address("db", 3306)),
        ("10.0.0.1:0", Address("10.0.0.1", 0)),
        ("db.example.com.:1", Address("db.example.com.", 1)),
        ("my_db-1:65535", Address("my_db-1", 65535)),
        (":6033", Address("", 6033)),
        ("*:6033", Address("", 6033)),
        ("[::1]:3306", Address("::1", 3306)),
        ("[fe80::1%eth0]:3306", Address("fe80::1%eth0", 3306)),
        ("/run/mysqld/mysqld.sock", Address(path="/run/mysqld/mysqld.sock")),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_accepted(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "is empty", "HOST:PORT"),
        ("   ", "is empty", "HOST:PORT"),
        ("db", "has no port", "write db:PORT"),
        ("db:", "port ''", ""),
        ("db:x", "port 'x'", ""),
        ("db:-1", "port '-1'", ""),
        ("db:65536", "port '65536'", ""),
        ("db:٣", "port '٣'", ""),
        ("::1:3306", "needs brackets", "write [::1]:3306"),
        ("[::1:3306", "never closed", "[::1]:PORT"),
        ("[::1]3306", "behind the bracket", "write [::1]:PORT"),
        ("[::1]", "has no port", ""),
        ("[db]:1", "IPv6 addresses only", "write db:1"),
        ("[::zz]:1", "not an IPv6 address", ""),
        ("10.0.0.300:1", "not an IPv4 address", ""),
        ("10.0.1:1", "not an IPv4 address", ""),
        ("-db:1", "not a host name", ""),
        ("d b:1", "not a host name", ""),
        ("dä:1", "not a host name", "punycode"),
        ("a..b:1", "not a host name", ""),
        (f"{'a' * 64}:1", "not a host name", ""),
        (f"{'a.' * 127}ab:1", "not a host name", ""),
        ("unix:relative", "absolute path", "/run"),
        ("/run/a\0b", "NUL", ""),
        (f"/{'a' * 107}", "107 bytes", ""),
        (f"/{'ä' * 60}", "107 bytes", ""),
    ],
)
def test_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse_address(text)
    assert message in str(raised.value)
    assert hint in raised.value.hint


def test_default_port() -> None:
    assert parse_address("db", 3306) == Address("db", 3306)
    assert parse_address("[::1]", 3306) == Address("::1", 3306)
    assert parse_address("db:1", 3306) == Address("db", 1)


def test_listen_takes_every_interface_and_any_port() -> None:
    assert parse_listen(":0") == Address("", 0)


def test_backend_needs_a_host_and_a_port() -> None:
    assert parse_backend("db") == Address("db", 3306)
    assert parse_backend("db", 6379) == Address("db", 6379)
    assert parse_backend("/run/x.sock").is_unix
    with pytest.raises(AddressError, match="has no host"):
        parse_backend(":3306")
    with pytest.raises(AddressError, match="port 0"):
        parse_backend("db:0")


@given(addresses)
def test_text_and_back(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(st.text())
@example("[::1%]:1")
@example("[]:1")
@example("[")
@example("\ud800:1")
@example("/\ud800")
def test_anything_is_an_address_or_refused(text: str) -> None:
    for default_port in (None, 3306):
        try:
            address = parse_address(text, default_port)
        except AddressError:
            continue
        assert parse_address(str(address)) == address
