# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Token buckets by key, which all workers of a service share.

    key ── hash ──> set of 8 slots ──> its slot ── until: when the bucket is full again
                      └ none: the fullest of the 8 is forgotten

              now                    until                   now + a minute
    ───────────┼───────── taken ───────┼───── tokens left ─────────┼────>

A bucket is one number, so that a single exchange takes a token: who loses the race reads again.
The fullest is forgotten first, and a full one is as good as none: whoever wants a bucket forgotten
has to empty the others of its set, and cannot know which keys those are, for the hash has a secret.
Two that forget the same slot at the same time may lose one token between them.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

import fcntl
import mmap
import os
from hashlib import blake2b

cdef extern from *:
    """
    #include <stdint.h>
    #define hproxy_bucket_load(at) __atomic_load_n((at), __ATOMIC_SEQ_CST)
    #define hproxy_bucket_store(at, value) __atomic_store_n((at), (value), __ATOMIC_SEQ_CST)
    static inline int hproxy_bucket_key(uint64_t* at, uint64_t old, uint64_t value) {
        return __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline int hproxy_bucket_until(int64_t* at, int64_t old, int64_t value) {
        return __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    """
    uint64_t load_key "hproxy_bucket_load"(uint64_t* at) nogil
    int64_t load_until "hproxy_bucket_load"(int64_t* at) nogil
    void store_until "hproxy_bucket_store"(int64_t* at, int64_t value) nogil
    bint swap_key "hproxy_bucket_key"(uint64_t* at, uint64_t old, uint64_t value) nogil
    bint swap_until "hproxy_bucket_until"(int64_t* at, int64_t old, int64_t value) nogil

cdef uint64_t MAGIC = 0x5354454b43554248
cdef int64_t MINUTE = 60_000_000_000
cdef enum:
    FORMAT_NOW = 1
    PAGE = 4096
    TRIES = 4                   # for a slot that another process may have taken, too

FORMAT = FORMAT_NOW


@cython.final
cdef class Buckets:

    def __init__(self, int fd=-1, Py_ssize_t kinds=1, Py_ssize_t most=1):
        cdef uint64_t sets = (most + WAYS - 1) // WAYS
        if fd >= 0:
            size = os.fstat(fd).st_size
            if size < PAGE:
                raise ValueError("not a table of buckets")
            self.mapping = mmap.mmap(fd, size)  # shared, to read and write
        else:
            check_size(kinds, most)
            size = table_size(kinds, sets)
            self.mapping = mmap.mmap(-1, size)
            lay_out(self.mapping, kinds, sets)
        self.view = memoryview(self.mapping)
        cdef unsigned char[::1] pointer = self.view
        self.header = <Header*>&pointer[0]
        if self.header.magic != MAGIC or self.header.format != FORMAT_NOW or \
                table_size(self.header.kinds, self.header.sets) > size:
            raise ValueError("not a table of buckets, or one of another version")
        self.secret = self.header.secret[:16]
        self.slots = <Slot*>(&pointer[0] + PAGE)

    @staticmethod
    def create(Py_ssize_t kinds, Py_ssize_t most):
        cdef uint64_t sets = (most + WAYS - 1) // WAYS
        check_size(kinds, most)
        fd = os.memfd_create("hproxy-buckets", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, table_size(kinds, sets))
            # Nobody can make it shorter under others that have it mapped.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                        fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            with mmap.mmap(fd, PAGE) as mapping:
                lay_out(mapping, kinds, sets)
        except BaseException:
            os.close(fd)
            raise
        return fd

    # -- slots ---------------------------------------------------------------------

    cdef uint64_t hashed(self, Py_ssize_t kind, bytes key) except 0:
        if not 0 <= kind < self.header.kinds:
            raise ValueError(f"there are no buckets of kind {kind}")
        digest = blake2b(self.secret + key, digest_size=8).digest()
        return int.from_bytes(digest, "little") or 1

    cdef Slot* find(self, Py_ssize_t kind, uint64_t key) noexcept:
        """NULL is a full bucket nobody used for long."""
        cdef Slot* first = self.slots + (kind * self.header.sets + key % self.header.sets) * WAYS
        cdef int way
        for way in range(WAYS):
            if load_key(&first[way].key) == key:
                return first + way
        return NULL

    cdef Slot* make(self, Py_ssize_t kind, uint64_t key, int64_t now) noexcept:
        """The slot of that key, which has one from now on; NULL: all others are after the same."""
        cdef Slot* found
        cdef Slot* first = self.slots + (kind * self.header.sets + key % self.header.sets) * WAYS
        cdef Slot* fullest
        cdef uint64_t before
        cdef int way, _tried
        for _tried in range(TRIES):
            found = self.find(kind, key)
            if found != NULL:
                return found
            fullest = first
            for way in range(1, WAYS):
                if load_until(&first[way].until) < load_until(&fullest.until):
                    fullest = first + way
            before = load_key(&fullest.key)
            # Full first, then ours: who finds it by our key never has it filled under them.
            store_until(&fullest.until, now)
            if swap_key(&fullest.key, before, key):
                return fullest
        return NULL

    # -- tokens --------------------------------------------------------------------

    def take(self, Py_ssize_t kind, bytes key not None, int64_t per_minute, int64_t now,
             bint force=False):
        cdef int64_t each = token(per_minute), before, base
        cdef Slot* slot = self.make(kind, self.hashed(kind, key), now)
        if slot == NULL:
            return force
        while True:
            before = load_until(&slot.until)
            base = max(before, now)
            if base - now > each * (per_minute - 1):
                if not force:
                    return False
                if base - now > 2 * MINUTE:         # no debt grows for ever
                    return True
            if swap_until(&slot.until, before, base + each):
                return True

    def give(self, Py_ssize_t kind, bytes key not None, int64_t per_minute, int64_t now):
        cdef int64_t each = token(per_minute), before
        cdef Slot* slot = self.find(kind, self.hashed(kind, key))
        if slot == NULL:
            return
        while True:
            before = load_until(&slot.until)
            if before <= now or swap_until(&slot.until, before, before - each):
                return

    def has(self, Py_ssize_t kind, bytes key not None, int64_t per_minute, int64_t now):
        cdef Slot* slot = self.find(kind, self.hashed(kind, key))
        return slot == NULL or load_until(&slot.until) - now <= token(per_minute) * (per_minute - 1)

    def knows(self, Py_ssize_t kind, bytes key not None):
        return self.find(kind, self.hashed(kind, key)) != NULL

    def touch(self, Py_ssize_t kind, bytes key not None, int64_t now):
        cdef int64_t before
        cdef Slot* slot = self.make(kind, self.hashed(kind, key), now)
        while slot != NULL:
            before = load_until(&slot.until)
            if before >= now or swap_until(&slot.until, before, now):
                return

    # -- all of them -----------------------------------------------------------------

    def alerted(self, int64_t now):
        return now <= load_until(&self.header.alert_until)

    def alert(self, int64_t until):
        if load_until(&self.header.alert_until) < until:
            store_until(&self.header.alert_until, until)

    @property
    def count(self):
        cdef Py_ssize_t found = 0, at
        for at in range(self.capacity):
            found += load_key(&self.slots[at].key) != 0
        return found

    @property
    def capacity(self):
        return self.header.kinds * self.header.sets * WAYS


cdef int64_t token(int64_t per_minute) noexcept:
    """Nanoseconds in which one comes back."""
    return MINUTE // max(per_minute, 1)


cdef int check_size(Py_ssize_t kinds, Py_ssize_t most) except -1:
    if not 1 <= kinds <= 16 or not 1 <= most <= 1 << 24:
        raise ValueError("a table of that size cannot be")
    return 0


cdef int lay_out(object mapping, Py_ssize_t kinds, uint64_t sets) except -1:
    cdef bytes secret = os.urandom(16)
    view = memoryview(mapping)
    cdef unsigned char[::1] pointer = view
    cdef Header* header = <Header*>&pointer[0]
    header.kinds = <uint32_t>kinds
    header.sets = sets
    memcpy(header.secret, <const char*>secret, 16)
    header.format = FORMAT_NOW
    header.magic = MAGIC
    pointer = None
    view.release()
    return 0


cdef Py_ssize_t table_size(Py_ssize_t kinds, uint64_t sets) noexcept:
    return PAGE + kinds * <Py_ssize_t>sets * WAYS * <Py_ssize_t>sizeof(Slot)
