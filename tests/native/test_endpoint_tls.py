# SPDX-License-Identifier: Apache-2.0
"""The TLS variant of the endpoint: handshakes, big transfers, ends, and what is no TLS at all."""

from __future__ import annotations

import asyncio
import gc
import ssl

import pytest

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_session import Session
from hproxy._native.reactor import Reactor
from hproxy.errors import BackendError, BackendLost, ClientError, HProxyError
from hproxy.protocols.mysql.wire import join
from tests.native.loop import in_loop, until
from tests.native.responses import columns, eof, framed
from tests.native.rig import Driver, packet
from tests.support.certificate import client_context, server_context
from tests.support.socket_pair import Peer, open_descriptors, pair

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class TlsPeer:
    """The far end with a TLS of its own, in memory: nothing blocks."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, *, server: bool = False) -> None:
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server, name)
        self.ended = False

    async def flush(self) -> None:
        data = memoryview(self.outgoing.read())
        while data:
            data = data[self.peer.send_some(data) :]
            await asyncio.sleep(0)

    def fill(self) -> None:
        self.incoming.write(self.peer.receive())
        if self.peer.ended:
            self.incoming.write_eof()

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                self.fill()
                await asyncio.sleep(0)
            else:
                return await self.flush()

    async def send(self, data: bytes) -> None:
        """In records as they come; nothing is read meanwhile."""
        for at in range(0, len(data), 100_000):
            self.tls.write(data[at : at + 100_000])
            await self.flush()

    async def receive(self, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing > 0:
            try:
                part = self.tls.read(missing)
            except ssl.SSLWantReadError:
                self.fill()
                await asyncio.sleep(0)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            else:
                parts.append(part)
                missing -= len(part)
                if part:
                    continue
            if self.incoming.eof or (parts and not parts[-1]):
                self.ended = True
                break
        return b"".join(parts)


async def secured(
    reactor: Reactor, version: ssl.TLSVersion | None = None, *, send_buffer: int | None = None
) -> tuple[TlsPeer, Channel]:
    """A client under TLS and our channel to it."""
    peer, end = pair(reactor, send_buffer=send_buffer)
    far, channel = TlsPeer(peer, client_context()), Channel(end, "client")
    handshake = asyncio.ensure_future(far.handshake())
    await channel.start_tls(server_context(version), server_side=True)
    await handshake
    return far, channel


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_as_the_server(version: ssl.TLSVersion) -> None:
    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor, version)
        assert channel.endpoint.secured
        assert channel.endpoint.tls_version == version.name.replace("_", ".")
        await far.send(packet(b"hello"))
        assert await channel.read_packet() == b"hello"
        channel.write_packet(b"welcome")
        assert await far.receive(11) == packet(b"welcome", 1)

    in_loop(work)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_as_the_client(version: ssl.TLSVersion) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, server_context(version), server=True), Channel(end, "backend")
        handshake = asyncio.ensure_future(far.handshake())
        await channel.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await handshake
        channel.write_packet(b"hello")
        assert await far.receive(9) == packet(b"hello")
        await far.send(packet(b"welcome", 1))
        assert await channel.read_packet() == b"welcome"

    in_loop(work)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [16384, 131072, 0xFFFFFF + 10])
def test_big_transfers_both_ways(version: ssl.TLSVersion, size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + b"end"
    framed_payload = join([payload])[0]

    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor, version)
        sending = asyncio.ensure_future(far.send(framed_payload))
        assert await channel.read_packet() == payload
        await sending
        channel.seq = 0
        channel.write_packet(payload)
        assert await far.receive(len(framed_payload)) == framed_payload
        await channel.drain()
        assert channel.endpoint.bytes_in > size
        assert channel.endpoint.bytes_out > size

    in_loop(work)


def test_packets_glued_behind_the_handshake_are_read() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, client_context()), Channel(end, "client")
        starting = asyncio.ensure_future(channel.start_tls(server_context(), server_side=True))
        await asyncio.sleep(0)
        while True:
            try:
                far.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await far.flush()
                far.fill()
                await asyncio.sleep(0)
        far.tls.write(packet(b"at once") + packet(b"and more", 1))
        await far.flush()
        await starting
        assert await channel.read_packet() == b"at once"
        assert await channel.read_packet() == b"and more"

    in_loop(work)


def test_a_client_hello_glued_to_the_request_for_it_is_used() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, client_context()), Channel(end, "client")
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.do_handshake()
        peer.send(packet(b"SSL request") + far.outgoing.read())
        assert await channel.read_packet() == b"SSL request"
        starting = asyncio.ensure_future(channel.start_tls(server_context(), server_side=True))
        await far.handshake()
        await starting
        await far.send(packet(b"x", 1))
        assert await channel.read_packet() == b"x"

    in_loop(work)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\x00\x05hello", b"\xff" * 9]
)
def test_what_is_no_client_hello_is_a_client_error(garbage: bytes) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, "client")
        starting = asyncio.ensure_future(channel.start_tls(server_context(), server_side=True))
        await asyncio.sleep(0)
        peer.send(garbage)
        with pytest.raises(ClientError, match="TLS handshake failed") as caught:
            await starting
        assert caught.value.full_code == "client.tls"
        peer.send(garbage)
        channel.write_packet(b"nobody could read this")
        with pytest.raises(ClientError):
            await channel.read_packet()
        channel.finish()
        await until(lambda: end.closed)
        assert b"nobody" not in peer.receive()

    in_loop(work)


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_peer_that_leaves_during_the_handshake(side: str) -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        channel = Channel(end, side)
        context = server_context() if side == "client" else client_context()
        starting = asyncio.ensure_future(
            channel.start_tls(
                context,
                server_side=side == "client",
                server_hostname=None if side == "client" else "localhost",
            )
        )
        await asyncio.sleep(0)
        peer.close()
        with pytest.raises(HProxyError, match="peer left during the TLS handshake"):
            await starting
        channel.finish()
        await until(lambda: end.closed)

    in_loop(work)


def test_a_certificate_that_is_not_trusted_is_the_backends_fault() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, server_context(), server=True), Channel(end, "backend")
        handshake = asyncio.ensure_future(far.handshake())
        with pytest.raises(BackendError, match="certificate verify failed"):
            await channel.start_tls(
                client_context(trusting=False), server_side=False, server_hostname="localhost"
            )
        channel.finish()
        with pytest.raises(ssl.SSLError):  # it is told why
            await handshake

    in_loop(work)


def test_a_close_notify_is_an_end() -> None:
    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor)
        await far.send(packet(b"last words"))
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.unwrap()
        await far.flush()
        assert await channel.read_packet() == b"last words"
        with pytest.raises(ClientError, match="connection closed"):
            await channel.read_packet()

    in_loop(work)


def test_an_end_without_close_notify_is_one_too() -> None:
    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor)
        far.peer.close()
        with pytest.raises(ClientError, match=r"connection (closed|reset)"):
            await channel.read_packet()

    in_loop(work)


def test_garbage_after_the_handshake_is_an_end() -> None:
    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor)
        far.peer.send(b"this is no TLS record at all")
        with pytest.raises(ClientError):
            await channel.read_packet()
        channel.finish()
        await until(lambda: channel.endpoint.closed)

    in_loop(work)


def test_finish_says_close_notify_after_the_last_words() -> None:
    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor, send_buffer=65536)
        words = b"x" * 1_000_000
        channel.write_packet(words)
        channel.finish()
        assert await far.receive(len(words) + 4) == packet(words)
        assert await far.receive(1) == b""
        assert far.ended
        far.peer.close()
        await until(lambda: channel.endpoint.closed)

    in_loop(work)


def test_what_was_read_under_tls_goes_to_the_next_owner() -> None:
    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor)
        await far.send(packet(b"mine") + packet(b"yours"))
        assert await channel.read_packet() == b"mine"
        end = channel.detach()
        second = Channel(end, "client")
        assert await second.read_packet() == b"yours"
        assert end.secured

    in_loop(work)


def test_tls_on_one_side_of_a_session() -> None:
    """Also a long pipeline: what is decrypted and not yet wanted must not be forgotten."""
    rows = framed([*columns(1, True), b"\x011", *eof(True)])
    command = packet(b"\x03SELECT '" + b"x" * 3000 + b"'")
    count = 200

    async def work(reactor: Reactor) -> None:
        far, channel = await secured(reactor)
        backend, end = pair(reactor)
        driver = Driver()
        session = Session(channel.detach(), end, driver, deprecate_eof=True)
        session.start()
        sending = asyncio.ensure_future(far.send(command * count))
        for _ in range(count):
            heard = b""
            while len(heard) < len(command):
                heard += backend.receive()
                await asyncio.sleep(0)
            assert heard == command
            backend.send(rows)
            assert await far.receive(len(rows)) == rows
        await sending
        assert session.state == "idle"
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.unwrap()
        await far.flush()
        await until(lambda: session.state == "closed")
        assert driver.told[0] == ("client lost", "idle")

    in_loop(work)


def test_tls_towards_a_backend_with_large_results() -> None:
    async def work(reactor: Reactor) -> None:
        client, client_end = pair(reactor)
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, server_context(), server=True), Channel(end, "backend")
        handshake = asyncio.ensure_future(far.handshake())
        await channel.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await handshake
        session = Session(client_end, channel.detach(), Driver(), deprecate_eof=True)
        session.start()
        client.send(packet(b"\x03SELECT"))
        assert await far.receive(11) == packet(b"\x03SELECT")
        data = framed(
            [*columns(1, True), *([b"\xfd\x00\x00\x02" + b"r" * 0x20000] * 40), *eof(True)]
        )
        sending = asyncio.ensure_future(far.send(data))
        parts: list[bytes] = []
        while sum(map(len, parts)) < len(data):
            parts.append(client.receive(50_000))
            await asyncio.sleep(0)
        assert b"".join(parts) == data
        await sending
        assert session.state == "idle"
        far.peer.close()
        await until(lambda: session.state == "closed")

    in_loop(work)


def test_a_backend_lost_under_tls() -> None:
    async def work(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, server_context(), server=True), Channel(end, "backend")
        handshake = asyncio.ensure_future(far.handshake())
        await channel.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await handshake
        far.peer.close()
        with pytest.raises(BackendLost):
            await channel.read_packet()

    in_loop(work)


def test_nothing_is_left_of_many_handshakes() -> None:
    server, trusting = server_context(), client_context()

    async def one(reactor: Reactor) -> None:
        peer, end = pair(reactor)
        far, channel = TlsPeer(peer, trusting), Channel(end, "client")
        handshake = asyncio.ensure_future(far.handshake())
        await channel.start_tls(server, server_side=True)
        await handshake
        channel.write_packet(b"x")
        channel.finish()
        peer.close()
        await until(lambda: end.closed)

    async def work(reactor: Reactor) -> None:
        await one(reactor)
        gc.collect()
        before = open_descriptors()
        for _ in range(100):
            await one(reactor)
        gc.collect()
        assert open_descriptors() == before
        assert reactor.size == 0

    in_loop(work)


def test_without_tls_there_is_no_version() -> None:
    reactor = Reactor()
    _, end = pair(reactor)
    assert isinstance(end, Endpoint)
    assert (end.secured, end.tls_version) == (False, None)
