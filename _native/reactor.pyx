# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""A private epoll set whose own fd is registered once with the event loop.

    uvloop: epoll_wait ── epoll fd readable ──> Reactor.poll
                                                  └ epoll_wait(0) ─> Pollable.on_events ─> ...

One wake-up of the event loop serves every ready data socket in C: no transport, no Handle
and no Python object per event. Level-triggered, so a receiver may take less than is there.
"""

cimport cython
from libc.errno cimport EINTR, errno
from libc.stdlib cimport free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close as c_close

import sys

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)


cdef class Pollable:

    def __cinit__(self):
        self.fd = -1

    cdef int on_events(self, uint32_t events) except -1:
        raise NotImplementedError(f"{type(self).__name__} takes no events")

    cdef int on_deadline(self) except -1:
        return 0

    cdef int on_failure(self, object error) except -1:
        return self.reactor.remove(self)


cdef inline double clock() noexcept:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return ts.tv_sec + ts.tv_nsec * 1e-9


cdef int report(Pollable pollable, object error) except -1:
    """A callback failed: that one descriptor pays, the others never notice."""
    try:
        pollable.on_failure(error)
    except Exception as second:
        sys.unraisablehook(_Unraisable(second, pollable))
    return 0


class _Unraisable:
    """What sys.unraisablehook wants to see of an exception nobody can catch."""

    def __init__(self, error, thing):
        self.exc_type = type(error)
        self.exc_value = error
        self.exc_traceback = error.__traceback__
        self.err_msg = "failure handler failed"
        self.object = thing


@cython.final
cdef class Reactor:

    def __cinit__(self):
        self.epoll_fd = -1
        self.alive = {}
        self.graveyard = []
        self.now = clock()
        self.scratch = <char*>malloc(SCRATCH_BYTES)
        if self.scratch == NULL:
            raise MemoryError("no memory for the receive buffer")
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise OSError(errno, "epoll_create1 failed")

    def __dealloc__(self):
        if self.epoll_fd >= 0:
            c_close(self.epoll_fd)
        free(self.scratch)
        free(self.scratch_tls)

    cdef char* tls_scratch(self) except NULL:
        if self.scratch_tls == NULL:
            self.scratch_tls = <char*>malloc(SCRATCH_BYTES)
            if self.scratch_tls == NULL:
                raise MemoryError("no memory for the TLS receive buffer")
        return self.scratch_tls

    cdef int control(self, int op, Pollable pollable, uint32_t mask) except -1:
        cdef epoll_event event
        event.events = mask
        event.data.ptr = <void*>pollable
        if epoll_ctl(self.epoll_fd, op, pollable.fd, &event) != 0:
            raise OSError(errno, f"epoll_ctl failed for descriptor {pollable.fd}")
        pollable.armed = mask
        return 0

    cdef int add(self, Pollable pollable, uint32_t mask) except -1:
        self.control(EPOLL_CTL_ADD, pollable, mask)
        pollable.reactor = self
        self.alive[pollable.fd] = pollable
        return 0

    cdef int arm(self, Pollable pollable, uint32_t mask) except -1:
        if pollable.fd < 0 or pollable.armed == mask:
            return 0
        if pollable.armed == SILENCED:
            return self.control(EPOLL_CTL_ADD, pollable, mask) if mask else 0
        return self.control(EPOLL_CTL_MOD, pollable, mask)

    cdef int silence(self, Pollable pollable) except -1:
        """Hear nothing of it until it is armed again: an empty mask still reports hang-ups."""
        cdef epoll_event event
        if pollable.fd >= 0 and pollable.armed != SILENCED and self.epoll_fd >= 0:
            epoll_ctl(self.epoll_fd, EPOLL_CTL_DEL, pollable.fd, &event)
            pollable.armed = SILENCED
        return 0

    cdef int remove(self, Pollable pollable) except -1:
        """Forget the descriptor; the caller closes it afterwards."""
        cdef epoll_event event
        if pollable.fd < 0 or self.alive.pop(pollable.fd, None) is None:
            return 0
        if self.epoll_fd >= 0:
            epoll_ctl(self.epoll_fd, EPOLL_CTL_DEL, pollable.fd, &event)
        if self.serving:
            self.graveyard.append(pollable)
        return 0

    @property
    def size(self):
        return len(self.alive)

    def fileno(self):
        return self.epoll_fd

    def poll(self):
        cdef epoll_event events[BATCH]
        cdef int i, n, served = 0, rounds = 0
        cdef Pollable pollable
        self.wakeups += 1
        while rounds < ROUNDS and self.epoll_fd >= 0:
            n = epoll_wait(self.epoll_fd, events, BATCH, 0)
            if n <= 0:
                if n < 0 and errno != EINTR:
                    raise OSError(errno, "epoll_wait failed")
                break
            self.now = clock()
            self.serving = True
            for i in range(n):
                pollable = <Pollable>events[i].data.ptr
                if pollable.fd < 0:
                    continue        # closed by an earlier event of this batch
                try:
                    pollable.on_events(events[i].events)
                except Exception as error:
                    report(pollable, error)
            self.serving = False
            if self.graveyard:
                pollable = None
                self.graveyard.clear()
            served += n
            rounds += 1
            if n == 1:
                break               # low load: a second look would nearly always find nothing
        self.events += served
        return served

    def sweep(self):
        cdef Pollable pollable
        cdef int due = 0
        self.now = clock()
        for pollable in list(self.alive.values()):
            if pollable.fd >= 0 and 0 < pollable.deadline <= self.now:
                pollable.deadline = 0
                due += 1
                try:
                    pollable.on_deadline()
                except Exception as error:
                    report(pollable, error)
        return due

    def commands(self):
        cdef int byte
        return (
            {byte: self.asked[byte] for byte in range(256) if self.asked[byte]},
            {byte: self.sent[byte] for byte in range(256) if self.sent[byte]},
        )

    def close(self):
        if self.epoll_fd >= 0:
            c_close(self.epoll_fd)
            self.epoll_fd = -1
        self.alive.clear()
