# SPDX-License-Identifier: Apache-2.0
"""How the next service is started."""

from __future__ import annotations

from hproxy.process.succession import successor

COMMAND = ["/usr/bin/python3", "/usr/bin/hproxy", "run", "-c", "/etc/hproxy.toml"]


def test_the_next_one_is_started_like_this_one_and_takes_over() -> None:
    assert successor(COMMAND, {"listen": None}) == [*COMMAND, "--upgrade"]
    assert successor([*COMMAND, "--upgrade", "--initial"], {}) == [*COMMAND, "--upgrade"]
    assert successor([*COMMAND, "-u", "--reload"], {}) == [*COMMAND, "--upgrade"]
    assert successor(COMMAND, {}, reload=True) == [*COMMAND, "--upgrade", "--reload"]


def test_addresses_that_systemd_chose_are_said() -> None:
    flags = {"listen": "0.0.0.0:3306;/run/h.sock", "admin": "127.0.0.1:6032", "http": ""}
    command = [*COMMAND, "--admin", "127.0.0.1:6032"]
    added = ["--listen", "0.0.0.0:3306;/run/h.sock", "--http", "", "--upgrade"]
    assert successor(command, flags) == [*command, *added]
