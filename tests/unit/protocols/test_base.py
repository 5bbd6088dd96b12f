# SPDX-License-Identifier: Apache-2.0
"""Discovery of protocols, and that what one offers fits together."""

from __future__ import annotations

import dataclasses

import pytest

from hproxy.errors import ConfigError
from hproxy.protocols.base import LoginOptions, LoginResult, Protocol, load_protocol
from tests.support.logins import MARIADB, MYSQL, OURS, options


def test_mysql_is_found() -> None:
    protocol = load_protocol("mysql")
    assert isinstance(protocol, Protocol)
    assert (protocol.name, protocol.default_port) == ("mysql", 3306)
    assert load_protocol("mysql") is protocol


@pytest.mark.parametrize("name", ["oracle", "", "mysql.nonsense"])
def test_what_is_not_there_is_the_operators_mistake(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_protocol(name)
    assert caught.value.findings[0].key == "proxy.mode"


def test_every_part_is_there() -> None:
    protocol = load_protocol("mysql")
    for part in dataclasses.fields(Protocol):
        assert getattr(protocol, part.name) is not None, part.name


def test_parts_fit_together() -> None:
    protocol = load_protocol("mysql")
    shared = protocol.meet([protocol.profile(MYSQL), protocol.profile(MARIADB)])
    login = LoginResult(user=b"ann", capabilities=int(OURS), credential=protocol.secret("pw"))
    for machine in (
        protocol.relay_login(options()),
        protocol.client_login(options(), shared),
        protocol.backend_login(options(), login),
    ):
        assert machine.start()
    assert protocol.read_error(protocol.error_packet(ConfigError("no"))) == (
        1105,
        "Internal error in hproxy; its log has the details",
    )


def test_an_rsa_key_is_made_once_and_read_again() -> None:
    protocol = load_protocol("mysql")
    key, pem = protocol.rsa_key(None)
    again, same = protocol.rsa_key(pem)
    assert same == pem
    assert again.public_key() == key.public_key()
    with pytest.raises(ValueError, match="key data"):
        protocol.rsa_key(b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")


def test_options_and_results_are_fixed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LoginOptions(1).connection_id = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        LoginResult(b"ann").user = b"bob"  # type: ignore[misc]
