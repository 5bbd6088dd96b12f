# SPDX-License-Identifier: Apache-2.0
"""A way to a port that keeps what clients are told, connection by connection.

with Tap(proxy.host, proxy.port) as tap:     # clients are sent to tap.host, tap.port
    ...
tap.heard                                    what each of them was sent
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Tap"]

CHUNK = 1 << 16
END_S = 20.0


class Tap:
    """Listens on a loopback port of its own and passes bytes on, from threads."""

    host = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        self._heard: list[bytearray] = []
        self._behind = (host, port)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name=f"tap {self.port}")
        self._accepting.start()

    @property
    def heard(self) -> list[bytes]:
        """What each client was sent, in order of arrival: all of it once the tap is closed."""
        return [bytes(kept) for kept in self._heard]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # the listener was shut down
            proxy = socket.create_connection(self._behind)
            self._sockets += client, proxy
            kept = bytearray()
            self._heard.append(kept)
            for one, other, record in ((client, proxy, None), (proxy, client, kept)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                way = threading.Thread(target=_pass, args=(one, other, record))
                self._threads.append(way)
                way.start()

    def close(self, patience_s: float = END_S) -> None:
        """Wait until every connection has ended; fails when one does not."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join(patience_s)
        stuck = sum(thread.is_alive() for thread in self._threads)
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()
        assert not stuck or not patience_s, "a client stays connected"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(END_S if error is None else 0.0)


def _pass(source: socket.socket, drain: socket.socket, record: bytearray | None) -> None:
    """One direction, until its end, which is passed on as well."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            # Clients that send one command in two writes wait for this.
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if record is not None:
                record += data
            drain.sendall(data)
    with suppress(OSError):
        drain.shutdown(socket.SHUT_WR)
