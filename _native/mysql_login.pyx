# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Logins like ones that were seen before, without the slow lane.

    greet ──> greeting ──> response ── known, no switch ── proof right ──> OK, Multiplexed
                              │ known, switch ──> answer ── proof right ──────┘
                              └──────── anything else, anywhere ──> driver.unusual

What is known of a login is what the slow lane left behind when it let in one that said the same
but for its proof: the same flags, character set, account, schema and plugin. Nothing is decided
here, and nobody is refused: whoever cannot be let in is passed on with all that was read, and the
slow lane's machine begins again at the greeting (what was sent is not sent twice).

A name that is no account's must not be told from one that is by the time it takes: where an
account is switched or checked here, so is nobody, against a random secret.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from hproxy._native.channel cimport Channel
from hproxy._native.cursor cimport load3, load4, read_lenenc
from hproxy._native.endpoint cimport Endpoint
from hproxy._native.mysql_multiplex cimport Multiplexed
from hproxy._native.proof cimport SCRAMBLE_BYTES, ScrambleSource, proves
from hproxy._native.reactor cimport Reactor

from os import urandom

cdef enum:
    CONNECT_WITH_DB = 0x00000008
    COMPRESS = 0x00000020
    PROTOCOL_41 = 0x00000200
    SSL = 0x00000800
    SECURE_CONNECTION = 0x00008000
    PLUGIN_AUTH = 0x00080000
    CONNECT_ATTRS = 0x00100000
    LENENC_PROOF = 0x00200000
    ZSTD = 0x04000000
    HEAD = 32                       # bytes in front of the user
    GREETING_HEAD = 8               # bytes of the scramble that follow the id at once
    GREETING_TAIL = 31              # from the id to the rest of the scramble
    NATIVE_DIGEST = 20
    SHA2_DIGEST = 32

cdef bytes FAST_OK = b"\x02\x00\x00\x00\x01\x03"


cdef inline double clock() noexcept:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return ts.tv_sec + ts.tv_nsec * 1e-9


cdef inline Py_ssize_t nul(const unsigned char* p, Py_ssize_t start, Py_ssize_t end) noexcept:
    """Where the string at `start` ends, -1 if it does not."""
    cdef const unsigned char* found
    if start >= end:
        return -1
    found = <const unsigned char*>memchr(p + start, 0, end - start)
    return -1 if found == NULL else found - p


cdef bint attributes_are_whole(const unsigned char* p, Py_ssize_t length) noexcept:
    """Whether they end where they say: pairs of strings within one string."""
    cdef unsigned long long number
    cdef Py_ssize_t pos, end
    cdef Py_ssize_t head = read_lenenc(p, length, &number)
    cdef int strings = 0
    if head <= 0 or number > <unsigned long long>(length - head):
        return False
    pos = head
    end = head + <Py_ssize_t>number
    while pos < end:
        head = read_lenenc(p + pos, end - pos, &number)
        if head <= 0 or number > <unsigned long long>(end - pos - head):
            return False
        pos += head + <Py_ssize_t>number
        strings += 1
    return strings % 2 == 0


cdef bint read_response(const unsigned char* p, Py_ssize_t size, Response* at) noexcept:
    """Find the parts of the usual response; False for any other, whatever is unusual in it."""
    cdef Py_ssize_t pos
    if size <= HEAD:
        return False
    at.capabilities = load4(p)
    if at.capabilities & (PROTOCOL_41 | SECURE_CONNECTION) != PROTOCOL_41 | SECURE_CONNECTION or \
            at.capabilities & (SSL | COMPRESS | ZSTD):
        return False
    at.user_end = nul(p, HEAD, size)
    if at.user_end < 0 or at.user_end + 1 >= size:
        return False
    at.proof = at.user_end + 2
    at.proof_length = p[at.user_end + 1]
    if at.capabilities & LENENC_PROOF and at.proof_length >= 251:
        return False
    pos = at.proof + at.proof_length
    if pos > size:
        return False
    if at.capabilities & CONNECT_WITH_DB and pos < size:
        pos = nul(p, pos, size) + 1
        if pos == 0:
            return False
    at.plugin = pos
    if at.capabilities & PLUGIN_AUTH and pos < size:
        pos = nul(p, pos, size) + 1
        if pos == 0:
            return False
    at.rest = pos
    return not at.capabilities & CONNECT_ATTRS or pos == size or \
        attributes_are_whole(p + pos, size - pos)


cdef bytes without_proof(const unsigned char* p, Response* at, bint secure):
    """What two logins must have in common for one to be decided like the other."""
    cdef Py_ssize_t head = at.user_end + 1, middle = at.rest - at.proof - at.proof_length
    cdef bytes key = PyBytes_FromStringAndSize(NULL, 1 + head + middle)
    cdef char* out = PyBytes_AS_STRING(key)
    out[0] = secure | (at.proof_length == 0) << 1
    memcpy(out + 1, p, head)
    memcpy(out + 1 + head, p + at.proof + at.proof_length, middle)
    return key


@cython.final
cdef class Greeting:

    def __init__(self, bytes payload not None, Py_ssize_t at_id, settings, profile, heard):
        cdef Py_ssize_t size = len(payload)
        if not 0 < at_id <= size - GREETING_TAIL - (SCRAMBLE_BYTES - GREETING_HEAD):
            raise ValueError("no room for the scramble in the greeting")
        self.frame = bytes((size & 0xFF, size >> 8 & 0xFF, size >> 16, 0)) + payload
        self.at_id = 4 + at_id
        self.settings = settings
        self.profile = profile
        self.heard = heard


@cython.final
cdef class Admission:

    def __init__(self, account, login, facts, kind, *, bytes stored not None,
                 bytes plugin not None, bint sha2, bint switched, bytes ok not None,
                 Multiplexed like):
        if len(stored) not in (0, SHA2_DIGEST if sha2 else NATIVE_DIGEST):
            raise ValueError(f"a digest of {len(stored)} bytes")
        if not 0 < len(ok) < 251:
            raise ValueError(f"an OK of {len(ok)} bytes")
        self.account = account
        self.secret = account.secret if account is not None else None
        self.login = login
        self.facts = facts
        self.kind = kind
        self.stored = stored
        self.plugin = plugin
        self.sha2 = sha2
        self.switched = switched
        self.ok = ok
        self.mould = like.like(None) if like is not None else None

    @property
    def settings(self):
        return self.mould.settings

    def nobody(self):
        """The same for whoever is no account's: nothing proves it."""
        return Admission(
            None, None, None, None,
            stored=urandom(SHA2_DIGEST if self.sha2 else NATIVE_DIGEST), plugin=self.plugin,
            sha2=self.sha2, switched=self.switched, ok=self.ok, like=None)

    cdef bint proven(
        self, const unsigned char* answer, Py_ssize_t length, const unsigned char* scramble
    ) noexcept:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.stored)
        if size == 0:
            return length == 0 or (self.sha2 and length == 1 and answer[0] == 0)
        return length == size and proves(
            answer, scramble, <const unsigned char*>PyBytes_AS_STRING(self.stored), self.sha2)


@cython.final
cdef class Greeter:

    def __init__(self, Reactor reactor not None, services, driver):
        self.reactor = reactor
        self.services = services
        self.driver = driver
        self.source = ScrambleSource()
        self.known = {}
        self.shapes = {}

    cdef Greeting current(self):
        """What clients are greeted with now; None when that is not known."""
        cdef Greeting greeting = self.greeting
        if greeting is None or greeting.settings is not self.services.settings or \
                greeting.heard != self.services.heard:
            self.greeting = greeting = self.driver.compose()
        return greeting

    def greet(self, int fd, connection, double seconds):
        cdef Greeting greeting = self.current()
        cdef Guest guest
        cdef bytes frame
        cdef unsigned char* p
        cdef uint32_t number
        if greeting is None:
            return False
        number = connection.id
        guest = Guest.__new__(Guest)
        guest.end = Endpoint(self.reactor, fd)
        guest.greeter = self
        guest.connection = connection
        guest.greeting = greeting
        guest.secure = connection.peer == "unix"
        self.source.draw(guest.scramble)
        frame = PyBytes_FromStringAndSize(
            PyBytes_AS_STRING(greeting.frame), PyBytes_GET_SIZE(greeting.frame))
        p = <unsigned char*>PyBytes_AS_STRING(frame) + greeting.at_id
        p[0] = number & 0xFF
        p[1] = number >> 8 & 0xFF
        p[2] = number >> 16 & 0xFF
        p[3] = number >> 24
        memcpy(p + 4, guest.scramble, GREETING_HEAD)
        memcpy(p + GREETING_TAIL, guest.scramble + GREETING_HEAD, SCRAMBLE_BYTES - GREETING_HEAD)
        guest.deadline = clock() + seconds
        guest.end.deadline = guest.deadline
        guest.end.owner = guest
        connection.busy = guest
        guest.end.write(<unsigned char*>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        return True

    cdef Admission find(self, Guest guest, const unsigned char* p, Response* at):
        """How the login was decided that said the same; None: it must be looked at."""
        cdef Admission found
        if self.users is not self.services.users or self.settings is not self.services.settings:
            self.forget()
        guest.key = without_proof(p, at, guest.secure)
        if self.shut(guest):
            return None
        found = self.known.get(guest.key)
        if found is not None:
            return found if self.holds(found) else None
        guest.shape = guest.key[:1 + HEAD] + p[at.plugin:at.rest]
        found = self.shapes.get(guest.shape)
        if found is not None and self.driver.goes_as_nobody(p[HEAD:at.user_end]):
            return found
        return None

    cdef bint shut(self, Guest guest) except -1:
        """Whether too many wrong passwords have come from there, or for this name: then not even
        a right one is let in here."""
        cdef object guard = self.services.guard
        cdef Py_ssize_t end
        if not guard.alert:
            return False
        end = guest.key.index(b"\0", 1 + HEAD)
        return not guard.is_open(guest.connection.host, guest.key[1 + HEAD:end])

    cdef bint holds(self, Admission admission) except -1:
        """Whether who was let in so would be let in now."""
        cdef object account = admission.account
        return account.secret is admission.secret and \
            self.users is self.services.users and self.settings is self.services.settings

    def forget(self):
        self.known = {}
        self.shapes = {}
        self.users = self.services.users
        self.settings = self.services.settings

    def remember(self, Guest guest not None, Admission admission not None, bint as_nobody):
        if guest.key is None or admission.mould is None:
            raise ValueError("nothing that could be known again")
        if self.users is not self.services.users or self.settings is not self.services.settings:
            self.forget()
        if guest.greeting.settings is not self.settings:
            return                  # decided by rules that hold no more
        if len(self.known) >= KNOWN_MOST:
            self.known = {}
        self.known[guest.key] = admission
        if as_nobody and guest.shape is not None and guest.shape not in self.shapes:
            if len(self.shapes) >= SHAPES_MOST:
                self.shapes = {}
            self.shapes[guest.shape] = admission.nobody()

    @property
    def remembered(self):
        return len(self.known)


@cython.final
cdef class Guest(Owner):

    cdef Py_ssize_t on_data(
        self, Endpoint end, const unsigned char* data, Py_ssize_t length
    ) except -1:
        cdef Py_ssize_t size
        cdef Admission admission = self.admission
        if length < 4:
            return 0
        size = load3(data)
        if size > RESPONSE_MOST or data[3] != (1 if admission is None else 3):
            self.hand_over(self.deadline - clock())
            return 0
        if length < 4 + size:
            return 0                # the rest of it is waited for, in the inbox
        if admission is None:
            size = self.respond(data, size)
            if self.admission is not None and length > size:
                size += self.on_data(end, data + size, length - size)
            return size
        # Time has passed since it was found: it may hold no more.
        if admission.proven(data + 4, size, self.switched) and admission.mould is not None and \
                self.greeter.holds(admission) and not self.greeter.shut(self) and \
                admission.account.enter():
            self.admit(admission, 4)
            return 4 + size
        self.hand_over(self.deadline - clock())
        return 0

    cdef Py_ssize_t respond(self, const unsigned char* data, Py_ssize_t size) except -1:
        cdef const unsigned char* p = data + 4
        cdef Response at
        cdef Admission admission = None
        cdef bytes frame
        if read_response(p, size, &at):
            admission = self.greeter.find(self, p, &at)
        if admission is not None and not admission.switched:
            if admission.proven(p + at.proof, at.proof_length, self.scramble) and \
                    admission.mould is not None and admission.account.enter():
                self.attributes = p[at.rest:size] if at.capabilities & CONNECT_ATTRS else b""
                self.admit(admission, 2)
                return 4 + size
            admission = None
        if admission is None:
            self.hand_over(self.deadline - clock())
            return 0
        self.greeter.source.draw(self.switched)
        self.attributes = p[at.rest:size] if at.capabilities & CONNECT_ATTRS else b""
        self.response = data[:4 + size]
        self.admission = admission
        frame = self.challenge(admission.plugin)
        size = PyBytes_GET_SIZE(frame)
        frame = bytes((size & 0xFF, size >> 8, 0, 2)) + frame
        self.end.write(<unsigned char*>PyBytes_AS_STRING(frame), 4 + size)
        return PyBytes_GET_SIZE(self.response)

    cdef bytes challenge(self, bytes plugin):
        """AuthSwitchRequest."""
        return b"\xfe" + plugin + b"\0" + self.switched[:SCRAMBLE_BYTES] + b"\0"

    cdef int admit(self, Admission admission, int sequence) except -1:
        """The proof is right: say so, and let a session take over."""
        cdef Endpoint end = self.end
        cdef Multiplexed session = admission.mould.like(end)
        cdef object connection = self.connection
        cdef unsigned char out[264]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(admission.ok), at = 0
        cdef unsigned char* scramble = self.scramble
        if admission.switched:
            scramble = self.switched
        session.tag = connection
        self.greeter.driver.admitted(
            connection, session, admission, scramble[:SCRAMBLE_BYTES] + self.attributes)
        if admission.sha2 and PyBytes_GET_SIZE(admission.stored):
            memcpy(out, PyBytes_AS_STRING(FAST_OK), 6)
            out[3] = sequence
            sequence += 1
            at = 6
        out[at] = size
        out[at + 1] = out[at + 2] = 0
        out[at + 3] = sequence
        memcpy(out + at + 4, PyBytes_AS_STRING(admission.ok), size)
        end.deadline = 0
        end.write(out, at + 4 + size)
        session.start()
        return 0

    cdef Channel hand_over(self, double seconds):
        """To the slow lane, which has `seconds` left: all of it once more, by its own rules."""
        cdef Endpoint end = self.end
        cdef bytes read
        cdef list said = [None]             # the greeting, whatever it was
        cdef list scrambles = [self.scramble[:SCRAMBLE_BYTES]]
        cdef Channel channel
        if self.response is not None:
            said.append(self.challenge(self.admission.plugin))
            scrambles.append(self.switched[:SCRAMBLE_BYTES])
            read = self.response
            if end.inbox_length:
                read += end.inbox[:end.inbox_length]
            end.keep(<unsigned char*>PyBytes_AS_STRING(read), PyBytes_GET_SIZE(read))
        end.deadline = 0
        channel = Channel(end, "client", self.greeting.settings.max_login_packet)
        channel.said = said
        self.greeter.driver.unusual(
            self, channel, tuple(scrambles), self.greeting.profile, max(0.0, seconds))
        return channel

    cdef int on_eof(self, Endpoint end, int error) except -1:
        cdef Channel channel = self.hand_over(self.deadline - clock())
        return channel.on_eof(end, error)

    cdef int on_deadline(self, Endpoint end) except -1:
        self.hand_over(0.0)
        return 0

    cdef int on_broken(self, Endpoint end, object error) except -1:
        self.end.close()
        self.greeter.driver.broken(self.connection, error)
        return 0

    def __call__(self):
        """Nobody shall wait for it any longer."""
        self.end.finish()
        self.greeter.driver.abandoned(self.connection)
