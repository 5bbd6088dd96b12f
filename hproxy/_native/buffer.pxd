# SPDX-License-Identifier: Apache-2.0
# The map of buffer: a first-in first-out byte queue over pooled chunks.
#
# Memory: a queue owns its chunks; an empty queue owns none. Freed chunks go to one
# process-wide free list of at most POOL_KEEP chunks and from there back to malloc.
# Pointers given out by `front` are valid until the next call on the same queue.
# Failure: only `push` can fail (MemoryError). The GIL is held throughout.

cdef enum:
    CHUNK_SIZE = 16368     # bytes of payload: 16 KiB less the 16 byte head
    POOL_KEEP = 256        # free chunks kept for reuse: 4 MiB at the most


cdef struct Chunk:
    Chunk* next
    unsigned int start     # first unread byte
    unsigned int end       # one past the last written byte
    char data[16368]


cdef class ByteQueue:
    cdef Chunk* head
    cdef Chunk* tail
    cdef readonly Py_ssize_t size               # bytes queued

    cdef int push(self, const char* data, Py_ssize_t length) except -1
    cdef const char* front(self, Py_ssize_t* length) noexcept
    cdef void pop(self, Py_ssize_t length) noexcept
    cdef void clear(self) noexcept
