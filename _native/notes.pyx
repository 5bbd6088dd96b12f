# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""What a session that keeps one backend connection tells a log: statements, as they pass.

    command ── opened: a copy, and when ──> answer ── ended: is somebody to be told?
      └ COM_STMT_PREPARE: its text, by the id in the answer     └ all, or slow ──> driver.noted

A session without notes, of which nothing is on record, does nothing of this.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from hproxy._native.cursor cimport load4

cdef enum:
    COM_INIT_DB = 0x02
    COM_QUERY = 0x03
    COM_CHANGE_USER = 0x11
    COM_STMT_PREPARE = 0x16
    COM_STMT_EXECUTE = 0x17
    COM_STMT_CLOSE = 0x19
    COM_RESET_CONNECTION = 0x1F
    COM_STMT_BULK_EXECUTE = 0xFA
    LAST_PREPARED = 0xFFFFFFFF          # MariaDB: the one prepared last, whose id is still to come


cdef inline uint64_t nanoseconds() noexcept:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <uint64_t>ts.tv_sec * 1000000000 + <uint64_t>ts.tv_nsec


@cython.final
cdef class Notes:

    def __init__(self, bint all, uint64_t slow_ns):
        self.all = all
        self.slow_ns = slow_ns
        self.texts = {}

    cdef int opened(self, const unsigned char* p, Py_ssize_t size) except -1:
        """A command begins; `size` bytes of its payload are here."""
        self.payload = None
        if size <= 0:
            return 0
        if p[0] == COM_QUERY or p[0] == COM_STMT_EXECUTE or p[0] == COM_STMT_PREPARE or \
                p[0] == COM_STMT_BULK_EXECUTE or p[0] == COM_INIT_DB:
            self.payload = p[:min(size, <Py_ssize_t>NOTED_LIMIT)]
            self.begun = nanoseconds()
        elif p[0] == COM_STMT_CLOSE and size >= 5:
            self.forget(load4(p + 1))
        else:
            self.changed(p[0])
        return 0

    cdef void changed(self, unsigned char command) noexcept:
        """A command that is not noted: some of them end all prepared statements."""
        self.payload = None
        if command == COM_CHANGE_USER or command == COM_RESET_CONNECTION:
            self.texts = {}
            self.kept = 0

    cdef int forget(self, object number) except -1:
        text = self.texts.pop(number, None)
        if text is not None:
            self.kept -= len(text)
        return 0

    cdef bint ended(self, bint errored, uint32_t prepared_id, uint64_t* took) except -1:
        """It was answered: whether the driver is to be told."""
        cdef bytes text
        cdef unsigned char command = self.payload[0]
        took[0] = nanoseconds() - self.begun
        if command == COM_STMT_PREPARE:
            if not errored:
                self.forget(prepared_id)
                text = self.payload[1:]
                self.last_id = prepared_id
                if self.kept + len(text) <= TEXTS_LIMIT and len(self.texts) < MOST_TEXTS:
                    self.texts[prepared_id] = text
                    self.kept += len(text)
            return False
        return self.all or command != COM_INIT_DB and 0 < self.slow_ns <= took[0]

    def statement(self, bytes payload not None):
        cdef uint32_t number
        if len(payload) < 5:
            return None, None
        number = load4(<const unsigned char*><char*>payload + 1)
        if number == LAST_PREPARED:
            number = self.last_id
        return number, self.texts.get(number)
