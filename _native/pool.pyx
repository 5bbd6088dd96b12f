# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Backend connections that sessions share, and the queue in front of them.

    Group (hostgroup, account, capabilities) ── Bucket per Server ── idle BackendConnections
      │ take: settings match ── the same object ──> as it is
      │       none matches ─────────────────────> the latest used, the driver aligns it
      │       none idle ────────────────────────> wait (first come, first served)
      └ release: owed to another group ? handed over : somebody waits ? granted : idle again,
                 the latest used is taken first

`Server` counts what all groups have open on one backend, so that its limit holds over all of
them, and over all workers where they share a ledger; one that leaves politely counts until the
server has closed it. Opening, aligning,
closing and sharing out between groups are the driver's (slow lane).
"""

cimport cython
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint64_t

from hproxy._native.endpoint cimport Endpoint, Owner
from hproxy._native.ledger cimport Row
from hproxy._native.statements cimport BackendStatements

from collections import OrderedDict
from os import urandom
from time import monotonic

cdef extern from "<sys/socket.h>" nogil:
    int SHUT_RDWR, MSG_PEEK, MSG_DONTWAIT
    int shutdown(int fd, int how)
    ssize_t recv(int fd, void* data, size_t size, int flags)

cdef uint64_t SOMEBODY = <uint64_t>-1   # whose warnings a conversation of ours has left
cdef bytes QUIT = b"\x01\x00\x00\x00\x01"
cdef double LEAVING_SECONDS = 1.0       # after which it is closed whatever the server does
cdef uint64_t seed = int.from_bytes(urandom(8), "little") | 1


cdef inline double chance() noexcept:
    """A number in [0, 1): xorshift, good enough to spread statements."""
    global seed
    seed ^= seed << 13
    seed ^= seed >> 7
    seed ^= seed << 17
    return (seed >> 11) * (1.0 / 9007199254740992.0)


cdef class Borrower(Owner):

    cdef int granted(self, BackendConnection connection) except -1:
        raise NotImplementedError(f"{type(self).__name__} waits for no connection")


@cython.final
cdef class Server:

    def __init__(self, backend, Py_ssize_t limit, double weight=1.0, bint online=True,
                 Row row=None):
        self.backend = backend
        self.limit = limit
        self.weight = weight
        self.online = online
        self.row = row

    cdef bint room_left(self) noexcept:
        if self.opened >= self.limit:
            return False
        return self.row is None or self.row.has_room(self.limit)

    @property
    def room(self):
        return self.room_left()


@cython.final
cdef class Shelf:
    pass


@cython.final
cdef class Bucket:

    def __init__(self, Server server not None, Group group not None):
        self.server = server
        self.group = group
        self.matching = {}

    cdef int turn_to(self, Shelf shelf) except -1:
        """It is the one in use: only that may be empty, another one is thrown away then.

        Most statements take the connection the one before gave back, and need neither a look-up
        nor a shelf made and thrown away."""
        cdef Shelf before = self.recent
        self.recent = shelf
        if before is not None and before is not shelf and before.top is None:
            del self.matching[before.settings]
        return 0

    cdef int push(self, BackendConnection connection) except -1:
        """It is idle from now on."""
        cdef Shelf shelf = self.recent
        cdef BackendConnection under
        if shelf is None or shelf.settings is not connection.settings:
            shelf = <Shelf>self.matching.get(connection.settings)
            if shelf is None:
                shelf = Shelf.__new__(Shelf)
                shelf.settings = connection.settings
                self.matching[connection.settings] = shelf
            self.turn_to(shelf)
        under = shelf.top
        if under is not None:
            under.over = connection
            connection.under = under
        shelf.top = connection
        connection.shelf = shelf
        connection.is_idle = True
        if self.newest is not None:
            connection.older = self.newest
            self.newest.newer = connection
        else:
            self.oldest = connection
        self.newest = connection
        self.idle += 1
        self.server.idle += 1
        return 0

    cdef int take(self, BackendConnection connection) except -1:
        """It is idle no longer."""
        cdef Shelf shelf = connection.shelf
        cdef BackendConnection older = connection.older, newer = connection.newer
        cdef BackendConnection under = connection.under, over = connection.over
        connection.is_idle = False
        connection.shelf = None
        if over is not None:
            over.under = under
            connection.over = None
        else:
            shelf.top = under
        if under is not None:
            under.over = over
            connection.under = None
        if newer is not None:
            newer.older = older
            connection.newer = None
        else:
            self.newest = older
        if older is not None:
            older.newer = newer
            connection.older = None
        else:
            self.oldest = newer
        self.idle -= 1
        self.server.idle -= 1
        if shelf is not self.recent:
            self.turn_to(shelf)
        return 0

    cdef BackendConnection match(self, object settings):
        """The idle connection set like that that was used last, or None."""
        cdef Shelf shelf = self.recent
        if shelf is None or shelf.settings is not settings:
            shelf = <Shelf>self.matching.get(settings)
            if shelf is None:
                return None
        return shelf.top

    cpdef bint enter(self) noexcept:
        """A place for one more connection, which is on its way; False: there is none."""
        cdef Server server = self.server
        cdef Group group = self.group
        if server.opened >= server.limit:
            return False
        if server.row is not None and not server.row.take(server.limit):
            return False
        if group.row is not None and not group.row.take(group.limit):
            if server.row is not None:
                server.row.give()
            return False
        server.opened += 1
        return True

    cpdef void leave(self) noexcept:
        """The place of a connection is free."""
        self.server.opened -= 1
        if self.server.row is not None:
            self.server.row.give()
        if self.group.row is not None:
            self.group.row.give()

    cpdef int adopt(self) except -1:
        """A connection comes with its session from another process, where it was counted: there is
        a place for it, whatever the limits."""
        self.opened += 1
        self.server.opened += 1
        if self.server.row is not None:
            self.server.row.enter()
        if self.group.row is not None:
            self.group.row.enter()
        return 0

    @property
    def longest_idle(self):
        return self.oldest

    def connections(self):
        found = []
        cdef BackendConnection connection = self.newest
        while connection is not None:
            found.append(connection)
            connection = connection.older
        return found


@cython.final
cdef class Group:

    def __init__(self, key, driver, Py_ssize_t queue_limit):
        self.key = key
        self.driver = driver
        self.queue_limit = queue_limit
        self.limit = 1 << 40
        self.buckets = []
        self.queued = OrderedDict()

    def add(self, Server server not None):
        bucket = Bucket(server, self)
        self.buckets.append(bucket)
        server.waiting += self.waiting
        return bucket

    def drop(self, Bucket bucket not None):
        """Its server is gone from the hostgroup, and its last connection is closed."""
        if bucket.opened or bucket.connecting or bucket.leaving:
            raise ValueError("a bucket with connections cannot be dropped")
        self.buckets.remove(bucket)
        bucket.server.waiting -= self.waiting

    cdef Bucket draw(self):
        """A bucket whose server takes statements, at random by weight; None without any."""
        cdef Bucket bucket, last = None
        cdef double total = 0.0, point
        if len(self.buckets) == 1:
            bucket = <Bucket>self.buckets[0]
            return bucket if bucket.server.online and bucket.server.weight > 0 else None
        for bucket in self.buckets:
            if bucket.server.online:
                total += bucket.server.weight
        point = chance() * total
        for bucket in self.buckets:
            if bucket.server.online and bucket.server.weight > 0:
                last = bucket
                point -= bucket.server.weight
                if point < 0:
                    break
        return last

    cdef BackendConnection take(self, object settings):
        """An idle connection, idle no longer; the caller compares its settings. None: wait."""
        cdef Bucket bucket, drawn = self.draw()
        cdef BackendConnection found
        if drawn is None:
            return self.take_shunned(settings)
        found = drawn.match(settings)
        if found is None and len(self.buckets) > 1:
            # Weights had their say; a statement that need not wait elsewhere shall not wait.
            if drawn.opened + drawn.connecting == 0 and drawn.server.room_left():
                self.driver.spread(self, drawn)     # weights are kept when there is little to do
            for bucket in self.buckets:
                if bucket is not drawn and bucket.server.online and bucket.server.weight > 0:
                    found = bucket.match(settings)
                    if found is not None:
                        break
        if found is None:
            found = drawn.newest
        if found is None and len(self.buckets) > 1:
            for bucket in self.buckets:
                if bucket.server.online and bucket.server.weight > 0 and bucket.idle:
                    found = bucket.newest
                    break
        if found is not None:
            found.bucket.take(found)
            self.acquired += 1
        return found

    cdef BackendConnection take_beside(self, object settings, Server avoided):
        """As `take`, but not of a server that has just lost a connection: when it dies, those
        that are still open die a moment later. Unless it is the only one."""
        cdef Bucket bucket
        cdef BackendConnection found = None, same
        cdef bint others = False
        for bucket in self.buckets:
            if bucket.server is avoided or not bucket.server.online or bucket.server.weight <= 0:
                continue
            others = True
            same = bucket.match(settings)
            if same is not None:
                found = same
                break
            if found is None:
                found = bucket.newest
        if not others:
            return self.take(settings)
        if found is not None:
            found.bucket.take(found)
            self.acquired += 1
        return found

    cdef BackendConnection take_shunned(self, object settings):
        """No server is online: connections to one that failed lately are better than none."""
        cdef Bucket bucket
        cdef BackendConnection found
        for bucket in self.buckets:
            if bucket.idle and not bucket.server.closing:
                found = bucket.match(settings)
                if found is None:
                    found = bucket.newest
                bucket.take(found)
                self.acquired += 1
                return found
        return None

    cdef bint may_grow(self) noexcept:
        """Whether the driver can do something for those who wait: more of them than connections
        on their way, and room for one more, or idle ones of others, or nothing here at all."""
        cdef Bucket bucket
        cdef Server server
        cdef Py_ssize_t connecting = 0, opened = 0
        cdef bint room = False, online = False
        if self.full:
            return False
        for bucket in self.buckets:
            server = bucket.server
            connecting += bucket.connecting
            opened += bucket.opened
            online |= server.online
            if server.online and (server.idle or server.room_left() or
                                  (server.row is not None and not server.asked)):
                room = True         # or other workers are to be asked for some
        # Without any online the driver tries those that failed.
        return connecting < self.waiting and (room or not online or opened + connecting == 0)

    cdef int wait(self, Borrower borrower) except -1:
        cdef Bucket bucket
        borrower.queue = self
        self.queued[borrower] = None
        self.waiting += 1
        self.waited += 1
        for bucket in self.buckets:
            bucket.server.waiting += 1
        return 0

    cdef int withdraw(self, Borrower borrower) except -1:
        """It waits no longer, and has no place in the queue."""
        cdef Bucket bucket
        if borrower.queue is not self:
            return 0
        del self.queued[borrower]
        borrower.queue = None
        self.waiting -= 1
        for bucket in self.buckets:
            bucket.server.waiting -= 1
        return 0

    cdef Borrower next_waiter(self):
        cdef Borrower borrower
        for waiting in self.queued:
            borrower = <Borrower>waiting
            self.withdraw(borrower)
            return borrower
        return None

    cdef int release(self, BackendConnection connection) except -1:
        """A connection in a known state comes back."""
        cdef Bucket bucket = connection.bucket
        cdef Server server = bucket.server
        cdef Borrower borrower
        cdef double waited
        connection.holder = None
        connection.endpoint.owner = connection
        connection.used_at = connection.endpoint.reactor.now
        self.released += 1
        if connection.endpoint.fd < 0 or connection.endpoint.broken or \
                connection.endpoint.inbox_length or connection.endpoint.queued():
            connection.retired = True       # answered before it was read, or more than asked for
        if connection.endpoint.paused:
            connection.endpoint.resume()
        if connection.retire_at and connection.used_at >= connection.retire_at:
            connection.retired = True
        if connection.retired or server.closing or connection.opened_at < server.renewed_at:
            self.driver.retire(connection)
            return 0
        if bucket.owed:
            bucket.owed -= 1
            self.driver.hand_over(connection)
            return 0
        if self.waiting:
            borrower = self.next_waiter()
            if borrower is not None:
                self.acquired += 1
                waited = max(connection.used_at - borrower.waiting_since, 0.0)
                self.wait_seconds += waited
                if self.times is not None:
                    self.times.queued(<uint64_t>(waited * 1e9))
                return borrower.granted(connection)
        bucket.push(connection)
        return 0

    # -- for the driver ----------------------------------------------------------

    def give(self, BackendConnection connection not None, bint used=True):
        """It is free again; `used` says that a client has used it since."""
        cdef double used_at = connection.used_at
        self.release(connection)
        if not used and connection.is_idle:
            connection.used_at = used_at

    def refuse_all(self):
        """The sessions that wait, taken out of the queue."""
        cdef Borrower borrower
        found = []
        while True:
            borrower = self.next_waiter()
            if borrower is None:
                return found
            found.append(borrower)

    def first_waiter(self):
        """Who waits longest, or None."""
        for borrower in self.queued:
            return borrower
        return None

    @property
    def opened(self):
        return sum([(<Bucket>bucket).opened for bucket in self.buckets])

    @property
    def has_connections(self):
        return any([(<Bucket>bucket).opened for bucket in self.buckets])

    @property
    def connecting(self):
        return sum([(<Bucket>bucket).connecting for bucket in self.buckets])

    @property
    def grows(self):
        return self.may_grow()


@cython.final
cdef class BackendConnection(Owner):

    def __init__(self, Endpoint endpoint not None, Bucket bucket not None, login, settings,
                 Py_ssize_t statement_limit):
        self.endpoint = endpoint
        self.bucket = bucket
        self.login = login
        self.settings = self.base = settings
        self.statements = BackendStatements(statement_limit)
        self.opened_at = self.used_at = endpoint.reactor.now
        self.warned_by = SOMEBODY
        endpoint.owner = self
        endpoint.deadline = 0

    # Idle: whatever comes now is a farewell or nonsense, and the end of it either way.

    cdef Py_ssize_t on_data(
        self, Endpoint end, const unsigned char* data, Py_ssize_t length
    ) except -1:
        if not self.leaving:
            self.lost("the backend ended it")
        return length

    cdef int on_eof(self, Endpoint end, int error) except -1:
        return self.depart() if self.leaving else self.lost("the backend closed it")

    cdef int on_broken(self, Endpoint end, object error) except -1:
        return self.depart() if self.leaving else self.lost("internal error")

    cdef int on_deadline(self, Endpoint end) except -1:
        return self.depart() if self.leaving else 0

    cdef int depart(self) except -1:
        """The server has closed it, or took too long to: its place is free."""
        self.leaving = False
        self.endpoint.close()
        self.bucket.leaving -= 1
        self.bucket.server.leaving -= 1
        self.bucket.leave()
        self.bucket.group.driver.departed(self)
        return 0

    cdef int lost(self, str reason) except -1:
        if self.is_idle:
            self.bucket.take(self)
        self.retired = True
        self.bucket.group.driver.idle_lost(self, reason)
        return 0

    def reserve(self):
        """Take it out of the idle ones, for a ping or to close it; False if it is in use."""
        if not self.is_idle:
            return False
        self.bucket.take(self)
        return True

    @property
    def quiet(self):
        """Whether nothing has come from it that nobody has read, not even its end."""
        cdef char byte
        if self.endpoint.fd < 0:
            return False
        return recv(self.endpoint.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 and errno == EAGAIN

    @property
    def free(self):
        return self.is_idle

    @property
    def closed(self):
        return self.endpoint.fd < 0

    def leave(self, bint polite=True):
        """Close it for good; False when that was done before. Politely it says so, and its place
        is taken until the server has closed: only then would another be let in there."""
        cdef Server server = self.bucket.server
        if self.gone:
            return False
        self.gone = self.retired = True
        if self.is_idle:
            self.bucket.take(self)
        self.bucket.opened -= 1
        self.holder = None
        if polite and self.endpoint.fd >= 0 and not self.endpoint.broken:
            self.leaving = True
            self.bucket.leaving += 1
            server.leaving += 1
            self.endpoint.owner = self
            self.endpoint.deadline = self.endpoint.reactor.now + LEAVING_SECONDS
            self.endpoint.write(<const unsigned char*><char*>QUIT, len(QUIT))
            self.endpoint.redeliver()           # nobody reads what is left over
            return True
        self.bucket.leave()
        if self.endpoint.fd >= 0:
            self.endpoint.close()
        return True

    cdef int part(self) except -2:
        """Its descriptor, another process's from here on; its place is free. Not while idle."""
        if self.gone or self.is_idle:
            raise ValueError("a connection that nobody uses does not part")
        self.gone = self.retired = True
        self.holder = None
        self.bucket.opened -= 1
        self.bucket.leave()
        return self.endpoint.part()

    def sever(self):
        """Cut it under whoever uses it, who hears of it as if the backend had."""
        if self.endpoint.fd >= 0:
            shutdown(self.endpoint.fd, SHUT_RDWR)

    def move(self, Bucket bucket not None):
        """It belongs to another group of the same server from here on; not while it is idle."""
        if self.is_idle or bucket.server is not self.bucket.server:
            raise ValueError("only a connection in use moves, and to its own server")
        self.bucket.opened -= 1
        bucket.opened += 1
        self.bucket = bucket

    def send(self, bytes frame not None):
        """A command that is not answered."""
        self.endpoint.reactor.sent[<unsigned char>frame[4]] += 1
        self.endpoint.write(<const unsigned char*><char*>frame, len(frame))

    def own(self):
        """Hear its socket again, after a conversation on it."""
        if self.endpoint.fd >= 0:
            self.endpoint.owner = self.holder if self.holder is not None else self

    def touch(self):
        """Something was run on it: what the statement before left behind is gone."""
        self.uses += 1
        self.rows_of = SOMEBODY
        self.warned_by = SOMEBODY


@cython.final
cdef class Applicant(Borrower):
    """Waits in a group's queue for code that awaits; `granted` sets its future's result."""

    def __init__(self, future):
        self.future = future

    cdef int granted(self, BackendConnection connection) except -1:
        if self.future.done():
            connection.bucket.group.release(connection)
        else:
            self.future.set_result(connection)
        return 0

    def apply(self, Group group not None, settings, bint limited=False):
        """An idle connection at once, or None: the future will tell.

        Raises OverflowError if it is `limited` and as many wait as may."""
        cdef BackendConnection found = group.take(settings)
        self.settings = settings
        if found is None:
            if limited and group.waiting >= group.queue_limit:
                raise OverflowError("too many wait for a connection")
            self.waiting_since = monotonic()
            group.wait(self)
        return found

    def withdraw(self):
        if self.queue is not None:
            self.queue.withdraw(self)

    @property
    def waits_for(self):
        return self.queue
