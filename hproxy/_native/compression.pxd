# SPDX-License-Identifier: Apache-2.0
# The map of compression: MySQL's compressed frames, between a socket and the packets in them.
#
# Memory: a stream owns what came and is not unpacked yet (`raw`: one frame, at most 16 MiB, and
# one receive more) and at most one unpacked frame (`plain`, at most 16 MiB). Nothing is unpacked
# before everything unpacked earlier was taken. Packets to clients are held until they are whole,
# 64 MiB of them in all streams together; beyond that they flow in parts.
# Failure: bytes that are no frames set `fault`, after which nothing more comes out; only
# MemoryError is raised. Codecs are Python objects (see `Codec` in the .pyi). The GIL is held.

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    FRAME_HEAD = 7             # length 3, number 1, length once unpacked 3 (0: stored as it is)
    STORED_BELOW = 50          # bytes: shorter payloads are not worth the work


cdef struct Walk:
    # Where the head of a packet stands in one direction of the unpacked stream.
    uint32_t length            # of the head being read
    uint32_t left              # bytes of the packet still to come
    unsigned char head         # bytes of its head seen, 0 to 3
    bint full                  # the packet goes on in the next one (16 MiB - 1)


cdef class CompressedStream:
    cdef object codec
    cdef bint server                    # the peer begins exchanges, we answer
    cdef bytearray raw
    cdef Py_ssize_t raw_start
    cdef bytes plain                    # the unpacked frame being taken, or None
    cdef Py_ssize_t plain_start
    cdef Walk reading
    cdef Walk writing
    cdef unsigned char counter          # number of the next frame, either way
    cdef unsigned char following        # number of the next packet, either way
    cdef bint wrote_last                # the last packet seen was ours
    cdef bint opening                   # a packet of ours begins: its first byte tells its kind
    cdef bint fresh                     # the frame being taken began an exchange
    cdef bint adopt                     # the next packet's own number stands
    cdef bint infile                    # we have asked for a file: its packets are no commands
    cdef list ahead                     # [offset, next number] of commands not begun to be served
    cdef bytearray held                 # a packet of ours that is not all there yet, or None
    cdef Py_ssize_t held_length
    cdef uint64_t delivered             # bytes taken so far
    cdef uint64_t served                # of them the owner has begun to serve
    cdef bint over                      # the peer has ended; told once all was taken
    cdef readonly str fault             # what is wrong with the peer's bytes, or None

    cdef int push(self, const char* data, Py_ssize_t length) except -1
    cdef bint ready(self) noexcept
    cdef bint unpack(self) except? True
    cdef Py_ssize_t take(self, unsigned char* room, Py_ssize_t length) noexcept
    cdef bytearray pack(self, const unsigned char* data, Py_ssize_t length)
    cdef Py_ssize_t whole(self) noexcept
    cdef bint refuse(self, unsigned char number, str reason) noexcept
    cdef unsigned char expected(self)
    cdef bint begins(self, unsigned char number, unsigned char due) noexcept
    cdef int count(self, unsigned char number, unsigned char due) except -1
    cdef void renumber(self, unsigned char* p, Py_ssize_t length) noexcept
    cdef int settle(self) except -1
    cdef int emit_whole(
        self, bytearray out, const unsigned char* data, Py_ssize_t length, Py_ssize_t ends
    ) except -1
    cdef int emit(self, bytearray out, const unsigned char* data, Py_ssize_t length) except -1
    cdef int head(self, bytearray out, Py_ssize_t length, Py_ssize_t size) except -1
