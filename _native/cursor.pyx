# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Bounds-checked little-endian reads over one payload, and the length-encoded writer.

For packets that become Python objects (logins, statements of the admin port). Scanners that
run over whole buffers take only the inline functions of the map.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memchr


class CursorError(ValueError):
    """A read beyond the end, or a byte that cannot begin a number; `offset` is where."""

    def __init__(self, reason, offset):
        super().__init__(f"{reason} at byte {offset}")
        self.offset = offset


@cython.final
cdef class Cursor:

    def __cinit__(self, data):
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)
        self.held = True
        self.data = <const unsigned char*>self.view.buf
        self.end = self.view.len

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int need(self, Py_ssize_t count) except -1:
        # Compared with what is left, not pos + count with end: a count taken from the wire
        # could overflow the sum.
        if count < 0 or count > self.end - self.pos:
            raise CursorError(
                f"{count} bytes wanted, {self.end - self.pos} left", self.pos
            )
        return 0

    cdef unsigned long long fixed(self, Py_ssize_t width) except? 0xFFFFFFFFFFFFFFFF:
        self.need(width)
        cdef unsigned long long value = read_fixed(self.data + self.pos, width)
        self.pos += width
        return value

    cdef bytes copy(self, Py_ssize_t count):
        self.need(count)
        cdef bytes taken = PyBytes_FromStringAndSize(<const char*>self.data + self.pos, count)
        self.pos += count
        return taken

    @property
    def remaining(self):
        return self.end - self.pos

    def u8(self):
        return self.fixed(1)

    def u16(self):
        return self.fixed(2)

    def u24(self):
        return self.fixed(3)

    def u32(self):
        return self.fixed(4)

    def u48(self):
        return self.fixed(6)

    def u64(self):
        return self.fixed(8)

    def lenenc_int(self):
        cdef unsigned long long value = 0
        cdef Py_ssize_t used = read_lenenc(self.data + self.pos, self.end - self.pos, &value)
        if used <= 0:
            raise CursorError(
                "no number can begin so" if used < 0 else "number cut short", self.pos
            )
        self.pos += used
        return value

    def lenenc_bytes(self):
        cdef Py_ssize_t start = self.pos
        cdef unsigned long long length = self.lenenc_int()
        if length > <unsigned long long>(self.end - self.pos):
            self.pos = start
            raise CursorError(f"string of {length} bytes cut short", start)
        return self.copy(<Py_ssize_t>length)

    def nul_bytes(self):
        cdef const unsigned char* here = self.data + self.pos
        cdef const void* nul = NULL
        if self.end > self.pos:         # memchr of an empty buffer's NULL is undefined
            nul = memchr(here, 0, <size_t>(self.end - self.pos))
        if nul == NULL:
            raise CursorError("string without its NUL", self.pos)
        cdef bytes found = self.copy(<const unsigned char*>nul - here)
        self.pos += 1
        return found

    def take(self, Py_ssize_t count, /):
        return self.copy(count)

    def rest(self):
        return self.copy(self.end - self.pos)

    def skip(self, Py_ssize_t count, /):
        self.need(count)
        self.pos += count

    def peek(self):
        self.need(1)
        return self.data[self.pos]


def lenenc(unsigned long long value):
    cdef unsigned char out[9]
    cdef Py_ssize_t width, i
    if value < LENENC_NULL:
        out[0] = <unsigned char>value
        return PyBytes_FromStringAndSize(<const char*>out, 1)
    if value <= 0xFFFF:
        out[0] = LENENC_2
        width = 2
    elif value <= 0xFFFFFF:
        out[0] = LENENC_3
        width = 3
    else:
        out[0] = LENENC_8
        width = 8
    for i in range(width):
        out[i + 1] = <unsigned char>(value & 0xFF)
        value >>= 8
    return PyBytes_FromStringAndSize(<const char*>out, width + 1)


def try_lenenc(const unsigned char[::1] data):
    cdef unsigned long long value = 0
    cdef Py_ssize_t size = data.shape[0]
    cdef Py_ssize_t used = read_lenenc(&data[0] if size else NULL, size, &value)
    return used, value
