# SPDX-License-Identifier: Apache-2.0
# The map of reactor: a private epoll set whose own fd is registered once with the event loop.
#
# Memory: the reactor keeps a strong reference to every Pollable in `alive` until `remove`.
# The kernel hands back raw pointers; a Pollable removed while a batch is being served stays
# in `graveyard` until the batch ends, so that a stale event never meets freed memory.
# `scratch` is the one receive buffer of the process: whoever receives into it must be done
# with it (sent, copied) before returning to the reactor.
# Failure: an exception out of `on_events` closes that Pollable only. The GIL is held.

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    BATCH = 256                # events taken per epoll_wait
    ROUNDS = 8                 # epoll_waits per wake-up before the event loop gets its turn
    SCRATCH_BYTES = 131072     # one receive: large results want few calls, L2 wants few bytes
    SILENCED = 0x20000000      # no mask of ours: known to us, but not in the epoll set now


cdef class Pollable:
    cdef readonly int fd                # -1 once closed
    cdef uint32_t armed                 # epoll mask in force
    cdef Reactor reactor
    cdef public double deadline         # reactor seconds when `on_deadline` is due; 0 = never

    cdef int on_events(self, uint32_t events) except -1
    cdef int on_deadline(self) except -1
    cdef int on_failure(self, object error) except -1


cdef class Reactor:
    cdef int epoll_fd
    cdef char* scratch
    cdef char* scratch_tls              # second buffer, for ciphertext; allocated at first use
    cdef dict alive                     # fd -> Pollable
    cdef list graveyard
    cdef bint serving                   # inside a batch
    cdef readonly double now            # CLOCK_MONOTONIC seconds at the start of the batch
    cdef readonly uint64_t wakeups
    cdef readonly uint64_t events       # events served
    cdef uint64_t asked[256]            # commands of clients by their first byte
    cdef uint64_t sent[256]             # commands sent to backends for them

    cdef int control(self, int op, Pollable pollable, uint32_t mask) except -1
    cdef int add(self, Pollable pollable, uint32_t mask) except -1
    cdef int arm(self, Pollable pollable, uint32_t mask) except -1
    cdef int silence(self, Pollable pollable) except -1
    cdef int remove(self, Pollable pollable) except -1
    cdef char* tls_scratch(self) except NULL
