# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""One connected socket in the reactor, its leftover input and its send queue.

    recv -> scratch -> owner.on_data ─ leftover ─> inbox -> (next recv, or redeliver)
    write -> send(2) ─ what the kernel would not take ─> queue -> EPOLLOUT -> send(2)
                                                         └ below LOW_WATER: owner.on_drained
    finish -> flush -> FIN -> read to the end -> close   (so our last words are not cut by RST)

TLS is a variant of the same two pipes: ciphertext goes through Python's MemoryBIO pair, the
owner sees and writes plaintext only. So is compression (`frames`), which lies above TLS:

    recv -> (TLS) -> frames.push ─ pump, while the owner is ready ─> scratch -> owner.on_data
    write -> frames.pack -> (TLS) -> send(2)

What a frame unpacks to and the owner is not ready for stays in `frames`, as if in the socket:
EPOLLOUT, which a socket with room in it reports at once, brings us back once it is. One
without room has a peer with answers of ours to read first.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from libc.errno cimport EAGAIN, ECONNABORTED, ECONNRESET, EINTR, EPROTO, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close as c_close

from hproxy._native.buffer cimport ByteQueue
from hproxy._native.compression cimport CompressedStream
from hproxy._native.reactor cimport SCRATCH_BYTES, Pollable, Reactor

import ssl

cdef extern from "<sys/socket.h>" nogil:
    int MSG_NOSIGNAL, SHUT_WR
    ssize_t recv(int fd, void* buffer, size_t length, int flags)
    ssize_t send(int fd, const void* buffer, size_t length, int flags)
    int c_shutdown "shutdown"(int fd, int how)

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP

cdef enum:
    LINGER_SECONDS = 5
    RAW_LIMIT = 0x2000000       # compressed bytes held of a peer that has hung up: two frames
    TLS_RECORD = 16645          # longest record on the wire: head, 16 KiB, what ciphers add

cdef object WANT_READ = ssl.SSLWantReadError
cdef object WANT_WRITE = ssl.SSLWantWriteError
cdef object TLS_CLOSED = ssl.SSLZeroReturnError
cdef object TLS_ERROR = ssl.SSLError


# Owners are called through a local reference: Cython lends the one in `self.owner`, and an owner
# that closes this endpoint gives that up while it still runs.
cdef class Owner:

    cdef Py_ssize_t on_data(
        self, Endpoint end, const unsigned char* data, Py_ssize_t length
    ) except -1:
        return length

    cdef int on_eof(self, Endpoint end, int error) except -1:
        end.close()
        return 0

    cdef int on_malformed(self, Endpoint end, str reason) except -1:
        return self.on_eof(end, EPROTO)

    cdef int on_drained(self, Endpoint end) except -1:
        return 0

    cdef int on_secured(self, Endpoint end, object error) except -1:
        return 0

    cdef int on_deadline(self, Endpoint end) except -1:
        return 0

    cdef int on_broken(self, Endpoint end, object error) except -1:
        end.close()
        return 0


@cython.final
cdef class Endpoint(Pollable):

    def __init__(self, Reactor reactor not None, int fd):
        self.fd = fd
        try:
            reactor.add(self, EPOLLIN)
        except BaseException:
            self.fd = -1
            c_close(fd)         # ours from the call on: the caller has nothing to clean up
            raise

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)
        free(self.inbox)

    # -- reading ---------------------------------------------------------------

    cdef int on_events(self, uint32_t events) except -1:
        cdef Py_ssize_t room
        if events & EPOLLOUT:
            self.flush()
            if self.frames is not None:
                self.pump()
        if self.fd < 0 or not events & (EPOLLIN | EPOLLERR | EPOLLHUP):
            return 0
        if self.lingering:
            return self.discard()
        if self.frames is not None:
            return self.receive_packed((events & (EPOLLERR | EPOLLHUP)) != 0)
        # A paused endpoint still hears of hang-ups; reading on then ends in on_eof instead of
        # a level-triggered spin. What does not fit any more nobody waits for an answer to.
        room = SCRATCH_BYTES - self.inbox_length
        if self.tls is not None:
            room -= TLS_RECORD
        if room <= 0:
            return self.ended(ECONNRESET) if events & (EPOLLERR | EPOLLHUP) else self.pause()
        return self.receive(room) if self.tls is None else self.receive_tls(room)

    cdef int receive(self, Py_ssize_t room) except -1:
        cdef Py_ssize_t held = self.inbox_length
        cdef char* scratch = self.reactor.scratch
        cdef ssize_t got = recv(self.fd, scratch + held, room, 0)
        if got > 0:
            self.bytes_in += got
            self.unstash(scratch)
            return self.offer(<const unsigned char*>scratch, held + got)
        if got == 0:
            return self.ended(0)
        if errno == EAGAIN or errno == EINTR:
            return 0
        return self.ended(errno)

    cdef void unstash(self, char* scratch) noexcept:
        """Move the inbox to `scratch`: while it is offered nobody may be offered it again."""
        if self.inbox_length:
            memcpy(scratch, self.inbox, self.inbox_length)
            free(self.inbox)
            self.inbox = NULL
            self.inbox_length = 0

    cdef int offer(self, const unsigned char* data, Py_ssize_t length) except -1:
        """Show `data` to the owner, and to its successor if it passes the endpoint on."""
        cdef Owner owner = None
        cdef Py_ssize_t used
        while length and self.owner is not None and self.owner is not owner:
            owner = self.owner
            used = owner.on_data(self, data, length)
            data += used
            length -= used
        if self.fd < 0 or self.lingering:
            return 0
        return self.keep(data, length)

    cdef int keep(self, const unsigned char* data, Py_ssize_t length) except -1:
        """Replace the inbox by a copy of `data`."""
        cdef char* block = NULL
        if length:
            block = <char*>malloc(length)
            if block == NULL:
                raise MemoryError("no memory for leftover input")
            memcpy(block, data, length)
        elif self.inbox == NULL:
            return 0
        free(self.inbox)
        self.inbox = block
        self.inbox_length = length
        if length >= INBOX_LIMIT:
            return self.pause()
        return 0

    cdef int redeliver(self) except -1:
        """Offer the inbox again, after the owner changed or became ready for more."""
        cdef char* block = self.inbox
        cdef Py_ssize_t length = self.inbox_length
        if length:
            self.inbox = NULL
            self.inbox_length = 0
            if self.frames is not None:
                self.frames.served = self.frames.delivered - length + 1
            try:
                self.offer(<const unsigned char*>block, length)
            finally:
                free(block)
                if self.frames is not None:
                    self.frames.served = self.frames.delivered - self.inbox_length
        if self.inbox_length < INBOX_LIMIT:
            return self.resume()
        return 0

    cdef int receive_tls(self, Py_ssize_t room) except -1:
        """`room` leaves space for the record begun before: nothing that could be read may stay
        in the SSL object, because no readable descriptor would tell of it later.
        """
        cdef char* scratch = self.reactor.scratch
        cdef char* cipher = self.reactor.tls_scratch()
        cdef Py_ssize_t held, plain
        cdef ssize_t got = recv(self.fd, cipher, room, 0)
        if got < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            return self.ended(errno)
        if got == 0:
            return self.ended(0)
        self.bytes_in += got
        self.incoming.write(PyMemoryView_FromMemory(cipher, got, PyBUF_READ))
        if self.securing and not self.step_handshake():
            return 0
        while self.fd >= 0 and not self.lingering:
            held = self.inbox_length
            try:
                plain = self.tls.read(SCRATCH_BYTES - held, PyMemoryView_FromMemory(
                    scratch + held, SCRATCH_BYTES - held, PyBUF_WRITE))
            except WANT_READ:
                break
            except TLS_CLOSED:
                return self.ended(0)
            except TLS_ERROR:
                return self.ended(ECONNABORTED)
            if plain == 0:
                return self.ended(0)
            self.unstash(scratch)
            self.offer(<const unsigned char*>scratch, held + plain)
            # Asking saves the exception that a read of nothing would cost.
            if self.fd < 0 or (self.incoming.pending == 0 and self.tls.pending() == 0):
                break
        return 0

    # -- compression -----------------------------------------------------------

    cdef int compress(self, CompressedStream frames) except -1:
        """From here on all is in frames, both ways; what `frames` holds already is unpacked."""
        self.frames = frames
        return self.pump()

    cdef int receive_packed(self, bint hung_up) except -1:
        cdef CompressedStream frames = self.frames
        cdef char* packed = self.reactor.tls_scratch()
        cdef ssize_t got
        if frames.fault is None:
            self.pump()         # what was unpacked and could not be taken yet goes first
            if self.fd < 0 or self.lingering or (self.paused and not hung_up):
                return 0
            if frames.over:
                return 0
            if len(frames.raw) > RAW_LIMIT:
                return self.ended(ECONNRESET)
        got = recv(self.fd, packed, SCRATCH_BYTES, 0)
        if got < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            return self.ended(errno)
        if got == 0:
            return self.ended(0)
        self.bytes_in += got
        if frames.fault is not None:
            return 0            # what follows garbage is nobody's to read
        if self.tls is None:
            frames.push(packed, got)
        elif self.unseal(packed, got) < 0:
            return self.ended(ECONNABORTED)
        return self.pump()

    cdef int unseal(self, char* cipher, Py_ssize_t length) except -2:
        """Decrypt all of it into `frames`; -1: it cannot be decrypted."""
        cdef Py_ssize_t plain
        self.incoming.write(PyMemoryView_FromMemory(cipher, length, PyBUF_READ))
        while True:
            try:
                plain = self.tls.read(
                    SCRATCH_BYTES, PyMemoryView_FromMemory(cipher, SCRATCH_BYTES, PyBUF_WRITE))
            except WANT_READ:
                return 0
            except TLS_CLOSED:
                plain = 0
            except TLS_ERROR:
                return -1
            if plain == 0:
                self.frames.over = True
                return 0
            self.frames.push(cipher, plain)
            if self.incoming.pending == 0 and self.tls.pending() == 0:
                return 0

    cdef int pump(self) except -1:
        """Unpack as much as the owner is ready to take."""
        cdef CompressedStream frames = self.frames
        cdef char* scratch = self.reactor.scratch
        cdef Py_ssize_t held, got
        if frames.fault is not None:
            return 0
        while self.fd >= 0 and not self.lingering and not self.paused:
            held = self.inbox_length
            if held >= SCRATCH_BYTES:
                return self.pause()
            if not frames.unpack():
                break
            frames.served = frames.delivered - held + 1
            got = frames.take(<unsigned char*>scratch + held, SCRATCH_BYTES - held)
            self.unstash(scratch)
            self.offer(<const unsigned char*>scratch, held + got)
            frames.served = frames.delivered - self.inbox_length
        if self.fd < 0 or self.lingering:
            return 0
        if frames.fault is not None:
            return self.malformed(frames.fault)
        if frames.over and not self.paused:
            return self.ended(0)
        return self.rearm()

    cdef int malformed(self, str reason) except -1:
        """What came are no frames: the owner may still say why it leaves."""
        cdef Owner owner = self.owner
        if owner is None:
            self.close()
            return 0
        self.pause()
        owner.on_malformed(self, reason)
        if self.fd >= 0 and not self.lingering and self.queued() == 0:
            self.reactor.silence(self)
        return 0

    # -- end of input ----------------------------------------------------------

    cdef int ended(self, int error) except -1:
        cdef Owner owner = self.owner
        if self.securing:
            self.securing = False
            if owner is not None:
                return owner.on_secured(
                    self, ConnectionResetError("peer left during the TLS handshake"))
        if owner is None:
            self.close()
            return 0
        self.pause()        # level-triggered: an unread end would be reported for ever
        owner.on_eof(self, error)
        if self.fd < 0 or self.lingering:
            return 0
        if error:
            self.broken = True
        if self.queued() == 0:
            self.reactor.silence(self)      # the owner takes its time: a hang-up would spin
        return 0

    cdef int discard(self) except -1:
        cdef ssize_t got = recv(self.fd, self.reactor.scratch, SCRATCH_BYTES, 0)
        if got == 0 or (got < 0 and errno != EAGAIN and errno != EINTR):
            if got == 0 and self.queued():
                return self.pause()         # half-closed peer still reads our last words
            self.close()
        return 0

    # -- writing ---------------------------------------------------------------

    cdef int write(self, const unsigned char* data, Py_ssize_t length) except -1:
        """Send now; queue what the kernel will not take. Errors surface as on_eof."""
        cdef object sealed, packed
        if self.fd < 0 or self.broken:
            return 0
        if self.frames is not None:
            packed = self.frames.pack(data, length)
            data = <const unsigned char*><char*>(<bytearray>packed)
            length = len(packed)
        if self.tls is None:
            return self.send_raw(<const char*>data, length)
        try:
            self.tls.write(PyMemoryView_FromMemory(<char*>data, length, PyBUF_READ))
        except TLS_ERROR:
            self.broken = True
            return 0
        sealed = self.outgoing.read()
        return self.send_raw(PyBytes_AS_STRING(sealed), PyBytes_GET_SIZE(sealed))

    cdef int send_raw(self, const char* data, Py_ssize_t length) except -1:
        cdef ssize_t sent = 0
        if self.queued() == 0:
            sent = send(self.fd, data, length, MSG_NOSIGNAL)
            if sent == length:
                self.bytes_out += sent
                return 0
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.broken = True      # the read side will hear of it and tell the owner
                    return 0
                sent = 0
            self.bytes_out += sent
        if self.queue is None:
            self.queue = ByteQueue.__new__(ByteQueue)
        self.queue.push(data + sent, length - sent)
        return self.rearm()

    cdef int flush(self) except -1:
        cdef Owner owner = self.owner
        cdef Py_ssize_t length, before = self.queued()
        cdef const char* data
        cdef ssize_t sent
        while self.queued():
            data = self.queue.front(&length)
            sent = send(self.fd, data, length, MSG_NOSIGNAL)
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.broken = True
                    self.queue.clear()
                break
            self.bytes_out += sent
            self.queue.pop(sent)
            if sent < length:
                break
        self.rearm()
        if self.lingering:
            if self.queued() == 0:
                if self.paused:         # their end came first: nothing is left to wait for
                    self.close()
                    return 0
                return self.send_fin() if self.fin else 0
            self.deadline = self.reactor.now + LINGER_SECONDS
        elif owner is not None and before and self.queued() <= LOW_WATER:
            return owner.on_drained(self)
        return 0

    cdef int rearm(self) except -1:
        cdef uint32_t mask = 0
        if self.fd < 0:
            return 0
        if not self.paused:
            mask |= EPOLLIN
        if self.queued() or (
            self.frames is not None and not self.paused and self.frames.ready()
        ):
            mask |= EPOLLOUT
        if mask != self.armed:
            self.reactor.arm(self, mask)
        return 0

    cdef int pause(self) except -1:
        self.paused = True
        return self.rearm()

    cdef int resume(self) except -1:
        self.paused = False
        return self.rearm()

    # -- TLS -------------------------------------------------------------------

    cdef int secure(self, object tls, object incoming, object outgoing) except -1:
        """Start the handshake; `on_secured` tells the end of it."""
        self.tls = tls
        self.incoming = incoming
        self.outgoing = outgoing
        self.securing = True
        self.resume()
        self.step_handshake()
        return 0

    cdef bint step_handshake(self) except? True:
        """One step; True once plaintext may be read."""
        cdef Owner owner = self.owner
        cdef object sealed, error = None
        try:
            self.tls.do_handshake()
            self.securing = False
        except WANT_READ:
            pass
        except (TLS_ERROR, ValueError) as failure:
            self.securing = False
            error = failure
        sealed = self.outgoing.read()
        if sealed:
            self.send_raw(PyBytes_AS_STRING(sealed), PyBytes_GET_SIZE(sealed))
        if self.securing:
            return False
        if error is not None:
            self.broken = True          # nothing of ours can be read without keys
        if owner is not None:
            owner.on_secured(self, error)
        return error is None

    # -- end of life -----------------------------------------------------------

    cdef int on_deadline(self) except -1:
        cdef Owner owner = self.owner
        if self.lingering or owner is None:
            self.close()
            return 0
        return owner.on_deadline(self)

    cdef int on_failure(self, object error) except -1:
        cdef Owner owner = self.owner
        if owner is not None:
            return owner.on_broken(self, error)
        self.close()
        raise error             # nobody is left to be told: it must not be lost all the same

    cdef int send_fin(self) except -1:
        c_shutdown(self.fd, SHUT_WR)
        return 0

    cpdef finish(self, bint fin=True):
        cdef object sealed
        if self.fd < 0 or self.lingering:
            return
        self.owner = None
        if self.broken:
            self.close()
            return
        if self.tls is not None and not self.securing:
            try:
                self.tls.unwrap()
            except TLS_ERROR:
                pass                # want-read: our close_notify is out, theirs may follow
            sealed = self.outgoing.read()
            if sealed:
                self.send_raw(PyBytes_AS_STRING(sealed), PyBytes_GET_SIZE(sealed))
        self.lingering = True
        self.fin = fin
        self.deadline = self.reactor.now + LINGER_SECONDS
        self.resume()
        if fin and self.queued() == 0:
            self.send_fin()

    cpdef close(self):
        cdef int fd = self.part()
        if fd >= 0:
            c_close(fd)

    cpdef int part(self) except -2:
        cdef int fd = self.fd
        if fd < 0:
            return -1
        self.reactor.remove(self)
        self.fd = -1
        self.owner = None
        self.tls = self.incoming = self.outgoing = self.frames = None
        self.deadline = 0
        if self.queue is not None:
            self.queue.clear()
        free(self.inbox)
        self.inbox = NULL
        self.inbox_length = 0
        return fd

    @property
    def closed(self):
        return self.fd < 0

    @property
    def secured(self):
        return self.tls is not None and not self.securing

    @property
    def compressed(self):
        return self.frames is not None

    @property
    def tls_version(self):
        return self.tls.version() if self.tls is not None else None

    def send_queue(self):
        return self.queued()
