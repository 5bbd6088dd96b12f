# SPDX-License-Identifier: Apache-2.0
"""Listening sockets that outlive those who accept on them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hproxy.errors import ConfigError
from hproxy.process.sockets import Sockets, given

ANY = "127.0.0.1:0"


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets(2)
    yield made
    made.close()


def port(sockets: Sockets, number: int = 0) -> int:
    return int(sockets.addresses[number].rpartition(":")[2])


def test_each_slot_has_its_own_at_one_port(sockets: Sockets) -> None:
    assert sockets.open([ANY]) == (ANY,)
    fds = [sockets.of(slot)[ANY] for slot in (0, 1)]
    assert fds[0] != fds[1]
    for fd in fds:
        with socket.socket(fileno=os.dup(fd)) as sock:
            assert sock.getsockname() == ("127.0.0.1", port(sockets))


def test_the_same_by_its_real_port_is_no_new_one(sockets: Sockets) -> None:
    sockets.open([ANY])
    assert sockets.open(sockets.addresses) == ()
    sockets.keep(sockets.addresses)
    assert sockets.names == (ANY,)


def test_a_unix_socket_is_shared_and_its_file_goes_with_it(
    sockets: Sockets, tmp_path: Path
) -> None:
    path = str(tmp_path / "h.sock")
    sockets.open([path])
    assert sockets.of(0) == sockets.of(1)
    assert sockets.addresses == (path,)
    sockets.keep([])
    assert not os.path.exists(path)


def test_one_that_cannot_be_had_changes_nothing(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="cannot listen: Address already in use"):
            sockets.open([ANY, taken])
    assert sockets.names == ()


def test_the_same_port_of_more_or_fewer_addresses(sockets: Sockets) -> None:
    """An operator closes a port to others, or opens it."""
    sockets.open([ANY])
    number = port(sockets)
    for name in (f"0.0.0.0:{number}", f"127.0.0.1:{number}"):
        assert sockets.open([name]) == (name,)
        sockets.keep([name])
        assert sockets.names == (name,)
        with socket.create_connection(("127.0.0.1", number), timeout=5):
            pass


def test_a_second_service_is_refused(sockets: Sockets) -> None:
    """SO_REUSEPORT alone would let it in."""
    sockets.open([ANY])
    with pytest.raises(ConfigError, match="already in use"):
        Sockets(2).open(sockets.addresses)


def test_a_pause_comes_back_to_the_same_port(sockets: Sockets) -> None:
    sockets.open([ANY])
    before = sockets.addresses
    sockets.pause()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(before[0].rpartition(":")[2])))
    sockets.resume()
    assert sockets.addresses == before


def test_a_queue_goes_from_one_service_to_the_next(sockets: Sockets) -> None:
    sockets.open([ANY])
    waiting = [socket.create_connection(("127.0.0.1", port(sockets))) for _ in range(8)]
    after = Sockets(2)
    after.adopt([(name, os.dup(fd)) for name, fd in sockets.all()])
    sockets.close()
    served = 0
    for slot in (0, 1):
        with socket.socket(fileno=os.dup(after.of(slot)[ANY])) as sock:
            sock.setblocking(False)
            while True:
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    break
                served += 1
    assert served == len(waiting)
    assert after.names == (ANY,)
    for client in waiting:
        client.close()
    after.close()


def test_new_slots_of_adopted_ones_get_sockets_of_their_own(sockets: Sockets) -> None:
    sockets.open([ANY])
    for slots in (1, 3):
        after = Sockets(slots)
        after.adopt([(name, os.dup(fd)) for name, fd in sockets.all()])
        assert len({after.of(slot)[ANY] for slot in range(slots)}) == slots
        assert after.addresses == sockets.addresses
        after.close(unlink=False)


def test_listening_sockets_of_a_message_are_known_by_their_prefix() -> None:
    assert given(["listen:a:1", "ledger", "listen:/b"], [5, 6, 7]) == {"a:1": 5, "/b": 7}
