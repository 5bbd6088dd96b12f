# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Limits that hold over all workers of a service: counters in memory they share.

                      column 0   column 1   column 2
    row  backend A      taken      taken      taken     one limit for their sum
    row  user bob       taken      taken      taken
    row  clients        taken      taken      taken     also: who has the least of them

    take   own column + 1 ── sum of all columns above the limit? ── own column - 1, no
    give   own column - 1
    want   sessions here wait for a place: who has more of them leaves it the last places
           below zero: and of what is taken here none comes back, they starve
    clear  the owner of a column is dead, and so are its connections

A worker writes in its own column only. There is no total that a process could die without having
corrected: what the dead one had is what stands in its column. Two that ask for the last place at
the same time may both be told no; they try again before they believe it.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import fcntl
import mmap
import os
from hashlib import blake2b

cdef extern from *:
    """
    #include <stdint.h>
    #define hproxy_load(at) __atomic_load_n((at), __ATOMIC_SEQ_CST)
    #define hproxy_store(at, value) __atomic_store_n((at), (value), __ATOMIC_SEQ_CST)
    #define hproxy_add(at, value) __atomic_add_fetch((at), (value), __ATOMIC_SEQ_CST)
    #define hproxy_peek(at) __atomic_load_n((at), __ATOMIC_RELAXED)
    static inline int hproxy_swap64(uint64_t* at, uint64_t old, uint64_t value) {
        return __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline int hproxy_swap32(uint32_t* at, uint32_t old, uint32_t value) {
        return __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline int hproxy_swap_owner(int64_t* at, int64_t old, int64_t value) {
        return __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    """
    int32_t load32 "hproxy_load"(int32_t* at) nogil
    int32_t peek32 "hproxy_peek"(int32_t* at) nogil
    void store32 "hproxy_store"(int32_t* at, int32_t value) nogil
    int32_t add32 "hproxy_add"(int32_t* at, int32_t value) nogil
    uint32_t load_u32 "hproxy_load"(uint32_t* at) nogil
    uint64_t load_u64 "hproxy_load"(uint64_t* at) nogil
    int64_t load64 "hproxy_load"(int64_t* at) nogil
    void store64 "hproxy_store"(int64_t* at, int64_t value) nogil
    int64_t add64 "hproxy_add"(int64_t* at, int64_t value) nogil
    bint swap64 "hproxy_swap64"(uint64_t* at, uint64_t old, uint64_t value) nogil
    bint swap32 "hproxy_swap32"(uint32_t* at, uint32_t old, uint32_t value) nogil
    bint swap_owner "hproxy_swap_owner"(int64_t* at, int64_t old, int64_t value) nogil

cdef uint64_t MAGIC = 0x5247444c59585250
cdef enum:
    FORMAT_NOW = 1
    PAGE = 4096
    HEAD_BYTES = 64             # of a column and of a row: a cache line
    SLACK = 2                   # clients a worker has more than another before it passes one on:
    SLACK_SHARE = 16            # so many, and one for so many that it has
    MOST = 1 << 30              # sessions that are told to wait
    TRIES = 4                   # for a place that another worker may have tried to take, too

FORMAT = FORMAT_NOW


@cython.final
cdef class Ledger:

    def __init__(self, int fd, Py_ssize_t column=-1):
        size = os.fstat(fd).st_size
        if size < PAGE:
            raise ValueError("not a ledger")
        self.mapping = mmap.mmap(fd, size)      # shared, to read and write
        self.view = memoryview(self.mapping)
        cdef unsigned char[::1] pointer = self.view
        self.header = <Header*>&pointer[0]
        self.index = {}
        self.fd = fd
        if self.header.magic != MAGIC or self.header.format != FORMAT_NOW or \
                ledger_size(self.header.columns, self.header.capacity) > size:
            raise ValueError("not a ledger, or one of another version")
        if not -1 <= column < self.header.columns:
            raise ValueError(f"the ledger has no column {column}")
        self.column = <int>column
        self.stride = row_stride(self.header.columns)
        self.rows = &pointer[0] + PAGE + HEAD_BYTES * self.header.columns

    @staticmethod
    def create(Py_ssize_t columns, Py_ssize_t rows=16384):
        if not 1 <= columns <= 4096 or not 1 <= rows <= 1 << 24:
            raise ValueError("a ledger of that size cannot be")
        cdef Header* header
        cdef unsigned char[::1] pointer
        size = ledger_size(columns, rows)
        fd = os.memfd_create("hproxy-ledger", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            # Nobody can make it shorter under others that have it mapped.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                        fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            with mmap.mmap(fd, PAGE) as mapping:
                view = memoryview(mapping)
                pointer = view
                header = <Header*>&pointer[0]
                header.columns = <uint32_t>columns
                header.capacity = <uint32_t>rows
                header.format = FORMAT_NOW
                header.magic = MAGIC
                pointer = None
                view.release()
        except BaseException:
            os.close(fd)
            raise
        return fd

    cdef ColumnHead* head(self, Py_ssize_t column) except NULL:
        if not 0 <= column < self.header.columns:
            raise ValueError(f"the ledger has no column {column}")
        return <ColumnHead*>(<unsigned char*>self.header + PAGE + HEAD_BYTES * column)

    cdef RowHead* at(self, Py_ssize_t number) noexcept:
        return <RowHead*>(self.rows + self.stride * number)

    cdef int32_t* taken(self, RowHead* row) noexcept:
        return <int32_t*>(<unsigned char*>row + HEAD_BYTES)

    cdef int32_t* wanted(self, RowHead* row) noexcept:
        return self.taken(row) + self.header.columns

    cdef Py_ssize_t find(self, uint64_t key) except -1:
        """The number of the row, which is made if nobody has. Raises LookupError."""
        cdef uint32_t used
        cdef uint64_t there
        while True:
            used = load_u32(&self.header.used)
            while self.seen < used:
                self.index[self.at(self.seen).key] = self.seen
                self.seen += 1
            found = self.index.get(key)
            if found is not None:
                return found
            if used >= self.header.capacity:
                raise LookupError("the ledger is full")
            # Whoever writes the key first has the row; all that see it count it.
            if not swap64(&self.at(used).key, 0, key):
                there = load_u64(&self.at(used).key)
                if there == 0:
                    continue
            swap32(&self.header.used, used, used + 1)

    def row(self, str name not None):
        if self.column < 0:
            raise ValueError("who only looks on takes no places")
        return Row(self, name, self.column)

    def row_of(self, str name not None, Py_ssize_t column):
        return Row(self, name, column)

    # -- columns -------------------------------------------------------------------

    @property
    def columns(self):
        return self.header.columns

    @property
    def count(self):
        return load_u32(&self.header.used)

    @property
    def capacity(self):
        return self.header.capacity

    def owner(self, Py_ssize_t column):
        return load64(&self.head(column).owner)

    def claim(self, int64_t owner, Py_ssize_t count=1):
        cdef Py_ssize_t first, at
        if owner <= 0 or count < 1:
            raise ValueError("a column is claimed by a process")
        for first in range(<Py_ssize_t>self.header.columns - count + 1):
            at = 0
            while at < count and swap_owner(&self.head(first + at).owner, 0, owner):
                at += 1
            if at == count:
                return first
            while at:
                at -= 1
                store64(&self.head(first + at).owner, 0)
        raise LookupError("all columns of the ledger are taken")

    def clear(self, Py_ssize_t column, bint release=False):
        cdef ColumnHead* head = self.head(column)
        cdef RowHead* row
        for number in range(load_u32(&self.header.used)):
            row = self.at(number)
            store32(&self.wanted(row)[column], 0)
            store32(&self.taken(row)[column], 0)
        store32(&head.closed, 0)
        if release:             # else who takes its place hears of the clients sent to it
            store64(&head.passed, 0)
            store64(&head.received, 0)
            store64(&head.owner, 0)

    def passed(self, Py_ssize_t column):
        add64(&self.head(column).passed, 1)

    def returned(self, Py_ssize_t column):
        add64(&self.head(column).passed, -1)

    def received(self):
        add64(&self.head(self.column).received, 1)

    def settled(self):
        cdef ColumnHead* head = self.head(self.column)
        store64(&head.received, load64(&head.passed))

    def under_way(self, Py_ssize_t column):
        cdef ColumnHead* head = self.head(column)
        cdef int64_t found = load64(&head.passed) - load64(&head.received)
        return found if found > 0 else 0

    def close(self, Py_ssize_t column, bint closed=True):
        store32(&self.head(column).closed, closed)

    def is_closed(self, Py_ssize_t column):
        return load32(&self.head(column).closed) != 0


@cython.final
cdef class Row:

    def __cinit__(self, Ledger ledger not None, str name not None, Py_ssize_t column):
        ledger.head(column)
        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        self.name = name
        self.ledger = ledger
        self.head = ledger.at(ledger.find(int.from_bytes(digest, "little") or 1))
        self.places = ledger.taken(self.head)
        self.wants = ledger.wanted(self.head)
        self.columns = ledger.header.columns
        self.column = column

    cdef Py_ssize_t count(self) noexcept:
        cdef Py_ssize_t column, found = 0
        for column in range(self.columns):
            found += load32(&self.places[column])
        return found

    cdef Py_ssize_t claims(self, Py_ssize_t more) noexcept:
        """Places that are for others, who wait: who has fewer than we is to have as many, and who
        has none gets its turn, and who starves. `more`: those we are about to have besides. Where
        we starve, ours are as good as none: but for one for who has none."""
        cdef Py_ssize_t column, mine = peek32(&self.places[self.column]), found = 0, theirs, wants
        cdef Py_ssize_t part
        cdef bint turn, hungry = peek32(&self.wants[self.column]) < 0
        for column in range(self.columns):
            wants = peek32(&self.wants[column])
            if wants != 0 and column != self.column:
                theirs = peek32(&self.places[column])
                turn = mine > 0 and (theirs == 0 or (wants < 0 and not hungry))
                part = 0
                if theirs < mine and (wants < 0 or not hungry):
                    part = (mine + more - theirs) // 2
                found += min(abs(wants), max(part, turn))
        return found

    cpdef bint take(self, Py_ssize_t limit) noexcept:
        cdef int _tried
        for _tried in range(TRIES):
            if self.count() + self.claims(1) >= limit:
                return False
            add32(&self.places[self.column], 1)
            if self.count() <= limit:
                return True
            add32(&self.places[self.column], -1)
        return False

    cpdef void give(self) noexcept:
        add32(&self.places[self.column], -1)

    cpdef bint has_room(self, Py_ssize_t limit) noexcept:
        return self.count() + self.claims(1) < limit

    def enter(self):
        add32(&self.places[self.column], 1)

    @property
    def taken(self):
        return self.count()

    @property
    def mine(self):
        return load32(&self.places[self.column])

    def of(self, Py_ssize_t column):
        self.ledger.head(column)
        return load32(&self.places[column])

    @property
    def all(self):
        return tuple([load32(&self.places[column]) for column in range(self.columns)])

    @property
    def want(self):
        return abs(load32(&self.wants[self.column]))

    @want.setter
    def want(self, Py_ssize_t count):
        self.tell(<int32_t>min(max(count, 0), MOST) * (-1 if self.starving else 1))

    @property
    def starving(self):
        return load32(&self.wants[self.column]) < 0

    @starving.setter
    def starving(self, bint starving):
        cdef int32_t wanted = abs(load32(&self.wants[self.column]))
        self.tell(-wanted if starving else wanted)

    cdef void tell(self, int32_t wanted) noexcept:
        if peek32(&self.wants[self.column]) != wanted:     # a line nobody else has to read again
            store32(&self.wants[self.column], wanted)

    @property
    def owed(self):
        return self.claims(0)

    @property
    def wanted(self):
        cdef Py_ssize_t column, found = 0
        for column in range(self.columns):
            if column != self.column:
                found += abs(load32(&self.wants[column]))
        return found

    def wanting(self):
        return [column for column in range(self.columns)
                if column != self.column and load32(&self.wants[column]) != 0]

    def lighter(self, Py_ssize_t first, Py_ssize_t count):
        """Of `count` columns from `first` on, one that has so much less that a client is better
        off there; -1 is none."""
        cdef Py_ssize_t column, least = peek32(&self.places[self.column]), best = -1, load
        cdef ColumnHead* head
        self.ledger.head(first)
        self.ledger.head(first + count - 1)
        least -= SLACK + least // SLACK_SHARE
        for column in range(first, first + count):
            head = <ColumnHead*>(<unsigned char*>self.ledger.header + PAGE + HEAD_BYTES * column)
            load = peek32(&self.places[column])
            load += max(0, load64(&head.passed) - load64(&head.received))  # on their way to it
            if load < least and column != self.column and not load32(&head.closed):
                least, best = load, column
        return best

    def passes(self, uint64_t second, Py_ssize_t limit):
        """Count one event of this second; False: there were `limit` of them."""
        cdef uint64_t now = second & 0xffffffff, before, so_far
        while True:
            before = load_u64(&self.head.rate)
            so_far = before & 0xffffffff if before >> 32 == now else 0
            if so_far >= <uint64_t>max(limit, 0):
                return False
            if swap64(&self.head.rate, before, now << 32 | (so_far + 1)):
                return True


cdef Py_ssize_t row_stride(Py_ssize_t columns) noexcept:
    """Bytes of a row: no two of them share a cache line."""
    return HEAD_BYTES + (8 * columns + 63) // 64 * 64


cdef Py_ssize_t ledger_size(Py_ssize_t columns, Py_ssize_t rows) noexcept:
    return PAGE + HEAD_BYTES * columns + rows * row_stride(columns)
