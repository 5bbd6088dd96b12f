# SPDX-License-Identifier: Apache-2.0
"""What a client was told from greeting to end, frame by frame, without what never repeats.

That is: the id and the salt of a greeting, the salt of another plugin, the present time, the
salted hashes that Django's users have, and MariaDB's numbers of statements in errors.

Where a client asks for the server's own tables, as mysqldump does, `plans` leaves out whether an
index was used: a server plans that by what it estimates at the moment.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.handshake import AuthSwitchRequest, Greeting

__all__ = ["difference", "frames"]

HEAD = 4
ERR = 0xFF
END = b"\xfe"
PLUGIN = re.compile(rb"\xfe(mysql_native_password|caching_sha2_password|client_ed25519)\0")
HASH = re.compile(rb"pbkdf2_sha256\$\d+\$\w+\$[\w+/]+=*")
SHOWN = 300
FLAGS = slice(HEAD + 3, HEAD + 5)
PLANNED = ServerStatus.NO_GOOD_INDEX_USED | ServerStatus.NO_INDEX_USED


def frames(stream: bytes) -> list[bytes]:
    """The frames with their heads; what is left of a cut one at the end."""
    found, at = [], 0
    while at < len(stream):
        end = at + HEAD + int.from_bytes(stream[at : at + 3], "little")
        found.append(bytes(stream[at:end]))
        at = end
    return found


def difference(one: Sequence[bytes], other: Sequence[bytes], *, plans: bool = False) -> str:
    """The first difference of what the connections of two runs heard; "" without any."""
    if len(one) != len(other):
        return f"{len(one)} connections, then {len(other)}"
    now = present()
    for number, streams in enumerate(zip(one, other, strict=True)):
        if streams[0] == streams[1]:
            continue
        pairs = zip_longest(*map(frames, streams), fillvalue=b"")
        for at, pair in enumerate(pairs):
            shown = [comparable(frame, at == 0, now) for frame in pair]
            if plans:
                shown = [unplanned(frame) for frame in shown]
            if shown[0] != shown[1]:
                first, second = (each[:SHOWN] for each in shown)
                return f"connection {number}, frame {at}:\n{first!r}\n{second!r}"
    return ""


def present() -> re.Pattern[bytes]:
    """Matches moments of yesterday, today and tomorrow: servers and clients have time zones."""
    today = datetime.datetime.now(datetime.UTC).date()
    days = (str(today + datetime.timedelta(days)).encode() for days in (-1, 0, 1))
    return re.compile(rb"(?:%s)[ T]\d\d:\d\d:\d\d" % b"|".join(days) + rb"(?:\.\d{6})?")


def comparable(frame: bytes, greeting: bool, now: re.Pattern[bytes]) -> bytes:
    payload = frame[HEAD:]
    if greeting and payload and payload[0] != ERR:
        # The length of the frame stays in the comparison, and with it that of the salt.
        told = replace(Greeting.parse(payload), thread_id=0, scramble=b"")
        return frame[:HEAD] + repr(told).encode()
    if PLUGIN.match(payload):
        return frame[:HEAD] + AuthSwitchRequest.parse(payload).plugin
    if payload[:1] == bytes([ERR]):
        return frame[3:HEAD] + re.sub(rb"\(\d+\)", b"(N)", payload)
    return frame[:HEAD] + HASH.sub(b"HASH", now.sub(b"NOW", payload))


def unplanned(frame: bytes) -> bytes:
    """EOF, or OK in its place, without what tells of indexes; any other as it is."""
    if frame[HEAD : HEAD + 1] != END or len(frame) < FLAGS.stop:
        return frame
    flags = int.from_bytes(frame[FLAGS], "little") & ~PLANNED
    return frame[: FLAGS.start] + flags.to_bytes(2, "little") + frame[FLAGS.stop :]
