# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""What the answer to a command leaves in the session, and which answers are not the client's.

    ERR about our connection, or about a statement it has forgotten ──> send_again
    ERR of a writer that is read only by now ──> the driver holds it until there is another
    answer ended ──> status, counts, warnings, insert id, open cursors ──> pins
                 └── watched: driver.finished        └── nothing pins it: settle
"""

cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from hproxy._native.cursor cimport load2, load3
from hproxy._native.decision cimport (
    COUNT_KEPT,
    FOUND_AFFECTED,
    FOUND_MATCHED,
    FOUND_NONE,
    FOUND_ONE,
    FOUND_OTHERWISE,
    FOUND_THERE,
    TRAIT_BEGINS,
    TRAIT_CALC_ROWS,
    TRAIT_CONTEXT,
    TRAIT_ENDS,
    TRAIT_LAST_ID,
    TRAIT_LOGGED,
    TRAIT_READ,
    TRAIT_SAFE_REPEAT,
    TRAIT_SAVEPOINT,
    TRAIT_SETS_LAST_ID,
    TRAIT_WRITE,
    Decision,
)
from hproxy._native.mysql cimport REPLY_NONE, STOP_ERROR
from hproxy._native.mysql_leasing cimport (
    PIN_FOUND_ROWS,
    PIN_NO_MULTIPLEX,
    PIN_SESSION_MODE,
    PIN_TRANSACTION,
    PIN_WARNINGS,
    STATUS_AUTOCOMMIT,
    STATUS_IN_TRANSACTION,
    UNKNOWN_ID,
)
from hproxy._native.mysql_session cimport SESSION_IDLE, SESSION_RESPONSE, SESSION_SLOW, Session
from hproxy._native.mysql_tracked cimport Tracked
from hproxy._native.pool cimport BackendConnection, Group, Server
from hproxy._native.statements cimport ClientStatement
from hproxy._native.statistics cimport DigestCounters

cdef enum:
    STATUS_LASTING = 0xA203         # in transaction (read only), autocommit, quotes, backslashes
    SERVER_SHUTDOWN = 1053
    READ_ONLY_OPTION = 1290
    READ_ONLY_MODE = 1836
    INTERRUPTED = 1317
    UNKNOWN_STATEMENT = 1243
    NEED_REPREPARE = 1615
    CONNECTION_KILLED = 1927
    IDLE_KICKED = 4031
    LOST_BEHIND = 2013              # no server says so, but a proxy does of the server behind it


cdef bytes TIMED_OUT = b"\xff\x73\x07#70100Query execution was interrupted, query_timeout exceeded"


cdef bytes KILLED = b"\xff\x25\x05#70100Query execution was interrupted"


cdef void name_timeout(unsigned char* data, Py_ssize_t length) noexcept:
    """An ERR behind rows says that the statement was killed: that its time was up has a number of
    its own, which has room there. The words would not."""
    cdef Py_ssize_t size = len(KILLED)
    cdef unsigned char* frame = data + length - size - 4
    if length >= size + 4 and load3(frame) == size and \
            memcmp(frame + 4, <char*>KILLED, size) == 0:
        frame[5] = 0x73
        frame[6] = 0x07


cdef inline uint64_t nanoseconds() noexcept:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <uint64_t>ts.tv_sec * 1000000000 + <uint64_t>ts.tv_nsec


cdef inline uint64_t since(double at, uint64_t begun) noexcept:
    """Nanoseconds from `begun` to the reactor's `at`, which may be that of the batch before."""
    cdef uint64_t ns = <uint64_t>(at * 1e9)
    return ns - begun if ns > begun else 0


@cython.final
cdef class Watch:
    pass


cdef class Outcome(Tracked):

    cdef int send_again(self) except -1:
        """Hook: the command under way goes out once more, as the client sent it."""
        raise NotImplementedError

    cdef int hold_back(self) except -1:
        """Hook: the command under way is the driver's, to go out later as the client sent it."""
        raise NotImplementedError

    # -- the answer ------------------------------------------------------------------

    cdef int sending(self) except -1:
        """The command goes out: what the scanner does not begin with by itself, and the clock."""
        self.scanner.warnings = 0
        self.scanner.status = <uint16_t>self.status
        self.watched |= self.watch_next
        self.attempts += 1
        self.begun = nanoseconds()
        self.first_at = 0
        self.bytes_before = self.client.bytes_out
        self.received_before = self.backend.bytes_in
        self.client.reactor.sent[self.command] += 1
        return 0

    cdef int command_sent(self) except -1:
        Session.command_sent(self)
        if self.session_state == SESSION_RESPONSE and self.decision is not None and \
                self.decision.time_limit > 0:
            self.client.deadline = self.client.reactor.now + self.decision.time_limit
        return 0

    cdef Py_ssize_t relay(self, unsigned char* data, Py_ssize_t length) except -2:
        cdef Py_ssize_t used
        if self.first_at == 0:
            self.first_at = self.client.reactor.now
        if self.expired:
            name_timeout(data, length)
        used = Session.relay(self, data, length)
        if self.captured is not None and used > 0:
            if len(self.captured) + used > self.capture_limit:
                self.captured = None
            else:
                self.captured += data[:used]
        return used
    cdef int keep_for_log(self, const unsigned char* p, Py_ssize_t have) except -1:
        """What the frame at `p` says, or as much of it as is here and a log would show."""
        self.logged = p[4:min(have, 4 + <Py_ssize_t>load3(p), 4 + LOGGED_LIMIT)]
        return 0

    cdef int report(
        self, Decision decision, ClientStatement statement, bytes copy, uint64_t took
    ) except -1:
        """A statement that is logged, or slow, was answered; its connection is still in hand."""
        cdef bytes payload = self.logged
        cdef bint slow = self.watch is not None and self.watch.slow_ns and \
            took >= self.watch.slow_ns
        self.logged = None
        if slow:
            self.watch.slow += 1
        if not decision.flags & TRAIT_LOGGED and not (slow and self.watch.tell):
            return 0
        if payload is None and copy is not None:
            payload = copy[4:]
        self.driver.recorded(self, decision, statement, payload, took, slow)
        return 0

    cdef Py_ssize_t inspect(self, unsigned char* frame, Py_ssize_t size) except -2:
        self.captured = None            # not what another client shall read
        if frame == NULL:
            if self.scanner.stopped != STOP_ERROR:
                self.driver.unseen(self)
            return size
        if self.scanner.stopped == STOP_ERROR:
            return self.refused_by_backend(frame, size)
        return self.state_changed(frame, size)

    cdef Py_ssize_t refused_by_backend(self, unsigned char* frame, Py_ssize_t size) except -2:
        """An ERR as the whole answer: the client's, or about our connection rather than it."""
        cdef uint32_t number = load2(frame + 5)
        cdef bint farewell = frame[3] == 0 or number == SERVER_SHUTDOWN or \
            number == CONNECTION_KILLED or number == IDLE_KICKED or number == LOST_BEHIND
        if farewell:
            self.held.retired = True
        self.refusal_told = frame[4:size]
        if self.expired and number == INTERRUPTED:
            self.tell([TIMED_OUT], frame[3])
            return 0
        if self.copy is None or self.session_state != SESSION_RESPONSE:
            return size
        if farewell:
            # Number 0: it was said before the command was read, which therefore did not run.
            if frame[3] != 0 and not self.decision.flags & (TRAIT_READ | TRAIT_SAFE_REPEAT):
                return size
            if not self.driver.may_repeat(self, number):
                return size
            self.avoided = self.held.bucket.server
            self.give_up()
            self.refusal_told = None
            self.send_again()
            return -1
        if (number == READ_ONLY_OPTION or number == READ_ONLY_MODE) and \
                self.decision.flags & TRAIT_WRITE and \
                self.driver.demoted(self, frame[4:size]):
            self.give_up()
            self.refusal_told = None
            self.hold_back()
            return -1
        if self.statement is not None and self.attempts < 3 and \
                (number == NEED_REPREPARE or number == UNKNOWN_STATEMENT):
            self.driver.forget_statement(self, self.held, self.statement)
            self.refusal_told = None
            self.send_again()
            return -1
        return size

    cdef int nothing_done(self) except -1:
        """OK to a command that no backend has seen: ROW_COUNT() is 0, whatever one would say."""
        self.row_count = 0
        self.restated = True
        return self.tell([self.ok()], 1)

    cdef bytes ok(self):
        cdef uint32_t status = self.status & STATUS_LASTING
        return bytes((0, 0, 0, status & 0xFF, status >> 8, 0, 0))

    cdef int became_idle(self) except -1:
        """The command under way is over, as far as the backend is concerned."""
        if self.discarding:
            self.discarding = False
            self.answered = False
            self.session_state = SESSION_IDLE
            return 0
        return self.answered_statement()

    cdef int answered_statement(self) except -1:
        cdef Decision decision = self.decision
        cdef ClientStatement statement = self.statement
        cdef bint errored = self.scanner.errored
        cdef bytes copy = self.copy
        cdef uint64_t took
        self.answered = False
        self.copy = None
        self.answered_decision = decision
        self.decision = None
        self.statement = None
        self.attempts = 0
        self.expired = False
        if decision.time_limit > 0:
            self.client.deadline = \
                self.client.reactor.now + self.idle_timeout if self.idle_timeout else 0
        if decision.multiplex == 0:
            self.sticks = True
            self.pins |= PIN_NO_MULTIPLEX
        elif decision.multiplex == 1:
            self.sticks = False
            self.pins &= ~<uint32_t>PIN_NO_MULTIPLEX
        if self.reply_kind == REPLY_NONE:
            self.watched = False
            self.logged = None
            self.session_state = SESSION_IDLE
            return self.settle()
        took = nanoseconds() - self.begun
        self.account(decision, errored, took)
        self.held.uses += 1
        self.last_uses = self.held.uses
        self.learn_transaction(decision.flags, errored)
        self.learn_counts(decision.flags, errored)
        self.learn_warnings(decision.flags, errored)
        if statement is not None:
            self.learn_statement(statement, errored)
        if (self.pins or self.status & STATUS_IN_TRANSACTION) and self.pinned_since == 0:
            self.pinned_since = self.client.reactor.now
            self.pinned_by = decision.text
        if decision.flags & TRAIT_LOGGED or \
                self.watch is not None and took >= self.watch.slow_ns and self.watch.slow_ns:
            self.report(decision, statement, copy, took)
        if self.watched:
            self.watched = False
            self.session_state = SESSION_SLOW
            self.driver.finished(self)
            return 0
        self.captured = None
        self.session_state = SESSION_IDLE
        return self.settle()

    cdef int account(self, Decision decision, bint errored, uint64_t ns) except -1:
        """Count it: for its digest where it ran, for its command, for its server."""
        cdef Group group = self.held.bucket.group
        cdef Server server = self.held.bucket.server
        cdef DigestCounters counters = decision.counters
        if group is not decision.writer:
            if group is decision.reader and decision.reader_counters is not None:
                counters = decision.reader_counters
            elif group.hostgroup != decision.writer.hostgroup:
                counters = counters.elsewhere(group.hostgroup)
        counters.record(
            ns, self.scanner.rows, self.scanner.affected if self.scanner.affected > 0 else 0,
            self.framer.total, self.client.bytes_out - self.bytes_before, errored,
            self.client.reactor.now)
        if decision.command is not None:
            decision.command.record(ns)
        if group.times is not None:
            group.times.answered(
                self.command, since(self.first_at, self.begun), ns,
                self.begun + ns - min(<uint64_t>(self.arrived * 1e9), self.begun))
        server.queries += 1
        server.bytes_sent += self.framer.total
        server.bytes_received += self.backend.bytes_in - self.received_before
        if errored:
            self.driver.errored(self, self.scanner.error, self.refusal_told)
            self.refusal_told = None
        return 0

    cdef int learn_transaction(self, uint32_t flags, bint errored) except -1:
        """Status flags, what they do not tell, and since when readers may lack a write."""
        if flags & TRAIT_WRITE:
            self.wrote = True           # an error may come after some of it was done
        if self.wrote:
            # Readers see nothing of a transaction before its end, so the time begins there.
            self.wrote_at = self.client.reactor.now
        self.status = self.scanner.status       # an ERR leaves what the OKs before it have told
        if self.status & STATUS_IN_TRANSACTION:
            if self.transaction_since == 0:
                self.transaction_since = self.client.reactor.now
        else:
            self.transaction_since = 0
            self.wrote = False
            if flags & TRAIT_ENDS and not errored:
                self.told_begin = 0     # its OK has told so, if it had words for it
        if errored:
            if not self.status & STATUS_AUTOCOMMIT or \
                    self.status & STATUS_IN_TRANSACTION and flags & TRAIT_ENDS:
                self.hold_until_answered()
            return 0
        if self.doubtful:
            self.doubtful = False
            self.pins &= ~PIN_TRANSACTION
        if flags & (TRAIT_BEGINS | TRAIT_ENDS):
            self.pins &= ~PIN_TRANSACTION
        elif flags & TRAIT_SAVEPOINT and not self.status & STATUS_AUTOCOMMIT:
            self.pins |= PIN_TRANSACTION    # before the first table nothing else tells of it
        return 0

    cdef int learn_counts(self, uint32_t flags, bint errored) except -1:
        """LAST_INSERT_ID(), ROW_COUNT() and FOUND_ROWS()."""
        if self.scanner.insert_id:
            # An explicit value shows in the OK as well, but LAST_INSERT_ID() stays what it was,
            # which may be another session's.
            self.insert_id_open = True
            self.insert_id_seen = self.scanner.insert_id
            if self.held.insert_owner != self.serial:
                self.held.insert_owner = 0
        elif flags & TRAIT_SETS_LAST_ID:
            self.insert_id_open = True
            self.insert_id_seen = 0
        if errored or not flags & COUNT_KEPT:
            self.row_count = -1 if errored else self.scanner.affected
        if flags & FOUND_OTHERWISE:
            if errored:
                return 0
            if flags & (FOUND_ONE | FOUND_NONE):
                self.found_rows = 1 if flags & FOUND_ONE else 0
            elif flags & FOUND_AFFECTED and self.scanner.affected >= 0:
                self.found_rows = self.scanner.affected
            elif flags & FOUND_MATCHED and self.scanner.matched >= 0:
                self.found_rows = self.scanner.matched
            elif not flags & FOUND_THERE:
                return 0
            self.held.rows_of = self.serial
        elif self.scanner.rowset and self.command != 0x1C:  # found before it is fetched
            self.found_rows = self.scanner.rows_last
            self.held.rows_of = self.serial
        elif flags & FOUND_THERE and not errored:
            self.held.rows_of = self.serial
        return 0

    cdef int learn_warnings(self, uint32_t flags, bint errored) except -1:
        """Whose warnings the connection has, and whether anybody may ask for them."""
        cdef bint warned = self.scanner.warnings != 0 or self.keeps_warnings and self.scanner.warned
        if errored or warned:
            self.held.warned_by = self.serial
            # In MariaDB what asks about warnings counts those that were there before.
            # A proxy that lost its server has lost what was set there, warnings included.
            if not (errored and self.scanner.error == LOST_BEHIND) and \
                    (errored or not flags & TRAIT_CONTEXT or not self.keeps_warnings):
                self.pins |= PIN_WARNINGS
        elif (self.command == 0x03 or self.command == 0x17) and \
                not flags & TRAIT_CONTEXT and not self.keeps(flags):
            self.held.warned_by = 0             # nobody's are left there
        if not flags & TRAIT_CONTEXT:
            self.restated = False
            if errored or warned or not self.keeps(flags):
                self.context_serial += 1
            if flags & TRAIT_CALC_ROWS and not errored:
                self.pins |= PIN_FOUND_ROWS
        return 0

    cdef int learn_statement(self, ClientStatement statement, bint errored) except -1:
        """Hook: what is open in a prepared statement now."""
        raise NotImplementedError

    # -- without the connection --------------------------------------------------------

    def part(self):
        """Take the connection away, with all that it holds of the session; None if it has none."""
        connection = self.detach()
        if self.wrote:
            self.wrote = False
            self.wrote_at = self.client.reactor.now     # it may have been committed
        self.pins = 0
        self.expired = False
        self.captured = None
        self.told_begin = 0
        self.cursors = self.long_data = 0
        self.status &= ~STATUS_IN_TRANSACTION
        if self.statements is not None:
            for statement in self.statements.entries():
                statement.cursor_open = statement.long_data = False
        return connection

    def give_up(self):
        """Take the connection away from the session: it is lost, or not to be trusted."""
        cdef BackendConnection connection = self.part()
        if connection is not None:
            connection.retired = True
            self.driver.retire(connection)

    # -- for the driver ------------------------------------------------------------------

    def end_yield(self, uint64_t found_rows):
        """It is known now."""
        if self.pins & PIN_FOUND_ROWS:
            self.found_rows = found_rows
        self.pins &= ~<uint32_t>(PIN_WARNINGS | PIN_FOUND_ROWS)
        self.last = None

    def concluded(self, bint warnings, uint32_t flags=0):
        """A command that the driver answered left `warnings` on the connection in hand, or none."""
        self.last = None
        if self.held is not None and self.pins & PIN_FOUND_ROWS:
            # A preparation leaves those alone.
            self.last_uses = self.held.uses
            self.held.rows_of = self.serial
        if not warnings and self.keeps(flags):
            return
        self.context_serial += 1
        self.pins &= ~<uint32_t>PIN_WARNINGS
        if warnings and self.held is not None:
            self.pins |= PIN_WARNINGS
            self.held.warned_by = self.serial

    def know_insert_id(self, uint64_t value):
        """LAST_INSERT_ID() on the connection in hand, after statements that may have set it.

        True when it is this session's; else it is what another one left there.
        """
        cdef uint64_t before
        if not self.insert_id_open:
            return self.held.insert_owner == self.serial
        self.insert_id_open = False
        before = self.held.insert_id
        self.held.insert_id = value
        if self.held.insert_owner != self.serial and value != self.insert_id_seen and \
                (value == before or before == UNKNOWN_ID):
            return False
        self.held.insert_owner = self.serial
        self.last_insert_id = value
        return True

    def forget_all(self):
        """COM_RESET_CONNECTION was run on the connection in hand."""
        self.pins &= PIN_SESSION_MODE
        self.sticks = False
        self.told_begin = 0
        self.cursors = self.long_data = 0
        self.last_insert_id = 0
        self.insert_id_open = False
        self.row_count = 0
        self.wrote = False
        self.wrote_at = 0
        if self.held is not None:
            self.held.statements.clear()
            self.held.insert_owner = self.serial
            self.held.insert_id = 0

    @property
    def warnings_kept(self):
        """Whether warnings on the connection of the statement before are none but its own.

        MariaDB keeps them over statements that read no table, of whomever they are."""
        cdef BackendConnection there = self.held if self.held is not None else self.last
        if self.held is not None and self.pins & PIN_WARNINGS and \
                (self.keeps_warnings or self.held.warned_by == self.serial):
            return True                 # of ours nothing ran in between that would end them
        return self.keeps_context() and \
            (there.warned_by == 0 or there.warned_by == self.serial)

    @property
    def context_kept(self):
        """Whether the connection of the statement before is still as that left it."""
        return self.answers(self.decision.flags if self.decision is not None else 0)

    @property
    def needs_insert_id(self):
        """Whether the statement that waits asks for a LAST_INSERT_ID() its connection lacks."""
        return self.decision is not None and self.held is not None and \
            (self.decision.flags & TRAIT_LAST_ID) != 0 and \
            self.held.insert_owner != self.serial
