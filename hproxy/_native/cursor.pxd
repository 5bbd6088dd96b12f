# SPDX-License-Identifier: Apache-2.0
# The map of cursor: bounds-checked little-endian reads over one payload.
#
# Memory: a Cursor holds a buffer view (the exporter cannot shrink or go away) until it is
# collected; every read that returns bytes returns a copy.
# Failure: each read may raise CursorError, `need` is the one function that checks bounds;
# after an error `pos` is where the refused read began. The GIL is held throughout.

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint32_t


cdef enum:
    LENENC_NULL = 0xFB         # a NULL column in a text row; never a number
    LENENC_2 = 0xFC            # followed by 2, 3 and 8 bytes
    LENENC_3 = 0xFD
    LENENC_8 = 0xFE
    LENENC_ERR = 0xFF          # the head of an ERR packet; never a number


cdef class Cursor:
    cdef Py_buffer view
    cdef const unsigned char* data
    cdef Py_ssize_t end                         # bytes in the payload
    cdef readonly Py_ssize_t pos                # bytes from its start
    cdef bint held                              # view is to be released

    cdef int need(self, Py_ssize_t count) except -1
    cdef unsigned long long fixed(self, Py_ssize_t width) except? 0xFFFFFFFFFFFFFFFF
    cdef bytes copy(self, Py_ssize_t count)


cdef inline unsigned long long read_fixed(const unsigned char* p, Py_ssize_t width) noexcept nogil:
    """The `width` bytes at `p`, little endian. Cannot fail: the caller has checked them."""
    cdef unsigned long long value = 0
    while width > 0:
        width -= 1
        value = (value << 8) | p[width]
    return value


cdef inline uint32_t load2(const unsigned char* p) noexcept nogil:
    return p[0] | (<uint32_t>p[1] << 8)


cdef inline uint32_t load3(const unsigned char* p) noexcept nogil:
    """Also the payload's length in a MySQL frame's head."""
    return load2(p) | (<uint32_t>p[2] << 16)


cdef inline uint32_t load4(const unsigned char* p) noexcept nogil:
    return load3(p) | (<uint32_t>p[3] << 24)


cdef inline int lenenc_size(unsigned char first) noexcept nogil:
    """Bytes of the number that begins with `first`, itself included; 0 when none may."""
    if first < LENENC_NULL:
        return 1
    if first == LENENC_2:
        return 3
    if first == LENENC_3:
        return 4
    return 9 if first == LENENC_8 else 0


# Above five lines and still inline: the scanners call it for every column of every row.
cdef inline Py_ssize_t read_lenenc(
    const unsigned char* p, Py_ssize_t avail, unsigned long long* out
) noexcept nogil:
    """Bytes consumed; 0 when more are needed, -1 when 0xFB or 0xFF stands where a number must."""
    cdef int size
    if avail < 1:
        return 0
    size = lenenc_size(p[0])
    if size == 1:
        out[0] = p[0]
        return 1
    if size == 0:
        return -1
    if avail < size:
        return 0
    out[0] = read_fixed(p + 1, size - 1)
    return size
