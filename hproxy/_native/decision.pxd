# SPDX-License-Identifier: Apache-2.0
# The map of decision: what was decided about a statement, and the cache it is found in.
#
# Memory: two generations of at most half the limit each; what was not asked for during a whole
# generation is forgotten. Keys are 128 bits of a digest keyed by a secret of this process.
# Failure: a miss is NULL/None, never an error. The GIL is held.

from libc.stdint cimport uint32_t, uint64_t
from hproxy._native.pool cimport Group
from hproxy._native.statistics cimport DigestCounters
from hproxy._native.tally cimport CommandCounters

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
    RULED_BY_TEXT = 1 << 25            # ours: another text of the digest is decided otherwise
    RULED_BY_CHANCE = 1 << 26          # ours: and so is this one, the next time
    TRAIT_BLOCKED = 1 << 28            # ours: the driver answers it, and no server sees it
    TRAIT_LOGGED = 1 << 29             # ours: the driver is told of it when it was answered
    RULED_ROUTE = 1 << 27              # ours: query rules name its hostgroup
    FOUND_OTHERWISE = FOUND_ONE | FOUND_AFFECTED | FOUND_KEPT | FOUND_NONE | FOUND_MATCHED


cdef class Tally:                      # how often the same rules matched together
    cdef readonly tuple rules
    cdef readonly uint64_t count


cdef class Decision:
    cdef readonly uint32_t flags
    cdef readonly Group writer
    cdef readonly Group reader          # None: always to the writer
    cdef readonly DigestCounters counters       # of the writer's hostgroup
    cdef readonly DigestCounters reader_counters        # of the reader's; None: the same
    cdef readonly CommandCounters command       # None: it counts as none
    cdef readonly object traits
    cdef readonly bytes text            # the digest, for people
    cdef readonly object verdict        # what query rules said of it; None: nothing
    cdef readonly Tally tally           # of the rules that did; None: none
    cdef readonly double time_limit     # seconds its answer may take; 0 = any
    cdef readonly long next_flag        # flagIN of the statements behind it; -1: as it is
    cdef readonly int multiplex         # 0: the session keeps its connection, 1: no longer; -1
    cdef readonly uint64_t uses         # statements it was taken for

    cdef void count(self) noexcept


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
    cdef readonly DecisionCache texts   # of those that hold for one text only; None: no such
    cdef readonly uint64_t hits
    cdef readonly uint64_t misses

    cdef Decision get(self, uint64_t low, uint64_t high)
    cdef int put(self, uint64_t low, uint64_t high, Decision decision) except -1
    cdef int insert(self, uint64_t low, uint64_t high, void* decision) except -1
    cdef int drop(self, Slot* slots) except -1
    cdef DecisionCache of_texts(self)
