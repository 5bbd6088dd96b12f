# SPDX-License-Identifier: Apache-2.0
"""A MySQL server that misbehaves on purpose: each connection runs a script, a Python function.

    def dies_after_columns(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()
        connection.send(frame(b"\\x01", 1))
        connection.reset()

    with FakeBackend(dies_after_columns) as backend: ...

A script that returns closes its connection; one that raises fails the test at the end. Run as a
program (`python -m tests.support.fake_backend`) it serves well and prints its port: a process
for SIGSTOP and SIGKILL.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import Greeting, HandshakeResponse
from hproxy.protocols.mysql.results import column, ok, text_resultset
from hproxy.protocols.mysql.wire import join, try_packet, u8, u24

__all__ = ["Connection", "FakeBackend", "Script", "answering", "frame", "result", "serving"]

WAIT_S = 100.0
VERSION = b"8.0.39-fake"
NATIVE = b"mysql_native_password"
SCRAMBLE = b"abcdefghijklmnopqrst"
CAPABILITIES = (
    Capability.LONG_PASSWORD
    | Capability.FOUND_ROWS
    | Capability.LONG_FLAG
    | Capability.CONNECT_WITH_DB
    | Capability.LOCAL_FILES
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_STATEMENTS
    | Capability.MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
)


def frame(payload: bytes, sequence: int, *, length: int | None = None) -> bytes:
    """One frame; `length` lies about how long it is."""
    return u24(len(payload) if length is None else length) + u8(sequence & 0xFF) + payload


def result(*values: str) -> bytes:
    """The bytes of a one-column result set, as the answer to a query."""
    rows = [(value,) for value in values]
    return join(text_resultset([column("v")], rows, CAPABILITIES), 1)[0]


class Left(Exception):
    """The proxy closed the connection: the end of a script, not a failure."""


class Connection:
    """The server's end of one connection, for scripts."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.login: HandshakeResponse | None = None
        self.mutate: Callable[[bytes], bytes] | None = None
        """Done to everything that is sent, if set."""
        self._held = b""

    # -- the way it should be -----------------------------------------------------

    def greet(self) -> None:
        greeting = Greeting(VERSION, 1000 + self.number, SCRAMBLE, CAPABILITIES, plugin=NATIVE)
        self.send(frame(greeting.build(), 0))

    def log_in(self) -> None:
        """Greet and let in whoever it is."""
        self.greet()
        self.login = HandshakeResponse.parse(self.read_packet())
        self.send(frame(ok(), 2))

    def read_packet(self) -> bytes:
        """The next packet's payload. Raises Left at the end of the stream."""
        while (packet := try_packet(self._held)) is None:
            self.read()
        self._held = self._held[packet.end :]
        return packet.payload

    def read_some(self) -> bytes:
        """What has come and was not taken yet, after waiting for more of it."""
        self.read()
        return self._held

    def read(self) -> None:
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            raise Left from None
        if not data:
            raise Left
        self._held += data

    def serve(self, answer: Callable[[bytes], bytes] = lambda _: result("fine")) -> None:
        """Answer every query with `answer(statement)` until the proxy leaves."""
        while True:
            packet = self.read_packet()
            if packet == b"\x01":
                raise Left
            self.send(answer(packet[1:]))

    # -- ways it should not be ------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        if self.mutate is not None:
            data = self.mutate(data)
        try:
            self.sock.sendall(data)
        except ConnectionError:
            raise Left from None

    def trickle(self, data: bytes, every_s: float) -> None:
        """One byte at a time, until the proxy has had enough."""
        self.sock.settimeout(every_s)
        for byte in data:
            self.send(bytes([byte]))
            try:
                self.read()
            except TimeoutError:
                continue

    def close(self) -> None:
        """An orderly end: FIN."""
        self.sock.close()

    def half_close(self) -> None:
        """FIN, and still listening."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def silence(self) -> None:
        """Say nothing more, and wait until the proxy has given up."""
        while True:
            self.read()


Script = Callable[[Connection], None]


def serving(connection: Connection) -> None:
    """A script without a fault."""
    connection.log_in()
    connection.serve()


def answering(answer: Callable[[Connection], None], ready: bytes = b"break") -> Script:
    """A script that serves well until the statement `ready`, then does `answer`."""

    def script(connection: Connection) -> None:
        connection.log_in()
        while (packet := connection.read_packet())[1:] != ready:
            connection.send(result(packet[1:].decode("utf-8", "replace")))
        answer(connection)

    return script


class FakeBackend:
    """Listens on a loopback port of its own; every connection runs the script in a thread."""

    def __init__(self, script: Script = serving, *, accepting: bool = True) -> None:
        self.script = script
        self.accepted = 0
        self.stopped = threading.Event()
        self.failures: list[BaseException] = []
        self._open: list[Connection] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        if accepting:
            self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name=f"fake backend {self.port}")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.stopped.is_set():
                sock.close()
                return
            sock.settimeout(WAIT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, self.accepted)
            self._open.append(connection)
            self._start(self._run, connection)

    def _run(self, connection: Connection) -> None:
        try:
            self.script(connection)
        except Left:
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.sock.close()

    @property
    def quiet(self) -> bool:
        """No connection is open."""
        return all(connection.sock.fileno() < 0 for connection in self._open)

    def cut(self) -> None:
        """End every connection there is now; new ones are welcome."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close everything; raises what a script raised."""
        self.stopped.set()
        # A blocked accept does not hear of close(): shutdown wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(WAIT_S)
        if self.failures:
            raise self.failures[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def main() -> None:
    """Serve until killed."""
    backend = FakeBackend()
    sys.stdout.write(f"{backend.port}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    backend.stop()


if __name__ == "__main__":
    main()
