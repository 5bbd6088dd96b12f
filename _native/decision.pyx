# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""What the slow lane decided about a statement once, for the fast lane to find again.

    key = digest of the text, mixed with what else the decision rests on (account, schema)
    get: young ── hit ──> it        put: young full? old is forgotten, young becomes old
          └ old ── hit ──> it, and young again

What query rules decide by the text itself has the text in its key, and a cache of its own: texts
are many, and are not to drive out what holds for all of them.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from hproxy._native.pool cimport Group
from hproxy._native.statistics cimport DigestCounters
from hproxy._native.tally cimport CommandCounters


cdef enum:
    MOST_TEXTS = 4096


@cython.final
cdef class Tally:

    def __init__(self, tuple rules not None):
        self.rules = rules


@cython.final
cdef class Decision:

    def __init__(self, int flags, Group writer not None, Group reader,
                 DigestCounters counters not None, traits, bytes text not None, *,
                 verdict=None, Tally tally=None, double time_limit=0.0, long next_flag=-1,
                 int multiplex=-1, DigestCounters reader_counters=None,
                 CommandCounters command=None):
        self.flags = flags
        self.writer = writer
        self.reader = reader
        self.counters = counters
        self.reader_counters = reader_counters
        self.command = command
        self.traits = traits
        self.text = text
        self.verdict = verdict
        self.tally = tally
        self.time_limit = time_limit
        self.next_flag = next_flag
        self.multiplex = multiplex

    cdef void count(self) noexcept:
        """A statement was received for which it holds."""
        self.uses += 1
        if self.tally is not None:
            self.tally.count += 1


@cython.final
cdef class DecisionCache:

    def __cinit__(self, Py_ssize_t limit):
        cdef uint64_t size = 16
        if not 2 <= limit <= 1 << 24:
            raise ValueError(f"limit must be 2..16777216, not {limit}")
        self.limit = limit // 2
        while size < <uint64_t>limit:       # at most half full: probes stay short
            size *= 2
        self.mask = size - 1
        self.young = <Slot*>calloc(size, sizeof(Slot))
        self.old = <Slot*>calloc(size, sizeof(Slot))
        if self.young == NULL or self.old == NULL:
            raise MemoryError("no memory for the decision cache")

    def __dealloc__(self):
        if self.young != NULL:
            self.drop(self.young)
        if self.old != NULL:
            self.drop(self.old)
        free(self.young)
        free(self.old)

    cdef Decision get(self, uint64_t low, uint64_t high):
        cdef uint64_t at = low & self.mask
        cdef Decision found
        while self.young[at].decision != NULL:
            if self.young[at].low == low and self.young[at].high == high:
                self.hits += 1
                return <Decision>self.young[at].decision
            at = (at + 1) & self.mask
        if self.old_count:
            at = low & self.mask
            while self.old[at].decision != NULL:
                if self.old[at].low == low and self.old[at].high == high:
                    self.hits += 1
                    found = <Decision>self.old[at].decision
                    self.put(low, high, found)
                    return found
                at = (at + 1) & self.mask
        self.misses += 1
        return None

    cdef int put(self, uint64_t low, uint64_t high, Decision decision) except -1:
        cdef Slot* full
        if self.young_count >= self.limit:
            self.drop(self.old)
            full = self.young
            self.young = self.old
            self.old = full
            self.old_count = self.young_count
            self.young_count = 0
        Py_INCREF(decision)
        return self.insert(low, high, <void*>decision)

    cdef int insert(self, uint64_t low, uint64_t high, void* decision) except -1:
        cdef uint64_t at = low & self.mask
        cdef void* replaced
        while self.young[at].decision != NULL:
            if self.young[at].low == low and self.young[at].high == high:
                replaced = self.young[at].decision
                self.young[at].decision = decision
                Py_DECREF(<object><PyObject*>replaced)
                return 0
            at = (at + 1) & self.mask
        self.young[at].low = low
        self.young[at].high = high
        self.young[at].decision = decision
        self.young_count += 1
        return 0

    cdef int drop(self, Slot* slots) except -1:
        cdef uint64_t at
        cdef void* decision
        for at in range(self.mask + 1):
            decision = slots[at].decision
            if decision != NULL:
                slots[at].decision = NULL
                Py_DECREF(<object><PyObject*>decision)
        return 0

    def clear(self):
        self.drop(self.young)
        self.drop(self.old)
        self.young_count = self.old_count = 0
        if self.texts is not None:
            self.texts.clear()

    cdef DecisionCache of_texts(self):
        if self.texts is None:
            self.texts = DecisionCache(min(2 * self.limit, <Py_ssize_t>MOST_TEXTS))
        return self.texts

    def entries(self):
        """All that is kept, each once; those of single texts as well."""
        cdef uint64_t at
        cdef dict found = {}
        for at in range(self.mask + 1):
            if self.young[at].decision != NULL:
                found[id(<object>self.young[at].decision)] = <object>self.young[at].decision
            if self.old[at].decision != NULL:
                found[id(<object>self.old[at].decision)] = <object>self.old[at].decision
        return list(found.values()) + (self.texts.entries() if self.texts is not None else [])

    def __len__(self):
        return self.young_count + self.old_count

    def find(self, uint64_t low, uint64_t high):
        return self.get(low, high)

    def store(self, uint64_t low, uint64_t high, Decision decision not None):
        self.put(low, high, decision)
