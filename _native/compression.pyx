# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""MySQL's compressed frames, between a socket and the packets in them.

    socket -> push -> raw -> unpack (a whole frame) -> plain -> take (renumbered) -> packets
    packets -> pack ─ cut where a command begins, 16 MiB - 1 at the most ─> frames -> socket

Frames have numbers of their own, counted over both directions: a command's first frame is 0,
an answer's first is one more than the last frame of its question. Packets inside are numbered
too, but nobody reads those: servers set them to the frames' numbers at every flush, MariaDB's
clients write 0. The other side of a proxy does read them, so packets are renumbered here as if
there were no compression: each is one more than the one before it, whoever sent that.

Who begins? Towards a backend we do, with packet 0. A client does with frame 0 at the beginning
of a packet, and may do so ahead of our answer: the frames of our answer are then numbered after
the command they answer, not after the one that waits.

Frames for clients end where packets end, as far as HOLD_LIMIT goes for all connections together:
a packet may lie in any number of frames, but MySQL's own connector for Python reads only two.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ
from libc.string cimport memcpy

from hproxy._native.cursor cimport load3

cdef enum:
    PACKET_HEAD = 4
    FRAME_MAX = 0xFFFFFF
    COMPACT_ABOVE = 65536       # bytes done with that are worth moving the rest for
    HOLD_LIMIT = 0x4000000      # bytes of unfinished packets held in this process
    INFILE = 0xFB               # first byte of a server's request for a file

cdef Py_ssize_t holding = 0     # bytes of unfinished packets, of all streams


cdef inline bint walk(Walk* at, unsigned char byte) noexcept:
    """Take one byte of a packet's head; True for the last, its number."""
    if at.head < 3:
        at.length |= <uint32_t>byte << (8 * at.head)
        at.head += 1
        return False
    at.left = at.length
    at.full = at.length == FRAME_MAX
    at.length = 0
    at.head = 0
    return True


@cython.final
cdef class CompressedStream:

    def __init__(self, codec not None, bint server):
        self.codec = codec
        self.server = server
        self.raw = bytearray()
        self.ahead = []

    def __dealloc__(self):
        global holding
        holding -= self.held_length

    # -- reading ---------------------------------------------------------------

    cdef int push(self, const char* data, Py_ssize_t length) except -1:
        self.raw += data[:length]
        return 0

    cdef Py_ssize_t whole(self) noexcept:
        """Length of the frame at the front once all of it is there, else 0."""
        cdef const unsigned char* p = <const unsigned char*><char*>self.raw + self.raw_start
        cdef Py_ssize_t have = len(self.raw) - self.raw_start, length
        if have < FRAME_HEAD:
            return 0
        length = FRAME_HEAD + load3(p)
        return length if have >= length else 0

    cdef bint ready(self) noexcept:
        """Whether there is something to take now, without more input."""
        if self.fault is not None:
            return False
        return self.plain is not None or self.whole() != 0 or self.over

    cdef bint refuse(self, unsigned char number, str reason) noexcept:
        self.fault = reason
        self.counter = number + 1       # what we say to it answers this frame
        self.ahead = []
        self.plain = None
        self.raw = bytearray()
        self.raw_start = 0
        return False

    cdef unsigned char expected(self):
        return self.ahead[len(self.ahead) - 1][1] if self.ahead else self.counter

    cdef bint begins(self, unsigned char number, unsigned char due) noexcept:
        """Whether a frame of that number begins an exchange, at this place in the stream.

        Backends begin with 0 what nobody asked for, and with 1 their answer to a command that
        was sent ahead (which streams let pass).
        """
        if number > (0 if self.server else 1) or \
                self.reading.left or self.reading.head or self.reading.full:
            return False
        # Due all the same, after 256 of them? Then it goes on, unless a command may come.
        return due != number or (self.server and not self.infile)

    cdef bint unpack(self) except? True:
        """See to it that there is something to take; False when that needs more input."""
        cdef const unsigned char* p
        cdef Py_ssize_t length
        cdef unsigned char number, due
        cdef uint32_t size
        cdef object body
        if self.plain is not None:
            return True
        if self.fault is not None or len(self.raw) - self.raw_start < FRAME_HEAD:
            return False
        # Looked at before it is all there: garbage announces 16 MiB nobody would send.
        p = <const unsigned char*><char*>self.raw + self.raw_start
        length, number, size = load3(p), p[3], load3(p + 4)
        due = self.expected()
        if length == 0:
            return self.refuse(number, "an empty compressed frame")
        if number != due and not self.begins(number, due):
            return self.refuse(number, f"compressed frame has sequence id {number}, expected {due}")
        if self.whole() == 0:
            return False
        p += FRAME_HEAD
        if size == 0:
            self.plain = p[:length]
        else:
            body = PyMemoryView_FromMemory(<char*>p, length, PyBUF_READ)
            try:
                self.plain = self.codec.decompress(body, size)
            except ValueError as error:
                return self.refuse(number, f"compressed frame is broken: {error}")
            if PyBytes_GET_SIZE(self.plain) != size:
                return self.refuse(number, "compressed frame is not as long as it says")
        self.plain_start = 0
        self.count(number, due)
        self.raw_start += FRAME_HEAD + length
        if self.raw_start == len(self.raw):
            self.raw = bytearray()
            self.raw_start = 0
        elif self.raw_start > COMPACT_ABOVE:
            del self.raw[:self.raw_start]
            self.raw_start = 0
        return True

    cdef int count(self, unsigned char number, unsigned char due) except -1:
        """A frame was unpacked: its number is used."""
        cdef unsigned char after = number + 1
        self.fresh = self.begins(number, due)
        if self.fresh:
            self.infile = False
            self.adopt = True
            if self.server:
                self.ahead.append([self.delivered, after])
            else:
                self.counter = after
        elif self.ahead:
            self.ahead[len(self.ahead) - 1][1] = after
        else:
            self.counter = after
        return 0

    cdef Py_ssize_t take(self, unsigned char* room, Py_ssize_t length) noexcept:
        """Move at most `length` unpacked bytes to `room`."""
        cdef Py_ssize_t rest
        if self.plain is None:
            return 0
        rest = PyBytes_GET_SIZE(self.plain) - self.plain_start
        if length > rest:
            length = rest
        memcpy(room, PyBytes_AS_STRING(self.plain) + self.plain_start, length)
        self.plain_start += length
        if length == rest:
            self.plain = None
        self.delivered += length
        self.renumber(room, length)
        return length

    cdef void renumber(self, unsigned char* p, Py_ssize_t length) noexcept:
        cdef Walk* at = &self.reading
        cdef Py_ssize_t step
        cdef bint goes_on
        while length > 0:
            if at.left:
                step = min(<Py_ssize_t>at.left, length)
                at.left -= <uint32_t>step
                p += step
                length -= step
                continue
            goes_on = at.full
            if walk(at, p[0]):
                # Several commands may share a frame: a client's 0 begins one, unless it answers.
                if self.adopt or (self.server and p[0] == 0 and not goes_on and
                                  not self.infile and (self.fresh or not self.wrote_last)):
                    self.following = p[0]
                else:
                    p[0] = self.following
                self.following += 1
                self.adopt = False
                self.wrote_last = False
                if at.left == 0:
                    self.infile = False         # the empty packet that ends a file
            p += 1
            length -= 1

    # -- writing ---------------------------------------------------------------

    cdef bytearray pack(self, const unsigned char* data, Py_ssize_t length):
        """Frames with `data` in them."""
        cdef Walk* at = &self.writing
        cdef bytearray out = bytearray()
        cdef Py_ssize_t pos = 0, start = 0, step, ends = 0
        cdef bint goes_on
        if self.server:
            self.settle()
        while pos < length:
            if at.left:
                if self.opening:
                    self.infile = data[pos] == INFILE
                    self.opening = False
                step = min(<Py_ssize_t>at.left, length - pos)
                at.left -= <uint32_t>step
                pos += step
                if at.left == 0:
                    ends = pos
                continue
            goes_on = at.full
            if walk(at, data[pos]):
                # After our own 255 a 0 goes on counting: a long file. Else a command begins,
                # whose head comes in one piece, and whose frames count anew.
                if not self.server and data[pos] == 0 and pos - start >= PACKET_HEAD - 1 and \
                        not (self.wrote_last and self.following == 0):
                    self.emit(out, data + start, pos - (PACKET_HEAD - 1) - start)
                    start = pos - (PACKET_HEAD - 1)
                    self.counter = 0
                self.following = data[pos] + 1
                self.wrote_last = True
                self.opening = self.server and not goes_on
                if at.left == 0:
                    self.infile = False
                    ends = pos + 1
            pos += 1
        if self.server:
            self.emit_whole(out, data, length, ends)
        else:
            self.emit(out, data + start, length - start)
        return out

    cdef int emit_whole(
        self, bytearray out, const unsigned char* data, Py_ssize_t length, Py_ssize_t ends
    ) except -1:
        """Up to the last end of a packet; the rest waits for its own, if there is room for it."""
        global holding
        cdef bytearray held = self.held
        if length == ends or holding + length - ends > HOLD_LIMIT:
            ends = length
        if ends:
            if held is None:
                self.emit(out, data, ends)
            else:
                held += data[:ends]
                self.held = None
                holding -= self.held_length
                self.held_length = 0
                self.emit(out, <const unsigned char*><char*>held, len(held))
        if ends < length:
            if self.held is None:
                self.held = bytearray()
            self.held += data[ends:length]
            self.held_length += length - ends
            holding += length - ends
        return 0

    cdef int settle(self) except -1:
        """Go over to the numbers of the command that is being answered."""
        while self.ahead and self.ahead[0][0] < self.served:
            self.counter = self.ahead.pop(0)[1]
        return 0

    cdef int emit(self, bytearray out, const unsigned char* data, Py_ssize_t length) except -1:
        cdef Py_ssize_t size
        cdef bytes packed
        while length > 0:
            size = min(length, <Py_ssize_t>FRAME_MAX)
            packed = None
            if size >= STORED_BELOW:
                packed = self.codec.compress(PyMemoryView_FromMemory(<char*>data, size, PyBUF_READ))
            if packed is None or PyBytes_GET_SIZE(packed) >= size:
                self.head(out, size, 0)
                out += data[:size]
            else:
                self.head(out, PyBytes_GET_SIZE(packed), size)
                out += packed
            data += size
            length -= size
        return 0

    cdef int head(self, bytearray out, Py_ssize_t length, Py_ssize_t size) except -1:
        out += bytes((length & 0xFF, length >> 8 & 0xFF, length >> 16, self.counter,
                      size & 0xFF, size >> 8 & 0xFF, size >> 16))
        self.counter += 1
        return 0

    # -- for tests and clients of ours -----------------------------------------

    def receive(self, bytes data not None):
        cdef bytearray out = bytearray()
        cdef unsigned char room[4096]
        cdef Py_ssize_t got
        self.push(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        while self.unpack():
            got = self.take(room, sizeof(room))
            out += room[:got]
            self.served = self.delivered
        return bytes(out)

    def send(self, bytes data not None):
        return bytes(self.pack(<const unsigned char*>PyBytes_AS_STRING(data),
                               PyBytes_GET_SIZE(data)))
