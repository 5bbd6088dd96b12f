# SPDX-License-Identifier: Apache-2.0
# The map of ledger: counters that all workers of a service share, for limits that hold in sum.
#
# Memory: one memfd, mapped by each process; a Row keeps its Ledger, and so the mapping, alive.
#   page 0    Header
#   columns   ColumnHead each, 64 bytes: one per worker
#   rows      RowHead, then taken[columns], then wanted[columns]
# Only the owner of a column writes in it, and who clears it once the owner is dead: so a sum is
# exact whatever process died at whatever instruction. Nothing locks, nothing waits.
# Failure: a full ledger is a LookupError of `row`; counting never fails. The GIL is held.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef struct Header:
    uint64_t magic
    uint32_t format
    uint32_t columns
    uint32_t capacity       # rows there may be
    uint32_t used           # rows there are


cdef struct ColumnHead:
    int64_t owner           # process id; 0 is nobody
    int64_t passed          # clients others have sent to it, ever
    int64_t received        # of these, those it has taken
    int32_t closed          # takes no clients that others accepted


cdef struct RowHead:
    uint64_t key            # 0 is a row of nobody yet; written once
    uint64_t rate           # second << 32 | events in it


cdef class Ledger:
    cdef readonly int fd
    cdef readonly int column            # -1: looks on
    cdef object mapping
    cdef object view                    # keeps the pointers below valid
    cdef Header* header
    cdef unsigned char* rows
    cdef Py_ssize_t stride
    cdef dict index                     # key -> row number
    cdef uint32_t seen                  # rows that are in `index`

    cdef ColumnHead* head(self, Py_ssize_t column) except NULL
    cdef RowHead* at(self, Py_ssize_t number) noexcept
    cdef int32_t* taken(self, RowHead* row) noexcept
    cdef int32_t* wanted(self, RowHead* row) noexcept
    cdef Py_ssize_t find(self, uint64_t key) except -1


cdef class Row:
    cdef readonly Ledger ledger
    cdef readonly object name
    cdef RowHead* head
    cdef int32_t* places
    cdef int32_t* wants
    cdef Py_ssize_t columns
    cdef readonly Py_ssize_t column     # whose owner it is

    cdef Py_ssize_t count(self) noexcept
    cdef Py_ssize_t claims(self, Py_ssize_t more) noexcept
    cdef void tell(self, int32_t wanted) noexcept
    cpdef bint take(self, Py_ssize_t limit) noexcept
    cpdef void give(self) noexcept
    cpdef bint has_room(self, Py_ssize_t limit) noexcept
