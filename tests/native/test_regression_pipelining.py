# SPDX-License-Identifier: Apache-2.0
"""Commands sent ahead: none may be left in an inbox that nobody looks at any more."""

from __future__ import annotations

from tests.native.responses import err, framed
from tests.native.rig import Rig, packet


def test_a_command_behind_a_file_that_was_refused_meanwhile() -> None:
    rig = Rig().start()
    rig.ask(b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t")
    rig.say(framed([b"\xfbf"]))
    rig.client_says(packet(b"one row", 2))
    refusal = framed([err(1290)], 4)
    assert rig.say(refusal) == b""
    ahead = packet(b"\x03SELECT 1")
    assert rig.client_says(packet(b"", 3) + ahead) == packet(b"", 3) + ahead
    assert rig.to_client() == refusal
    assert rig.state == "response"
