# SPDX-License-Identifier: Apache-2.0
"""What the processes of a service say to one another: frames over a socket pair, with descriptors.

    length  4 bytes, big endian, of what follows
    count   1 byte: descriptors that belong to the frame (SCM_RIGHTS, sent with its first byte)
    body    JSON object  {"verb": ..., facts}                     nothing is answered
                         {"verb": ..., "ask": n, facts}           answered by
                         {"answer": n, facts}  or  {"answer": n, "error": text, "code": ...}

    ask ──> frame ── handler ──> its facts        a handler that raises answers with the error;
                                 descriptors in "fds" are given away: closed here once sent
    tell ─> frame ── handler                      a peer that is gone ends every wait: ChannelClosed

Both ends are this class, on any event loop. A peer is another process of the same service: what
it sends is trusted, and what cannot be read ends the channel.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import orjson

from hproxy.errors import ChannelClosed, HProxyError
from hproxy.net.memory import spare
from hproxy.process.refusal import refusal, refused

__all__ = ["Channel", "Facts", "Handler", "Message", "pair"]

Facts = dict[str, Any]
HEAD = struct.Struct("!IB")
MAX_FRAME = 1 << 30
MAX_FDS = 250
"""The kernel takes 253 at a time."""
CHUNK = 1 << 18


class Message:
    """One frame that came: `verb`, `facts`, and descriptors, which are whoever handles it's own."""

    __slots__ = ("facts", "fds", "verb")

    def __init__(self, verb: str, facts: Facts, fds: Sequence[int]) -> None:
        self.verb = verb
        self.facts = facts
        self.fds = fds

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]


Handler = Callable[["Channel", Message], Awaitable[Facts | None] | Facts | None]


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends; a child inherits one only where it is passed on by name."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Channel:
    """One end. `handler(channel, message)` may be a coroutine function; a message is handled as
    soon as it is here, so that one that waits does not keep others waiting."""

    def __init__(self, sock: socket.socket, handler: Handler, *, name: str = "") -> None:
        """Use it in a running loop. `name` is the peer's, for messages."""
        self.name = name
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the peer is gone, or this end was closed."""
        self._sock = sock
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._inbox = bytearray()
        self._fds: deque[int] = deque()
        self._outbox: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._readable)

    # -- sending -----------------------------------------------------------------

    def tell(self, verb: str, *, fds: Sequence[int] = (), **facts: Any) -> None:
        """Send; nothing is answered. A peer that is gone is no error here: `closed` tells.

        `fds` are duplicated at once: the caller may close its own."""
        self._send({"verb": verb, **facts}, fds)

    async def ask(
        self, verb: str, *, fds: Sequence[int] = (), timeout_sec: float | None = None, **facts: Any
    ) -> Message:
        """The answer: its facts and descriptors.

        Raises RemoteError, ChannelClosed, TimeoutError."""
        if self.closed.done():
            raise ChannelClosed(peer=self.name)
        self._next += 1
        number = self._next
        future = self._asked[number] = self._loop.create_future()
        try:
            self._send({"verb": verb, "ask": number, **facts}, fds)
            async with asyncio.timeout(timeout_sec):
                answer: Message = await future
        finally:
            self._asked.pop(number, None)
        if "error" in answer.facts:
            raise refusal(answer.facts)
        return answer

    def _send(self, body: Facts, fds: Sequence[int]) -> None:
        if self.closed.done():
            return
        if len(fds) > MAX_FDS:
            raise ValueError(f"at most {MAX_FDS} descriptors go with a message")
        data = _dumped(body)
        frame = memoryview(HEAD.pack(len(data) + 1, len(fds)) + data)
        self._outbox.append((frame, [os.dup(fd) for fd in fds]))
        if not self._writing:
            self._flush()

    def _flush(self) -> None:
        while self._outbox:
            data, fds = self._outbox[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._sock.sendmsg([data], rights)
            except (BlockingIOError, InterruptedError):
                self._write_later(True)
                return
            except OSError:
                self._end()
                return
            _close_all(fds)
            if sent < len(data):
                self._outbox[0] = (data[sent:], ())
            else:
                self._outbox.popleft()
        self._write_later(False)

    def _write_later(self, later: bool) -> None:
        if later and not self._writing:
            self._loop.add_writer(self._sock, self._flush)
        elif self._writing and not later:
            self._loop.remove_writer(self._sock)
        self._writing = later

    # -- receiving ---------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(
                CHUNK, socket.CMSG_SPACE(4 * MAX_FDS), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end()
            return
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                self._fds.extend(fds)
        if not data:
            self._end()
            return
        self._inbox += data
        self._take_frames()

    def _take_frames(self) -> None:
        while len(self._inbox) >= HEAD.size and not self.closed.done():
            length, count = HEAD.unpack_from(self._inbox)
            if not 1 <= length <= MAX_FRAME:
                self._end()
                return
            end = HEAD.size - 1 + length
            if len(self._inbox) < end or len(self._fds) < count:
                return
            try:
                body = _loaded(self._inbox, end)
            except json.JSONDecodeError:
                self._end()
                return
            del self._inbox[:end]
            self._received(body, [self._fds.popleft() for _ in range(count)])

    def _received(self, body: Facts, fds: Sequence[int]) -> None:
        number = body.pop("answer", None)
        if number is not None:
            future = self._asked.get(number)
            if future is None or future.done():
                _close_all(fds)  # nobody waits any more
            else:
                future.set_result(Message("", body, fds))
            return
        verb, asked = body.pop("verb"), body.pop("ask", None)
        task = self._loop.create_task(self._handle(Message(verb, body, fds), asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, message: Message, asked: int | None) -> None:
        try:
            found = self._handler(self, message)
            facts = found if isinstance(found, dict) or found is None else await found
        except HProxyError as error:
            facts = refused(error)
        except Exception as error:
            facts = {"error": repr(error), "code": "internal"}
            told = {"message": f"{message.verb} failed", "exception": error}
            self._loop.call_exception_handler(told)
        if asked is None:
            return
        facts = dict(facts or {})
        fds = facts.pop("fds", ())
        self._send({**facts, "answer": asked}, fds)
        _close_all(fds)

    # -- the end -----------------------------------------------------------------

    def close(self) -> None:
        """Send no more, hear no more; what waits for an answer raises ChannelClosed."""
        self._end()

    def _end(self) -> None:
        if self.closed.done():
            return
        self._loop.remove_reader(self._sock)
        self._write_later(False)
        self._sock.close()
        for _, fds in self._outbox:
            _close_all(fds)
        self._outbox.clear()
        _close_all(self._fds)
        self._fds.clear()
        self.closed.set_result(None)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ChannelClosed(peer=self.name))


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


# Where there is no memory left orjson ends the process; the standard library's is slow and raises.


def _dumped(body: Facts) -> bytes:
    return orjson.dumps(body) if spare() else json.dumps(body).encode()


def _loaded(inbox: bytearray, end: int) -> Facts:
    facts: Facts
    if spare():
        facts = orjson.loads(memoryview(inbox)[HEAD.size : end])
    else:
        facts = json.loads(inbox[HEAD.size : end])
    return facts
