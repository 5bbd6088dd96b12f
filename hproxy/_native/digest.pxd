# SPDX-License-Identifier: Apache-2.0
# The map of digest: what is left of a statement when its values are taken out, and its hash.
#
# Memory: a Digester owns one buffer of BUFFER bytes, allocated with it; `text` points into it
# and is valid until the next `run`. `run` allocates nothing and touches no Python object.
# Failure: `run` cannot fail (noexcept: every read is compared with the end, any bytes have a
# digest); only making a Digester can (MemoryError). The GIL is held throughout.

from libc.stdint cimport uint64_t

cdef enum:
    MAX_TEXT = 4096        # bytes of normalised text that are kept; the hash covers all of it
    BUFFER = 8192          # the rest passes through the upper half


cdef class Digester:
    cdef unsigned char* text                    # normalised, not ended by NUL
    cdef readonly Py_ssize_t size               # bytes of it stored, MAX_TEXT at the most
    cdef readonly Py_ssize_t total              # bytes it has
    cdef readonly bint truncated                # total > MAX_TEXT
    cdef readonly uint64_t low                  # the hash, keyed by process and modes
    cdef readonly uint64_t high
    cdef readonly Py_ssize_t comment_at         # inside of the first comment; -1: there is none
    cdef readonly Py_ssize_t comment_size
    cdef uint64_t a                             # its state while text passes through
    cdef uint64_t b
    cdef Py_ssize_t dropped                     # bytes that have left the buffer

    cdef int run(self, const unsigned char* sql, Py_ssize_t length, int modes) noexcept
    cdef Py_ssize_t append(
        self, Py_ssize_t n, const unsigned char* data, Py_ssize_t length
    ) noexcept
    cdef Py_ssize_t drain(self, Py_ssize_t n) noexcept
    cdef void absorb(self, Py_ssize_t start, Py_ssize_t stop) noexcept
    cdef void finish(self, Py_ssize_t n) noexcept


cdef uint64_t stable(const unsigned char* text, Py_ssize_t length) noexcept
