# SPDX-License-Identifier: Apache-2.0
# The map of buckets: token buckets by key, which all workers of a service share.
#
# Memory: one memfd, mapped by each process, or memory of one process alone.
#   page 0    Header
#   kinds     `sets` sets each, of WAYS slots; a key is in the set its hash says, or nowhere
# A key without a slot has a full bucket. Nothing locks, nothing waits, and a process may die at
# any instruction: what it took comes back as time passes.
# Failure: none once it is mapped; a table without room forgets its fullest bucket. The GIL is held.

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef enum:
    WAYS = 8


cdef struct Header:
    uint64_t magic
    uint32_t format
    uint32_t kinds
    uint64_t sets           # of each kind
    unsigned char secret[16]
    int64_t alert_until     # some bucket was empty a short time before


cdef struct Slot:
    uint64_t key            # 0 is nobody's
    int64_t until           # when it is full again, in nanoseconds of the machine's clock


cdef class Buckets:
    cdef object mapping
    cdef object view                    # keeps the pointers below valid
    cdef bytes secret
    cdef Header* header
    cdef Slot* slots

    cdef uint64_t hashed(self, Py_ssize_t kind, bytes key) except 0
    cdef Slot* find(self, Py_ssize_t kind, uint64_t key) noexcept
    cdef Slot* make(self, Py_ssize_t kind, uint64_t key, int64_t now) noexcept
