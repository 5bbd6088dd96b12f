# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""A session's hold on backend connections: taken for a statement, kept while something pins it.

    no connection ── take ── idle, our settings ──> attached ── settle ──> given back, `last`
         │            ├── idle, other settings: driver.align           │
         │            └── none: WAITING in the group's line, granted   └ pins, a transaction: kept
         └ a question about the statement before: `last` again, if nobody used it meanwhile

Where an account's transactions are not persistent, the connection of one waits aside while query
rules have a statement run in another hostgroup, and is taken back behind it.
"""

from libc.stdint cimport uint32_t, uint64_t

from hproxy._native.decision cimport (
    RULED_ROUTE,
    TRAIT_BEGINS,
    TRAIT_CONTEXT,
    TRAIT_ENDS,
    TRAIT_FOUND_ROWS,
    TRAIT_LAST_ID,
    TRAIT_NO_TABLE,
    Decision,
)
from hproxy._native.endpoint cimport INBOX_LIMIT
from hproxy._native.mysql_session cimport (
    SESSION_CLOSED,
    SESSION_IDLE,
    SESSION_SLOW,
    SESSION_WAITING,
    Session,
)
from hproxy._native.pool cimport BackendConnection, Group, Server

cdef bytes CLOSE_STATEMENT = b"\x05\x00\x00\x00\x19"
cdef uint64_t UNKNOWN_ID = <uint64_t>-1


cdef class Leasing(Session):

    cdef int go(self) except -1:
        """Hook: send the command that waited for a connection."""
        raise NotImplementedError

    # -- finding a connection ------------------------------------------------------

    cpdef Group target(self, Decision decision):
        """Where a statement goes when nothing binds the session to a connection."""
        if decision.reader is None or not self.status & STATUS_AUTOCOMMIT:
            return decision.writer
        if self.wrote_at and self.client.reactor.now - self.wrote_at < self.hold_seconds:
            return decision.writer          # what it wrote may not have reached a reader yet
        return decision.reader

    cdef bint answers(self, uint32_t flags) noexcept:
        """Whether that connection can be asked about it, and need not be told an id first."""
        cdef BackendConnection there = self.held if self.held is not None else self.last
        if self.restated or not self.keeps_context() or \
                flags & TRAIT_FOUND_ROWS and there.rows_of != self.serial:
            return False
        return not flags & TRAIT_LAST_ID or there.insert_owner == self.serial

    cdef bint keeps_context(self) noexcept:
        """Whether the connection of the statement before is still as that left it."""
        if self.held is not None:
            return self.held.uses == self.last_uses
        return self.last is not None and self.last.is_idle and not self.last.retired and \
            self.last.uses == self.last_uses and self.last.settings is self.settings

    cdef bint keeps(self, uint32_t flags) noexcept:
        """Whether the server keeps the warnings of before over such a statement."""
        return self.keeps_warnings and flags & TRAIT_NO_TABLE

    cdef bint acquire(self) except -1:
        """Get hold of a connection; False: WAITING for one, or the driver aligns one."""
        cdef uint32_t flags = self.decision.flags
        cdef BackendConnection found = self.last
        cdef Group group
        if flags & (TRAIT_CONTEXT | TRAIT_LAST_ID) and self.held is None and \
                self.keeps_context():
            found.bucket.take(found)
            found.bucket.group.acquired += 1
            self.attach(found)
            return True
        group = self.target(self.decision)
        if self.avoided is None:
            found = group.take(self.settings)
        else:
            found = group.take_beside(self.settings, self.avoided)
            self.avoided = None
        if found is None:
            if group.waiting >= group.queue_limit:
                self.session_state = SESSION_SLOW
                self.driver.queue_full(self, group)
                return False
            self.session_state = SESSION_WAITING
            self.waiting_since = self.client.reactor.now
            self.client.deadline = self.waiting_since + self.wait_limit
            group.wait(self)
            if group.may_grow():
                self.driver.grow(group)
            return False
        if found.settings is not self.settings:
            self.session_state = SESSION_SLOW
            self.client.deadline = 0
            self.attach(found)
            self.driver.align(self, found)
            return False
        self.attach(found)
        return True

    cdef int granted(self, BackendConnection connection) except -1:
        """The pool has a connection for the statement that waits."""
        self.client.deadline = 0
        self.attach(connection)
        try:
            if connection.settings is self.settings:
                return self.go()
            self.session_state = SESSION_SLOW
            self.driver.align(self, connection)
        except Exception as error:
            self.on_broken(self.client, error)      # not the affair of who gave it back
        return 0

    cdef int attach(self, BackendConnection connection) except -1:
        cdef Server server = connection.bucket.server
        self.held = connection
        server.used += 1
        if server.used > server.most_used:
            server.most_used = server.used
        connection.holder = self
        self.backend = connection.endpoint
        connection.endpoint.owner = self
        if connection.bucket.group.sticky:
            self.pins |= PIN_SESSION_MODE
        if self.sticks:
            self.pins |= PIN_NO_MULTIPLEX
        return 0

    # -- giving it back ------------------------------------------------------------

    cdef BackendConnection detach(self):
        cdef BackendConnection connection = self.held
        self.held = None
        self.backend = None
        if connection is not None:
            connection.bucket.server.used -= 1
            connection.holder = None
            connection.endpoint.owner = connection
        self.pins &= ~<uint32_t>(PIN_SESSION_MODE | PIN_NO_MULTIPLEX)
        self.doubtful = False
        self.pinned_since = 0.0
        self.transaction_since = 0.0
        self.pinned_by = None
        # Paused because the backend was slow? It is another's from here on.
        if self.client.paused and self.client.inbox_length < INBOX_LIMIT and \
                self.session_state != SESSION_CLOSED:
            self.client.resume()
        return connection

    cdef int let_go(self) except -1:
        cdef BackendConnection connection = self.detach()
        if connection.statements.owned:         # by this session alone: nobody else may use them
            for number in connection.statements.retire():
                connection.send(CLOSE_STATEMENT + int(number).to_bytes(4, "little"))
        self.last = connection
        connection.bucket.group.release(connection)
        return self.take_back()

    cdef int settle(self) except -1:
        """Give the connection back unless something holds it."""
        if self.held is None:
            return self.take_back()
        if self.pins or self.status & STATUS_IN_TRANSACTION:
            return 0
        if self.insert_id_open:
            if self.exact_insert_ids or self.insert_id_seen == 0:
                self.session_state = SESSION_SLOW
                self.driver.read_insert_id(self)
                return 0
            self.insert_id_open = False
            self.held.insert_owner = 0
            self.held.insert_id = UNKNOWN_ID
            self.last_insert_id = self.insert_id_seen
        return self.let_go()

    # -- more than one -------------------------------------------------------------

    cdef bint leaves(self) except -1:
        """Whether the statement is for another hostgroup than that of the open transaction, and
        means there what it means here."""
        cdef uint32_t flags = self.decision.flags
        cdef uint32_t light = PIN_WARNINGS | PIN_FOUND_ROWS | PIN_NO_MULTIPLEX
        return flags & RULED_ROUTE and self.status & STATUS_IN_TRANSACTION and \
            not flags & (TRAIT_BEGINS | TRAIT_ENDS | TRAIT_CONTEXT | TRAIT_LAST_ID) and \
            not self.pins & ~light and \
            self.target(self.decision).key.hostgroup != self.held.bucket.group.key.hostgroup

    cdef int set_aside(self) except -1:
        """The connection of a transaction waits; what was aside before, there is only one, is in
        hand now if the statement is for that."""
        cdef BackendConnection before = self.aside
        cdef uint32_t status = self.aside_status, pins = self.aside_pins
        cdef bint id_open = self.aside_id_open
        cdef uint64_t id_seen = self.aside_id_seen
        self.aside_status = self.status
        self.aside_pins = self.pins
        self.aside_id_open = self.insert_id_open
        self.aside_id_seen = self.insert_id_seen
        self.aside = self.detach()
        self.pins = 0
        self.status &= ~<uint32_t>STATUS_IN_TRANSACTION
        self.insert_id_open = False
        self.last_uses = 0              # nothing is left of the statement before
        if before is not None:
            self.attach(before)
            self.pins |= pins
            self.status = status
            self.insert_id_open = id_open
            self.insert_id_seen = id_seen
        return 0

    cdef int take_back(self) except -1:
        """Nothing is in hand: what waits aside is."""
        if self.aside is None or self.session_state == SESSION_CLOSED:
            return 0
        cdef BackendConnection connection = self.aside
        self.aside = None
        self.attach(connection)
        self.pins |= self.aside_pins
        self.status = self.aside_status
        self.insert_id_open = self.aside_id_open
        self.insert_id_seen = self.aside_id_seen
        self.last_uses = 0
        return 0

    def hold_until_answered(self):
        """Keep the connection, as if in a transaction, until an answer tells that there is none.

        An ERR does not tell whether one was begun before it; and a command may mean something
        on its connection only."""
        if not self.pins & PIN_TRANSACTION:
            self.pins |= PIN_TRANSACTION
            self.doubtful = True

    cdef bint owns_surplus(self) except -1:
        self.held.retired = True        # whatever it is, nobody shall take it for an answer
        return False

    cdef Py_ssize_t unasked(self, const unsigned char* data, Py_ssize_t length) except -1:
        """It is ours although no statement runs, and ends: the session goes on without it."""
        self.driver.backend_lost(self, 0)
        return length

    # -- for the driver ------------------------------------------------------------

    def pin(self, mask, bits):
        """Replace the pins under `mask`."""
        self.pins = (self.pins & ~<uint32_t>mask) | <uint32_t>bits
        if self.pins and self.pinned_since == 0:
            self.pinned_since = self.client.reactor.now

    def yieldable(self, uint32_t pending=0):
        """Whether nothing holds the connection but what the last statement left behind, and
        `pending` pins, which may end when that is given up."""
        pending |= PIN_WARNINGS | PIN_FOUND_ROWS
        return self.session_state == SESSION_IDLE and self.held is not None and \
            self.pins & (PIN_WARNINGS | PIN_FOUND_ROWS) != 0 and (self.pins & ~pending) == 0 and \
            not self.status & STATUS_IN_TRANSACTION and \
            (self.client.inbox_length == 0 or self.leaving)

    def begin_yield(self):
        """The driver asks what is left behind; `settled` gives the connection back."""
        self.session_state = SESSION_SLOW

    def transaction_over(self):
        """The driver has ended it."""
        self.status &= ~<uint32_t>STATUS_IN_TRANSACTION

    def hold(self, BackendConnection connection not None):
        """The session runs on `connection`, which was nobody's."""
        self.attach(connection)

    @property
    def in_transaction(self):
        return (self.status & STATUS_IN_TRANSACTION) != 0 or self.aside is not None

    @property
    def autocommit(self):
        return (self.status & STATUS_AUTOCOMMIT) != 0

    @property
    def waits_for(self):
        return self.queue
