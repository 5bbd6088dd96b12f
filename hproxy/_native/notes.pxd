# SPDX-License-Identifier: Apache-2.0
# The map of notes: what a session that keeps one backend connection tells a log.
#
# Memory: of the command under way up to NOTED_LIMIT bytes; of its prepared statements the texts, at
# most TEXTS_LIMIT bytes and MOST_TEXTS of them.
# Failure: none; a text that is not kept is not told. The GIL is held.

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    NOTED_LIMIT = 65536
    TEXTS_LIMIT = 1 << 20
    MOST_TEXTS = 1024


cdef class Notes:
    cdef public bint all                # the driver is told of every statement
    cdef public uint64_t slow_ns        # of those that take so long; 0: of none of them
    cdef bytes payload                  # of the command under way; None: it is not noted
    cdef uint64_t begun                 # nanoseconds, when it came
    cdef dict texts                     # of prepared statements, by id
    cdef Py_ssize_t kept                # bytes of them
    cdef uint32_t last_id               # of the one prepared last

    cdef int opened(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef bint ended(self, bint errored, uint32_t prepared_id, uint64_t* took) except -1
    cdef void changed(self, unsigned char command) noexcept
    cdef int forget(self, object number) except -1
