# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""A first-in first-out byte queue over pooled chunks (send queues of slow peers).

Only congested endpoints own a queue: in steady state bytes go from the receive scratch
straight to send(2), so this file is about not losing bytes and not keeping memory.
"""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

CHUNK_BYTES = CHUNK_SIZE

cdef Chunk* pool_head = NULL
cdef Py_ssize_t pool_free = 0
cdef Py_ssize_t pool_used = 0


cdef Chunk* take_chunk() except NULL:
    global pool_head, pool_free, pool_used
    cdef Chunk* chunk = pool_head
    if chunk != NULL:
        pool_head = chunk.next
        pool_free -= 1
    else:
        chunk = <Chunk*>malloc(sizeof(Chunk))
        if chunk == NULL:
            raise MemoryError("no memory for a send chunk")
    chunk.next = NULL
    chunk.start = 0
    chunk.end = 0
    pool_used += 1
    return chunk


cdef void give_chunk(Chunk* chunk) noexcept:
    global pool_head, pool_free, pool_used
    pool_used -= 1
    if pool_free >= POOL_KEEP:
        free(chunk)
        return
    chunk.next = pool_head
    pool_head = chunk
    pool_free += 1


def pool_stats():
    return pool_used, pool_free


@cython.final
cdef class ByteQueue:

    def __dealloc__(self):
        self.clear()

    cdef int push(self, const char* data, Py_ssize_t length) except -1:
        cdef Chunk* chunk
        cdef Py_ssize_t room
        while length > 0:
            if self.tail == NULL or self.tail.end == CHUNK_SIZE:
                chunk = take_chunk()
                if self.tail == NULL:
                    self.head = chunk
                else:
                    self.tail.next = chunk
                self.tail = chunk
            room = CHUNK_SIZE - self.tail.end
            if room > length:
                room = length
            memcpy(self.tail.data + self.tail.end, data, room)
            self.tail.end += <unsigned int>room
            self.size += room
            data += room
            length -= room
        return 0

    cdef const char* front(self, Py_ssize_t* length) noexcept:
        if self.head == NULL:
            length[0] = 0
            return NULL
        length[0] = <Py_ssize_t>(self.head.end - self.head.start)
        return self.head.data + self.head.start

    cdef void pop(self, Py_ssize_t length) noexcept:
        cdef Chunk* chunk
        cdef Py_ssize_t held
        while length > 0 and self.head != NULL:
            chunk = self.head
            held = <Py_ssize_t>(chunk.end - chunk.start)
            if held > length:
                chunk.start += <unsigned int>length
                self.size -= length
                return
            length -= held
            self.size -= held
            self.head = chunk.next
            if self.head == NULL:
                self.tail = NULL
            give_chunk(chunk)

    cdef void clear(self) noexcept:
        self.pop(self.size)

    def append(self, data):
        cdef const unsigned char[::1] view = data
        if view.shape[0]:
            self.push(<const char*>&view[0], view.shape[0])

    def peek(self):
        cdef Py_ssize_t length
        cdef const char* data = self.front(&length)
        return data[:length] if length else b""

    def discard(self, Py_ssize_t length):
        if length < 0 or length > self.size:
            raise ValueError(f"cannot discard {length} of {self.size} bytes")
        self.pop(length)

    def __len__(self):
        return self.size
