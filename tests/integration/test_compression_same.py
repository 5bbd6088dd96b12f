# SPDX-License-Identifier: Apache-2.0
"""What is true without compression is true with it: other modules' tests once more, over it.

Our own client checks the numbers of every frame; inside, the packets and their numbers must be
those of an uncompressed connection to the server itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hproxy.protocols.mysql.constants import Capability, Command
from tests.integration import test_commands
from tests.integration.conftest import Fleet
from tests.integration.route import Route
from tests.integration.scripts import Script
from tests.integration.test_commands import COMMANDS, test_fields_of_a_wide_table
from tests.integration.test_compression import towards
from tests.integration.test_kill import test_kill_query, test_suicide
from tests.integration.test_large_packets import (
    test_command_of_that_size,
    test_large_file,
    test_large_values_in_prepared_statements,
    test_many_megabytes_of_rows,
    test_row_of_that_size,
)
from tests.integration.test_pipelining import (
    test_byte_by_byte,
    test_cut_anywhere,
    test_everything_in_one_send,
)
from tests.integration.test_transcripts import Transcript, stage, test_same_frames_as_direct
from tests.support.packed import PackedClient
from tests.support.recording_client import Login, RecordingClient
from tests.support.server import Server

__all__ = [
    "stage",
    "test_byte_by_byte",
    "test_command_of_that_size",
    "test_cut_anywhere",
    "test_everything_in_one_send",
    "test_fields_of_a_wide_table",
    "test_kill_query",
    "test_large_file",
    "test_large_values_in_prepared_statements",
    "test_many_megabytes_of_rows",
    "test_row_of_that_size",
    "test_same_frames_as_direct",
    "test_suicide",
]

WAYS = {
    "zlib-packed": ("relay", "zlib", True),
    "zstd-plain": ("table", "zstd", False),
}


@dataclass(frozen=True)
class PackedRoute(Route):
    """A route whose own client is compressed."""

    algorithm: str = "zlib"

    def raw(self, login: Login | None = None) -> RecordingClient:
        return PackedClient(self.host, self.port, login or Login(), self.algorithm)


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, str, bool]:
    """Auth mode, the client's algorithm, whether the backend's side is compressed."""
    found: tuple[str, str, bool] = WAYS[request.param]
    return found


@pytest.fixture(scope="session")
def route(fleet: Fleet, server: Server, way: tuple[str, str, bool]) -> Route:
    auth, algorithm, backend = way
    sections = towards(server) if backend else {}
    return PackedRoute(server, auth, fleet.get(server, auth, **sections), algorithm)


# MariaDB reads an id behind the end of these when they have none, whatever lies there.
READ_BEYOND = (Command.PROCESS_KILL, Command.STMT_RESET, Command.STMT_FETCH)


@pytest.mark.parametrize("eof", [Capability(0), Capability.DEPRECATE_EOF], ids=["eof", "no-eof"])
def test_every_command(route: Route, eof: Capability) -> None:
    for command in COMMANDS:
        if not (route.is_mariadb and command in READ_BEYOND):
            test_commands.test_every_command_byte(route, command, eof)


@pytest.fixture
def known() -> dict[tuple[str, Capability, Script], Transcript]:
    """Asked anew each time: a stage does not outlive the turn of its server."""
    return {}
