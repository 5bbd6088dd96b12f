# SPDX-License-Identifier: Apache-2.0
# The map of decision: what was decided about a statement, and the cache it is found in.
#
# Memory: two generations of at most half the limit each; what was not asked for during a whole
# generation is forgotten. Keys are 128 bits of a digest keyed by a secret of this process.
# Failure: a miss is NULL/None, never an error. The GIL is held.

from libc.stdint cimport uint32_t, uint64_t
from hproxy._native.pool cimport Group
from hproxy._native.statistics cimport DigestCounters

cdef enum:                             # protocols/mysql/traits.py says what each means
    TRAIT_READ = 1
    TRAIT_SLOW = 2
    TRAIT_CONTEXT = 4
    TRAIT_LAST_ID = 8
    TRAIT_WRITE = 16
    TRAIT_CALC_ROWS = 32
    TRAIT_BEGINS = 64
    TRAIT_ENDS = 128
    TRAIT_SAFE_REPEAT = 256
    TRAIT_MULTI = 512
    TRAIT_NO_TABLE = 1024
    TRAIT_FOUND_ROWS = 2048
    TRAIT_SAVEPOINT = 131072           # ours: a transaction of which status flags may not tell yet
    TRAIT_SETS_LAST_ID = 65536         # ours: an OK may not say what LAST_INSERT_ID() is after it
    FOUND_ONE = 1 << 18                # ours: FOUND_ROWS() is 1 after it
    FOUND_AFFECTED = 1 << 19           # ours: ... the rows it changed
    FOUND_KEPT = 1 << 20               # ours: ... what it was before, whatever rows it has
    FOUND_THERE = 1 << 21              # ours: ... known to its connection alone, if it has no rows
    FOUND_NONE = 1 << 22               # ours: ... 0
    FOUND_MATCHED = 1 << 23            # ours: ... the rows it found, which its OK tells in words
    COUNT_KEPT = 1 << 24               # ours: ROW_COUNT() is what it was before
    FOUND_OTHERWISE = FOUND_ONE | FOUND_AFFECTED | FOUND_KEPT | FOUND_NONE | FOUND_MATCHED


cdef class Decision:
    cdef readonly uint32_t flags
    cdef readonly Group writer
    cdef readonly Group reader          # None: always to the writer
    cdef readonly DigestCounters counters
    cdef readonly object traits
    cdef readonly bytes text            # the digest, for people


cdef struct Slot:
    uint64_t low
    uint64_t high
    void* decision                      # owned; NULL: free


cdef class DecisionCache:
    cdef Slot* young
    cdef Slot* old
    cdef uint64_t mask
    cdef readonly Py_ssize_t limit      # decisions per generation
    cdef Py_ssize_t young_count
    cdef Py_ssize_t old_count
    cdef readonly uint64_t hits
    cdef readonly uint64_t misses

    cdef Decision get(self, uint64_t low, uint64_t high)
    cdef int put(self, uint64_t low, uint64_t high, Decision decision) except -1
    cdef int insert(self, uint64_t low, uint64_t high, void* decision) except -1
    cdef int drop(self, Slot* slots) except -1
