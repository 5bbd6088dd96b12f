# SPDX-License-Identifier: Apache-2.0
"""A backend that dies or talks nonsense in the middle of things, at every point it can."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.protocols.mysql.results import ok
from tests.support.fake_backend import Connection, FakeBackend, answering, frame, result
from tests.support.rude_client import CLOSED, Answer
from tests.support.scene import Scene

LOST = Answer(2013, "HY000")
MALFORMED = Answer(2027, "HY000")
ROWS = result("one", "two", "three")
HEADS = [0]
while HEADS[-1] < len(ROWS):
    HEADS.append(HEADS[-1] + 4 + int.from_bytes(ROWS[HEADS[-1] : HEADS[-1] + 3], "little"))
IN_TRANSACTION = ok(status=ServerStatus.AUTOCOMMIT | ServerStatus.IN_TRANS)

Ends = {"close": Connection.close, "reset": Connection.reset, "half-close": Connection.half_close}


def sends(*parts: bytes) -> Callable[[Connection], None]:
    """Send these and wait for the proxy to give up."""

    def script(connection: Connection) -> None:
        connection.send(b"".join(parts))
        connection.silence()

    return script


def provoked(
    folder: Path, script: Callable[[Connection], None], code: str, sql: str = "break"
) -> tuple[Answer, Answer, dict[str, object]]:
    """What the client saw and what the log said when the backend did `script`."""
    with FakeBackend(answering(script)) as backend, Scene(folder, backend.address) as scene:
        client = scene.client().log_in()
        assert client.query("hello")
        client.send_query(sql)
        first, second = client.endings()
        line = scene.told(code)
        assert line["backend"] == backend.address
        assert line["reason"]
        return first, second, line


@pytest.mark.parametrize("end", Ends)
def test_before_the_first_byte(end: str, tmp_path: Path) -> None:
    first, second, line = provoked(tmp_path, Ends[end], "backend.lost")
    assert (first, second) == (LOST, CLOSED)
    assert line["state"] == "response"


@pytest.mark.parametrize("end", ["close", "half-close"])
@pytest.mark.parametrize("head", range(1, len(HEADS) - 1))
def test_between_packets(head: int, end: str, tmp_path: Path) -> None:
    """The error takes the place of the next packet, with the sequence id the client expects."""

    def dies(connection: Connection) -> None:
        connection.send(ROWS[: HEADS[head]])
        Ends[end](connection)

    first, second, _ = provoked(tmp_path, dies, "backend.lost")
    assert (first, second) == (LOST, CLOSED)


@pytest.mark.parametrize("cut", [1, 3, 4, HEADS[1] + 2, HEADS[1] + 30, HEADS[3] + 6])
def test_inside_a_packet(cut: int, tmp_path: Path) -> None:
    """Nothing of ours can be put there: the connection ends, which no client takes for data."""

    def dies(connection: Connection) -> None:
        connection.send(ROWS[:cut])
        connection.close()

    first, _, _ = provoked(tmp_path, dies, "backend.lost")
    assert first == CLOSED


@pytest.mark.parametrize(
    ("bytes_sent", "after"),
    [
        (frame(ok(), 5), "sequence"),
        (ROWS[: HEADS[4]] + frame(b"\x03abc", 77), "sequence between rows"),
        (ROWS[: HEADS[1]] + frame(b"", 2), "empty packet"),
        (frame(b"", 1), "empty answer"),
        (frame(b"\x00\x00", 1), "short OK"),
        (frame(b"\xff", 1), "short ERR"),
        (ROWS[: HEADS[2]] + frame(b"\x03abc", 3), "row where an EOF must be"),
        (ROWS[: HEADS[2]] + frame(ok(), 3), "OK where an EOF must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense(bytes_sent: bytes, after: str, tmp_path: Path) -> None:
    first, second, line = provoked(tmp_path, sends(bytes_sent), "backend.protocol")
    assert (first, second) == (MALFORMED, CLOSED), after
    assert line["command"] == 3


def test_more_than_was_asked_for(tmp_path: Path) -> None:
    """The answer arrives whole; what follows it ends the session."""
    with (
        FakeBackend(answering(sends(result("whole"), frame(ok(), 1)))) as backend,
        Scene(tmp_path, backend.address) as scene,
    ):
        client = scene.client().log_in()
        assert client.query("break") == [b"\x05whole"]
        assert client.endings() == (MALFORMED, CLOSED)
        scene.told("backend.protocol", "backend broke the protocol")


@pytest.mark.parametrize("end", Ends)
@pytest.mark.parametrize("status", [ok(), IN_TRANSACTION], ids=["idle", "in a transaction"])
def test_while_idle(status: bytes, end: str, tmp_path: Path) -> None:
    def dies(connection: Connection) -> None:
        connection.send(frame(status, 1))
        Ends[end](connection)

    with FakeBackend(answering(dies)) as backend, Scene(tmp_path, backend.address) as scene:
        client = scene.client().log_in()
        client.query("break")
        assert client.ending() == CLOSED
        assert scene.told("backend.lost", "backend lost")["state"] == "idle"


def test_farewell(tmp_path: Path) -> None:
    """A server that says why it ends an idle session is believed, and passed on."""

    def says_why(connection: Connection) -> None:
        connection.send(frame(ok(), 1))
        connection.send(frame(ErrPacket(1053, b"Server shutdown in progress", b"08S01").build(), 0))
        connection.close()

    with FakeBackend(answering(says_why)) as backend, Scene(tmp_path, backend.address) as scene:
        client = scene.client().log_in()
        client.query("break")
        assert client.endings() == (Answer(1053, "08S01"), CLOSED)
        assert scene.told("backend.farewell")["event"] == "backend ended the session"


def test_while_a_command_is_half_sent(tmp_path: Path) -> None:
    def dies(connection: Connection) -> None:
        connection.log_in()
        while len(connection.read_some()) < 1000:
            pass
        connection.close()

    with FakeBackend() as backend, Scene(tmp_path, backend.address) as scene:
        backend.script = dies
        client = scene.client().log_in()
        client.sock.sendall(frame(b"\x03" + b"x" * 2000, 0, length=5000))
        assert client.ending() in (LOST, CLOSED)
        assert scene.told("backend.lost")["state"] == "command"


def test_while_it_takes_a_file(tmp_path: Path) -> None:
    def dies(connection: Connection) -> None:
        connection.send(frame(b"\xfbsome.csv", 1))
        connection.read_packet()
        connection.close()

    with FakeBackend(answering(dies)) as backend, Scene(tmp_path, backend.address) as scene:
        client = scene.client().log_in()
        client.send_query("break")
        assert client.read_packet() == b"\xfbsome.csv"
        client.write_packet(b"1,2,3\n")
        assert client.endings() == (LOST, CLOSED)
        assert scene.told("backend.lost")["state"] == "infile"


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A backend in a process of its own, to be stopped and killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_backend"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        yield running, f"127.0.0.1:{int(running.stdout.readline())}"
        running.kill()


def test_stopped_and_continued(tmp_path: Path, process: tuple[subprocess.Popen[str], str]) -> None:
    """A frozen backend freezes its own sessions only; thawed, they go on where they were."""
    running, address = process
    with (
        FakeBackend() as good,
        Scene(tmp_path, good.address, address, connect_timeout_ms=3000) as scene,
    ):
        good.script = Connection.close  # so that the next login lands on the other
        client = scene.client().log_in()
        scene.proxy.wait_for_log("logged in", backend=address)
        running.send_signal(signal.SIGSTOP)
        client.send_query("hello")
        scene.check_witness()
        running.send_signal(signal.SIGCONT)
        assert client.read_rows() == [b"\x04fine"]


def test_killed(tmp_path: Path, process: tuple[subprocess.Popen[str], str]) -> None:
    running, address = process
    with FakeBackend() as good, Scene(tmp_path, good.address, address) as scene:
        good.script = Connection.close
        client = scene.client().log_in()
        scene.proxy.wait_for_log("logged in", backend=address)
        scene.since = len(scene.proxy.log)
        running.send_signal(signal.SIGSTOP)
        client.send_query("hello")
        running.kill()
        assert client.endings() == (LOST, CLOSED)
        assert scene.told("backend.lost", "backend lost")["backend"] == address
