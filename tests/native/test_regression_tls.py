# SPDX-License-Identifier: Apache-2.0
"""TLS towards a client: no plaintext may wait where no readable descriptor tells of it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from hproxy._native.channel import Channel
from hproxy._native.mysql_session import Session
from hproxy._native.reactor import Reactor
from hproxy.net.tls import client_context, ensure_certificate
from tests.native.responses import framed, ok
from tests.native.rig import BAD_CLIENT, Driver, Rig, packet
from tests.support.socket_pair import Peer, pair


class TlsPeer:
    """A TLS client at the far end."""

    def __init__(self, peer: Peer) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    def shake(self) -> None:
        """One step of the handshake."""
        self.incoming.write(self.peer.receive())
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.flush()

    def flush(self) -> None:
        if sealed := self.outgoing.read():
            self.peer.send(sealed)

    def seal(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()

    def read(self) -> bytes:
        self.incoming.write(self.peer.receive())
        parts = []
        with suppress(ssl.SSLWantReadError):
            while data := self.tls.read(65536):
                parts.append(data)
        return b"".join(parts)


class TlsRig(Rig):
    """A session whose client has come over TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.reactor = Reactor()
        self.client, client_end = pair(self.reactor)
        self.backend, backend_end = pair(self.reactor)
        self.tls = TlsPeer(self.client)
        channel = Channel(client_end, "client")
        asyncio.run(self._secure(channel, context))
        self.driver = Driver()
        self.session = Session(channel.detach(), backend_end, self.driver, deprecate_eof=True)

    async def _secure(self, channel: Channel, context: ssl.SSLContext) -> None:
        handshake = asyncio.ensure_future(channel.start_tls(context, server_side=True))
        async with asyncio.timeout(5.0):
            while not handshake.done():
                self.tls.shake()
                self.reactor.poll()
                await asyncio.sleep(0)
        await handshake

    def send_all(self, data: bytes) -> None:
        while data:
            data = data[self.client.send_some(data) :]
            self.settle()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    return client_context(*ensure_certificate(folder))


def test_what_was_pipelined_beyond_an_inbox_arrives_without_another_byte(
    context: ssl.SSLContext,
) -> None:
    """One receive could decrypt more than is kept; the rest stayed in the SSL object for ever."""
    rig = TlsRig(context)
    rig.start()
    rig.client.send(rig.tls.seal(packet(b"\x03SELECT 1")))
    assert rig.to_backend() == packet(b"\x03SELECT 1")
    ahead = packet(b"\x03" + b"x" * 180_000)
    sealed = rig.tls.seal(ahead)
    rig.client.send(sealed[:60_000])
    rig.settle()
    rig.send_all(sealed[60_000:])
    rig.settle()
    rig.backend.send(framed([ok()]))
    assert rig.to_backend() == ahead
    assert rig.state == "response"


def test_the_last_words_to_a_client_that_goes_on_talking(context: ssl.SSLContext) -> None:
    """What came with the broken frame must not be read after our close_notify: that closed at
    once, with unread bytes, and the reset could overtake the error.
    """
    rig = TlsRig(context)
    rig.start()
    broken = packet(b"\x03SELECT 1", 7)
    rig.client.send(rig.tls.seal(broken) + rig.tls.seal(b"x" * 16_000))
    rig.settle()
    assert rig.state == "closed"
    assert rig.tls.read() == packet(BAD_CLIENT, 1)
    assert not rig.session.client.closed
    rig.client.close()
    rig.settle()
    assert rig.session.client.closed
