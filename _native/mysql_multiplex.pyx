# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""A MySQL session that borrows a backend connection for each statement.

    command ── digest ──> decision ──> group ──> connection with our settings ──> as Session
                 │ none yet: driver.decide   │ none idle: WAITING until one is granted
                 │ SLOW: driver.statement    └ other settings: driver.align
                 └ what effects it has only the driver can say
    answer ── OK with session state: state_changed ── ERR: refused_by_backend ──> client
    answered ──> pinned ? keep the connection : give it back

A session keeps its connection while it is in a transaction or `pins` is not 0. The driver sees
a statement before it is sent (`statement`, then `submit`) and after (`finished`, then `settled`)
when its decision says SLOW; everything else stays here.

Who has the command meanwhile: the client's inbox while the session is WAITING (or the driver
aligns a connection for it), `pending` when the driver submitted it.
"""

cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from hproxy._native.cursor cimport read_lenenc
from hproxy._native.decision cimport (
    FOUND_AFFECTED,
    FOUND_ONE,
    FOUND_OTHERWISE,
    FOUND_THERE,
    TRAIT_BEGINS,
    TRAIT_CALC_ROWS,
    TRAIT_CONTEXT,
    TRAIT_ENDS,
    TRAIT_FOUND_ROWS,
    TRAIT_LAST_ID,
    TRAIT_MULTI,
    TRAIT_NO_TABLE,
    TRAIT_READ,
    TRAIT_SAFE_REPEAT,
    TRAIT_SAVEPOINT,
    TRAIT_SETS_LAST_ID,
    TRAIT_SLOW,
    TRAIT_WRITE,
    Decision,
    DecisionCache,
)
from hproxy._native.digest cimport Digester
from hproxy._native.endpoint cimport INBOX_LIMIT, Endpoint
from hproxy._native.execution cimport ExecuteLayout, patch_id, statement_id
from hproxy._native.mysql cimport (
    FRAME_MAX,
    REPLY_NONE,
    STOP_ERROR,
    CommandFramer,
    ResponseScanner,
)
from hproxy._native.mysql_session cimport (
    SESSION_CLOSED,
    SESSION_COMMAND,
    SESSION_GATHER,
    SESSION_IDLE,
    SESSION_RESPONSE,
    SESSION_SLOW,
    SESSION_WAITING,
    Session,
    SessionState,
)
from hproxy._native.pool cimport BackendConnection, Group
from hproxy._native.statements cimport (
    BIND_AS_IS,
    EXECUTE_MORE,
    EXECUTE_READ,
    BackendStatement,
    ClientStatement,
    ClientStatements,
    bind,
    read_execute,
    typed,
)

from hproxy._native.channel import Channel

cdef enum:
    STATUS_IN_TRANSACTION = 0x0001
    STATUS_AUTOCOMMIT = 0x0002
    STATUS_MORE_RESULTS = 0x0008
    STATUS_CURSOR_EXISTS = 0x0040
    STATUS_LAST_ROW_SENT = 0x0080
    STATUS_STATE_CHANGED = 0x4000
    STATUS_LASTING = 0xA203         # in transaction (read only), autocommit, quotes, backslashes
    EOF_FRAME = 9                   # bytes of an EOF and its head; what it says has no details
    TRACK_GTIDS = 3
    TRACK_CHARACTERISTICS = 4
    TRACK_STATE = 5
    SERVER_SHUTDOWN = 1053
    UNKNOWN_STATEMENT = 1243
    NEED_REPREPARE = 1615
    CONNECTION_KILLED = 1927
    IDLE_KICKED = 4031
    LONG_DATA_HEAD = 7
    STATE_ENTRY = 11                # kind, length, length of the text, 8 letters

cdef enum Kind:                     # how a command is taken
    BY_QUERY
    BY_EXECUTE                      # and all others that name a statement
    BY_CLOSE
    BY_RESET
    BY_DRIVER                       # the driver answers it, or submits it
    BY_PING
    BY_QUIT

cdef unsigned char KINDS[256]
cdef const char** BEGUN = [
    b"\x0b\x05\x09\x08________", b"\x0b\x05\x09\x08T_______", b"\x0b\x05\x09\x08T_R_____"]
cdef bytes CLOSE_STATEMENT = b"\x05\x00\x00\x00\x19"
cdef uint64_t serials = 0
cdef uint64_t UNKNOWN_ID = <uint64_t>-1


cdef int fill_kinds() except -1:
    """Commands that need no look are relayed by the driver's leave (`statement`)."""
    cdef int command
    for command in range(256):
        KINDS[command] = BY_DRIVER
    KINDS[0x03] = BY_QUERY
    KINDS[0x01] = BY_QUIT
    KINDS[0x0E] = BY_PING
    KINDS[0x17] = BY_EXECUTE
    KINDS[0x18] = BY_EXECUTE        # COM_STMT_SEND_LONG_DATA
    KINDS[0x19] = BY_CLOSE
    KINDS[0x1A] = BY_RESET
    KINDS[0x1C] = BY_EXECUTE        # COM_STMT_FETCH
    KINDS[0xFA] = BY_EXECUTE        # COM_STMT_BULK_EXECUTE
    return 0


fill_kinds()


cdef inline uint32_t load3(const unsigned char* p) noexcept:
    return p[0] | (<uint32_t>p[1] << 8) | (<uint32_t>p[2] << 16)


cdef inline uint32_t load2(const unsigned char* p) noexcept:
    return p[0] | (<uint32_t>p[1] << 8)


cdef inline uint64_t nanoseconds() noexcept:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <uint64_t>ts.tv_sec * 1000000000 + <uint64_t>ts.tv_nsec


cdef bytes framed(bytes payload):
    cdef Py_ssize_t size = len(payload)
    if not 0 < size < FRAME_MAX:
        raise ValueError(f"{size} bytes do not fit one frame")
    return bytes((size & 0xFF, size >> 8 & 0xFF, size >> 16, 0)) + payload


@cython.final
cdef class Multiplexed(Session):

    def __init__(self, Endpoint client not None, driver, Digester digester not None,
                 DecisionCache decisions not None, settings, *, bint deprecate_eof,
                 bint query_attributes=False, double idle_timeout=0.0):
        global serials
        super().__init__(client, None, driver, deprecate_eof=deprecate_eof,
                         query_attributes=query_attributes, idle_timeout=idle_timeout)
        serials += 1
        self.serial = serials
        self.digester = digester
        self.decisions = decisions
        self.settings = settings
        self.scanner.watch = True
        self.status = STATUS_AUTOCOMMIT
        self.fast_lane = True
        self.row_count = -1

    cpdef Multiplexed like(self, Endpoint client):
        """A session that begins as this one would begin now, with what its login has set."""
        global serials
        cdef Multiplexed other = Multiplexed.__new__(Multiplexed)
        other.client = client
        other.driver = self.driver
        other.scanner = ResponseScanner(self.scanner.deprecate_eof)
        other.framer = CommandFramer()
        other.query_attributes = self.query_attributes
        other.idle_timeout = self.idle_timeout
        other.max_packet = self.max_packet
        other.session_state = SESSION_SLOW
        serials += 1
        other.serial = serials
        other.digester = self.digester
        other.decisions = self.decisions
        other.settings = self.settings
        other.scanner.watch = True
        other.status = STATUS_AUTOCOMMIT
        other.fast_lane = self.fast_lane
        other.row_count = -1
        other.salt = self.salt
        other.modes = self.modes
        other.exact_insert_ids = self.exact_insert_ids
        other.hold_seconds = self.hold_seconds
        other.wait_limit = self.wait_limit
        other.keeps_warnings = self.keeps_warnings
        other.shows_state = self.shows_state
        other.shows_transactions = self.shows_transactions
        other.shows_in_eof = self.shows_in_eof
        other.pins = self.pins
        return other

    # -- taking a command --------------------------------------------------------

    cdef Py_ssize_t begin(self, unsigned char* p, Py_ssize_t have) except -2:
        cdef Py_ssize_t taken = self.look(p, have)
        if taken == -1 and self.refusal is not None and self.session_state == SESSION_IDLE:
            return self.refuse_command(p, have)     # the driver refused it at once
        return taken

    cdef Py_ssize_t look(self, unsigned char* p, Py_ssize_t have) except -2:
        cdef Py_ssize_t size = load3(p)
        cdef unsigned char kind = KINDS[p[4]] if size else <unsigned char>BY_DRIVER
        if self.refusal is not None and kind != BY_QUIT and kind != BY_CLOSE:
            return self.refuse_command(p, have)
        if self.decision is not None:
            return self.dispatch(p, have)       # decided before; now there is a connection
        if size == 0:
            return self.to_driver(p, have, size)
        if kind == BY_QUERY:
            return self.query(p, have, size)
        if kind == BY_EXECUTE:
            return self.on_statement(p, have, size)
        if kind == BY_CLOSE:
            return self.close_statement(p, have)
        if kind == BY_RESET:
            return self.reset_statement(p, have)
        if kind == BY_QUIT:
            self.command = p[4]
            self.commands += 1
            if have == 5 and self.client.tls is None and self.client.queued() == 0:
                self.client.close()     # all was said by both: no farewell to wait for
            self.hang_up("quit")
            return 0
        if kind == BY_PING and self.held is None and size == 1:
            self.command = p[4]
            self.commands += 1
            self.nothing_done()
            return 5
        return self.to_driver(p, have, size)

    cdef Py_ssize_t query(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2:
        cdef const unsigned char* text = p + 5
        cdef Py_ssize_t length = size - 1
        cdef Decision decision
        cdef uint64_t low, high
        if have < 4 + size or size == FRAME_MAX:
            return self.gather(p, have, size)
        if self.query_attributes:
            if length < 2 or text[0] != 0 or text[1] != 1:
                return self.to_driver(p, have, size)
            text += 2
            length -= 2
        if not self.fast_lane:
            return self.to_driver(p, have, size)    # judged by its own text, each time
        self.digester.run(text, length, self.modes)
        low, high = self.digester.low ^ self.salt, self.digester.high
        decision = self.decisions.get(low, high)
        if decision is None:
            decision = self.driver.decide(self, text[:length])
            if decision is None:
                raise TypeError("no decision was made")
            self.decisions.put(low, high, decision)
        if decision.flags & TRAIT_SLOW or \
                decision.flags & TRAIT_CONTEXT and not self.answers(decision.flags):
            self.decision = decision
            return self.to_driver(p, have, size)
        self.decision = decision
        return self.dispatch(p, have)

    cdef Py_ssize_t on_statement(
        self, unsigned char* p, Py_ssize_t have, Py_ssize_t size
    ) except -2:
        """A command that names a prepared statement: find which, and take its decision."""
        cdef ClientStatement statement = None
        if p[4] == 0x18 and size < LONG_DATA_HEAD:
            self.driver.client_fault(self, "statement command is cut short")
            return 0
        if size < 5:
            return self.to_driver(p, have, size)
        if have < 9 or have < 4 + size <= WHOLE_LIMIT:
            return -1                   # no connection is taken for what is not here yet
        if self.statements is not None:
            statement = self.statements.find(statement_id(p + 4))
        if statement is None:
            return self.to_driver(p, have, size)
        self.statement = statement
        self.decision = self.decision_of(statement)
        if p[4] == 0x17 and 4 + size <= GATHER_LIMIT and \
                (self.decision.flags & TRAIT_SLOW or not self.fast_lane or
                 self.decision.flags & TRAIT_CONTEXT and not self.answers(self.decision.flags)):
            return self.to_driver(p, have, size)
        return self.dispatch(p, have)

    cdef Decision decision_of(self, ClientStatement statement):
        """Made for the account and schema of now, not of when it was prepared."""
        if statement.salt != self.salt:
            statement.decision = self.driver.decide_again(self, statement.statement)
            statement.salt = self.salt
        if statement.decision is None:
            raise TypeError("a statement without a decision")
        return statement.decision

    cdef Py_ssize_t close_statement(self, unsigned char* p, Py_ssize_t have) except -2:
        """The backend's stays prepared for whoever comes next, unless something is open in it."""
        cdef ClientStatement statement = None
        cdef BackendStatement entry
        cdef uint32_t number
        cdef Py_ssize_t size = load3(p)
        if not 5 <= size <= WHOLE_LIMIT - 4:
            self.driver.client_fault(
                self,
                "statement command is cut short" if size < 5 else "COM_STMT_CLOSE is too long")
            return 0
        if have < 4 + size:
            return -1
        number = statement_id(p + 4)
        if self.statements is not None:
            statement = self.statements.find(number)
        self.command = p[4]
        self.commands += 1
        if statement is not None:
            self.statements.remove(statement.client_id)
            if statement.cursor_open or statement.long_data:
                entry = self.held.statements.find(statement) if self.held is not None else None
                if entry is not None:
                    self.held.statements.remove(entry)
                    self.held.send(CLOSE_STATEMENT + int(entry.backend_id).to_bytes(4, "little"))
                self.forget_cursor(statement)
                self.forget_long_data(statement)
                self.settle()
        return 4 + size

    cdef Py_ssize_t reset_statement(self, unsigned char* p, Py_ssize_t have) except -2:
        cdef ClientStatement statement = None
        if load3(p) == 5 and have >= 9 and self.statements is not None:
            statement = self.statements.find(statement_id(p + 4))
        if have < 9 and load3(p) == 5:
            return -1
        if statement is None:
            return self.to_driver(p, have, load3(p))
        if statement.cursor_open or statement.long_data or \
                self.pins & PIN_WARNINGS and not self.keeps_warnings:
            self.statement = statement
            self.decision = self.decision_of(statement)
            return self.dispatch(p, have)       # it is held by what is open: the backend resets
        self.command = p[4]
        self.commands += 1
        self.nothing_done()
        return 9

    cdef int nothing_done(self) except -1:
        """OK to a command that no backend has seen: ROW_COUNT() is 0, whatever one would say."""
        self.row_count = 0
        self.restated = True
        return self.tell([self.ok()], 1)

    cdef Py_ssize_t to_driver(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2:
        """Show a whole command to the driver."""
        cdef object payload
        if have < 4 + size or size == FRAME_MAX:
            if self.decision is not None:
                self.decision = None
                self.statement = None
            return self.gather(p, have, size)
        payload = p[4:4 + size]
        self.to_slow(p[4] if size else 0)
        self.driver.statement(self, payload, self.decision)
        return 4 + size

    cdef Py_ssize_t gather(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2:
        """A command that is not here as a whole: wait for it, collect it, or judge its head."""
        cdef Py_ssize_t skip = 0
        if 4 + size <= WHOLE_LIMIT:
            return -1
        if <uint64_t>size > self.max_packet:
            self.driver.client_fault(
                self, f"packet of {size} bytes or more, limit is {self.max_packet}", "oversized")
            return 0
        if 4 + size <= GATHER_LIMIT or p[4] == 0x16 and size < FRAME_MAX:
            self.gathered = bytearray()
            self.missing = 4 + size
            self.session_state = SESSION_GATHER
            return self.collect(p, have)
        if have < WHOLE_LIMIT:
            return -1
        if p[4] != 0x03:
            # Unread it could name anybody's statement, or change the connection unseen.
            self.refusal = self.driver.too_long(self, p[4])
            self.refuse_command(p, have)
            self.refusal = None
            return 0
        # Too long to hold: its head decides, and what its tail may do to the session is unknown.
        if self.query_attributes and p[5] == 0 and p[6] == 1:
            skip = 2
        self.decision = self.driver.decide_long(self, p[5 + skip:WHOLE_LIMIT])
        return self.dispatch(p, have)

    cdef Py_ssize_t collect(self, unsigned char* p, Py_ssize_t have) except -2:
        cdef Py_ssize_t taken = min(have, self.missing)
        cdef bytearray whole
        self.gathered += p[:taken]
        self.missing -= taken
        if self.missing == 0:
            whole = self.gathered
            self.gathered = None
            self.to_slow(whole[4])
            self.driver.statement(self, bytes(whole[4:]), None)
        return taken

    cdef Py_ssize_t refuse_command(self, unsigned char* p, Py_ssize_t have) except -2:
        """Answer it without running it; what is still to come of it is thrown away.

        One that has no answer is thrown away, too: the next to have one is told.
        """
        cdef bytes packet = self.refusal
        self.decision = None
        self.statement = None
        self.open_command(p, have)
        if self.session_state != SESSION_COMMAND:
            return 0
        if self.reply_kind != REPLY_NONE:
            self.refusal = None
            self.tell([packet], 1)
        self.answered = True
        self.discarding = True
        return 0

    # -- finding a connection ------------------------------------------------------

    cdef Py_ssize_t dispatch(self, unsigned char* p, Py_ssize_t have) except -2:
        """`decision` is made: get a connection and let the frames of the command go there."""
        cdef Py_ssize_t size = load3(p), rest
        cdef bint context = (self.decision.flags & TRAIT_CONTEXT) != 0
        if not context and self.pins & (PIN_WARNINGS | PIN_FOUND_ROWS):
            self.pins &= ~PIN_FOUND_ROWS        # nobody can ask for them any more
            if not self.keeps(self.decision.flags):
                self.pins &= ~PIN_WARNINGS
            if self.held is not None and self.pins | PIN_WARNINGS == PIN_WARNINGS and \
                    not self.status & STATUS_IN_TRANSACTION and \
                    not self.watch_next and not self.insert_id_open and \
                    self.held.bucket.group is not self.target(self.decision):
                if self.pins:
                    self.session_state = SESSION_SLOW
                    self.client.deadline = 0
                    self.driver.move_on(self)
                    return -1
                self.let_go()
        if self.held is not None and self.held.endpoint.fd < 0:
            # It was lost while the driver had the session.
            if self.pins or self.status & STATUS_IN_TRANSACTION:
                self.session_state = SESSION_SLOW
                self.driver.lost_meanwhile(self)
                return -1
            self.give_up()
        if self.held is None and not self.acquire():
            return -1
        if self.decision.flags & TRAIT_LAST_ID and self.held.insert_owner != self.serial:
            self.session_state = SESSION_SLOW
            self.client.deadline = 0
            self.driver.align(self, self.held)
            return -1
        if self.copy is None and 4 + size <= COPY_LIMIT and have >= 4 + size and \
                self.pins == 0 and not self.status & STATUS_IN_TRANSACTION:
            self.copy = p[:4 + size]
        if self.statement is not None:
            rest = self.bind_statement(p, have)
            if rest:
                return rest if rest > 0 else -1
        self.open_command(p, have)
        self.sending()
        return 0

    cdef bint keeps(self, uint32_t flags) noexcept:
        """Whether the server keeps the warnings of before over such a statement."""
        return self.keeps_warnings and flags & TRAIT_NO_TABLE

    cdef int sending(self) except -1:
        """The command goes out: what the scanner does not begin with by itself, and the clock."""
        self.scanner.warnings = 0
        self.scanner.status = <uint16_t>self.status
        self.watched |= self.watch_next
        self.attempts += 1
        self.begun = nanoseconds()
        self.bytes_before = self.client.bytes_out
        return 0

    cdef Py_ssize_t bind_statement(self, unsigned char* p, Py_ssize_t have) except -2:
        """Name the statement as the backend does; 0: go on, -1: not yet, n: sent otherwise."""
        cdef ClientStatement statement = self.statement
        cdef BackendStatement entry
        cdef ExecuteLayout layout
        cdef Py_ssize_t size = load3(p)
        cdef bint executes = p[4] == 0x17 or p[4] == 0xFA
        cdef int found
        cdef bytes other
        if executes:
            found = read_execute(statement, p + 4, min(have - 4, size), size,
                                 self.query_attributes, &layout)
            if found == EXECUTE_MORE and have < WHOLE_LIMIT:
                return -1
            if found != EXECUTE_READ:
                self.session_state = SESSION_SLOW
                self.driver.unreadable_execute(self, found)
                return -1
        entry = self.held.statements.find(statement)
        if entry is None:
            self.session_state = SESSION_SLOW
            self.client.deadline = 0
            self.driver.prepare_on(self, self.held, statement)
            return -1
        if executes and bind(
            self.held.statements, statement, entry, p + 4, &layout
        ) != BIND_AS_IS:
            if have < 4 + size:
                return self.send_typed(p, have, entry, &layout)
            other = typed(statement, entry, p + 4, size, &layout)
            self.pending = framed(other)
            patch_id(<unsigned char*><char*>self.pending + 4, entry.backend_id)
            self.send_pending()
            return 4 + size
        patch_id(p + 4, entry.backend_id)
        if p[4] == 0x18:
            if not statement.long_data:
                statement.long_data = True
                self.long_data += 1
                self.pins |= PIN_LONG_DATA
                entry.held = True
        return 0

    cdef Py_ssize_t send_typed(
        self, unsigned char* p, Py_ssize_t have, BackendStatement entry, ExecuteLayout* layout
    ) except -2:
        """The types go into a packet that is too long to be here as a whole: its head is sent."""
        cdef Py_ssize_t size = load3(p), grown
        cdef bytearray head
        cdef bint complete
        head = bytearray(4) + typed(self.statement, entry, p + 4, have - 4, layout)
        grown = size + len(head) - have
        if grown >= FRAME_MAX:          # all its frames would have to be cut anew
            entry.forget_types()
            self.session_state = SESSION_SLOW
            self.driver.unreadable_execute(self, EXECUTE_MORE)
            return -1
        head[0] = grown & 0xFF
        head[1] = grown >> 8 & 0xFF
        head[2] = grown >> 16
        patch_id(<unsigned char*><char*>head + 4, entry.backend_id)
        self.open_command(p, have)
        self.sending()
        self.framer.feed(p, have, &complete)
        self.backend.write(<unsigned char*><char*>head, len(head))
        return have

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

    cdef bint acquire(self) except -1:
        """Get hold of a connection; False: WAITING for one, or the driver aligns one."""
        cdef uint32_t flags = self.decision.flags
        cdef BackendConnection found = self.last
        cdef Group group
        if flags & (TRAIT_CONTEXT | TRAIT_LAST_ID) and self.held is None and \
                self.keeps_context():
            found.bucket.take(found)
            self.attach(found)
            return True
        group = self.target(self.decision)
        found = group.take(self.settings)
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
        self.held = connection
        connection.holder = self
        self.backend = connection.endpoint
        connection.endpoint.owner = self
        if connection.bucket.group.sticky:
            self.pins |= PIN_SESSION_MODE
        return 0

    cdef BackendConnection detach(self):
        cdef BackendConnection connection = self.held
        self.held = None
        self.backend = None
        if connection is not None:
            connection.holder = None
            connection.endpoint.owner = connection
        self.pins &= ~<uint32_t>PIN_SESSION_MODE
        self.doubtful = False
        self.pinned_since = 0.0
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
        return connection.bucket.group.release(connection)

    cdef int go(self) except -1:
        """Send the command that waits: the driver's, or the one in the client's inbox."""
        self.session_state = SESSION_IDLE
        if self.pending is None:
            return self.client.redeliver()
        if self.dispatch(<unsigned char*><char*>self.pending, len(self.pending)) == 0:
            self.send_pending()
        return 0

    cdef int send_pending(self) except -1:
        cdef bytes frame = self.pending
        cdef bint complete
        self.pending = None
        if self.session_state == SESSION_CLOSED:
            return 0
        if self.session_state != SESSION_COMMAND:       # rewritten while it was bound
            self.open_command(<unsigned char*><char*>frame, len(frame))
            self.sending()
        self.framer.feed(<unsigned char*><char*>frame, len(frame), &complete)
        self.backend.write(<unsigned char*><char*>frame, len(frame))
        return self.command_sent()

    # -- the answer ------------------------------------------------------------------

    cdef bint owns_surplus(self) except -1:
        self.held.retired = True        # whatever it is, nobody shall take it for an answer
        return False

    cdef Py_ssize_t unasked(self, const unsigned char* data, Py_ssize_t length) except -1:
        """It is ours although no statement runs, and ends: the session goes on without it."""
        self.driver.backend_lost(self, 0)
        return length

    cdef Py_ssize_t inspect(self, unsigned char* frame, Py_ssize_t size) except -2:
        if frame == NULL:
            if self.scanner.stopped != STOP_ERROR:
                self.driver.unseen(self)
            return size
        if self.scanner.stopped == STOP_ERROR:
            return self.refused_by_backend(frame, size)
        return self.state_changed(frame, size)

    cdef Py_ssize_t state_changed(self, unsigned char* frame, Py_ssize_t size) except -2:
        """An OK with session state: learn from it, and leave what the client asked for."""
        cdef unsigned char* p = frame + 4
        cdef Py_ssize_t length = size - 4, pos = 1, at, end, info, kept, state
        cdef unsigned long long number
        cdef bint plain = not self.watched
        cdef int next_transaction = -1
        cdef bytes shown
        if size <= EOF_FRAME:
            if not self.shows_in_eof:
                p[4] &= ~(STATUS_STATE_CHANGED >> 8)
            return size
        for _ in range(2):
            at = read_lenenc(p + pos, length - pos, &number)
            if at <= 0:
                return size
            pos += at
        info = pos + 4
        at = read_lenenc(p + info, length - info, &number) if info < length else 0
        if at <= 0 or number > <unsigned long long>(length - info - at):
            return size
        kept = info + at + <Py_ssize_t>number if number else info
        pos = state = info + at + <Py_ssize_t>number
        at = read_lenenc(p + pos, length - pos, &number) if pos < length else 0
        if at <= 0 or number > <unsigned long long>(length - pos - at):
            return size
        pos += at
        end = pos + <Py_ssize_t>number
        while pos < end and plain:
            if not TRACK_GTIDS <= p[pos] <= TRACK_STATE:
                plain = False
                break
            at = read_lenenc(p + pos + 1, end - pos - 1, &number)
            if at <= 0 or number > <unsigned long long>(end - pos - 1 - at):
                return size
            if p[pos] == TRACK_CHARACTERISTICS:
                # "SET TRANSACTION ...;" that no START TRANSACTION has used up yet
                next_transaction = number > 1 and not load2(p + info - 4) & STATUS_IN_TRANSACTION
            pos += 1 + at + <Py_ssize_t>number
        if plain and not self.shows_state:
            if next_transaction >= 0:
                self.pins &= ~PIN_NEXT_TRANSACTION
                if next_transaction:
                    self.pins |= PIN_NEXT_TRANSACTION
            at = 0
            if self.shows_transactions:
                at = self.keep_transactions(p + state, length - state, load2(p + info - 4))
            if at:
                kept = state + at
            else:
                p[info - 3] &= ~(STATUS_STATE_CHANGED >> 8)
            frame[0] = kept & 0xFF
            frame[1] = kept >> 8 & 0xFF
            frame[2] = kept >> 16
            return 4 + kept
        shown = self.driver.tracked(self, p[:length])
        if self.session_state == SESSION_CLOSED:
            return -1
        kept = len(shown)
        if kept > length:
            raise ValueError("what is shown of session state is longer than what came")
        memcpy(p, <const char*>shown, kept)
        frame[0] = kept & 0xFF
        frame[1] = kept >> 8 & 0xFF
        frame[2] = kept >> 16
        return 4 + kept

    cdef Py_ssize_t keep_transactions(
        self, unsigned char* p, Py_ssize_t length, uint32_t status
    ) noexcept:
        """Of session state at `p` keep what a client is told that asked for nothing; bytes left.

        MySQL tells those that take session state when a transaction begins by a statement and
        when that ends, and sets the flag with nothing behind it where one follows another.
        """
        cdef unsigned long long number = 0
        cdef Py_ssize_t pos = read_lenenc(p, length, &number), end, at, entry
        cdef const unsigned char* letters = NULL
        cdef bint again = False
        end = pos + <Py_ssize_t>number
        while pos < end:
            at = read_lenenc(p + pos + 1, end - pos - 1, &number)
            entry = 1 + at + <Py_ssize_t>number
            if p[pos] == TRACK_STATE and entry == STATE_ENTRY:
                letters = p + pos + 3
            elif p[pos] == TRACK_CHARACTERISTICS:
                again = number > 1      # its text is START TRANSACTION
            pos += entry
        at = self.tell_begun(letters, again, status)
        if at == 0 or at > length:
            return 0
        p[0] = 0
        if at > 1:
            memcpy(p, BEGUN[<int>self.told_begin], at)
        return at

    cdef Py_ssize_t tell_begun(
        self, const unsigned char* letters, bint again, uint32_t status
    ) noexcept:
        """What is open now; bytes of session state that tell of it, 0 for none."""
        cdef unsigned char before = self.told_begin
        if letters == NULL:
            if not status & STATUS_IN_TRANSACTION:
                self.told_begin = 0     # too late to tell: this answer has no room for it
                return 0
        elif letters[0] != c"T":
            self.told_begin = 0
        elif before == 0 or \
                self.decision.flags & (TRAIT_BEGINS | TRAIT_MULTI) == TRAIT_BEGINS:
            # WITH CONSISTENT SNAPSHOT has read already
            self.told_begin = 2 if self.decision.flags & TRAIT_BEGINS and letters[2] == c"R" else 1
        if self.told_begin != before:
            return 1 + STATE_ENTRY
        return 1 if again and before else 0

    def transaction_view(self, state, bint again, uint32_t status):
        """The same for the driver: the entry, b"" for the flag alone, None for nothing."""
        cdef const unsigned char* letters = NULL
        cdef Py_ssize_t size
        if state is not None and len(state) == 8:
            letters = <const unsigned char*><const char*>state
        size = self.tell_begun(letters, again, status)
        if size <= 1:
            return b"" if size else None
        return BEGUN[<int>self.told_begin][1:size]

    cdef Py_ssize_t refused_by_backend(self, unsigned char* frame, Py_ssize_t size) except -2:
        """An ERR as the whole answer: the client's, or about our connection rather than it."""
        cdef uint32_t number = load2(frame + 5)
        cdef bint farewell = frame[3] == 0 or number == SERVER_SHUTDOWN or \
            number == CONNECTION_KILLED or number == IDLE_KICKED
        if farewell:
            self.held.retired = True
        if self.copy is None or self.session_state != SESSION_RESPONSE:
            return size
        if farewell:
            # Number 0: it was said before the command was read, which therefore did not run.
            if frame[3] != 0 and not self.decision.flags & (TRAIT_READ | TRAIT_SAFE_REPEAT):
                return size
            if not self.driver.may_repeat(self, number):
                return size
            self.give_up()
            self.send_again()
            return -1
        if self.statement is not None and self.attempts < 3 and \
                (number == NEED_REPREPARE or number == UNKNOWN_STATEMENT):
            self.driver.forget_statement(self, self.held, self.statement)
            self.send_again()
            return -1
        return size

    cdef int send_again(self) except -1:
        """The command under way goes out once more, as the client sent it."""
        self.pending = self.copy
        self.copy = None
        self.commands -= 1
        self.scanner.begin(REPLY_NONE)
        if self.held is not None:
            return self.go()
        self.session_state = SESSION_IDLE
        return self.go()

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
        cdef uint32_t flags = decision.flags
        cdef uint64_t now
        cdef bint errored = self.scanner.errored, had_cursor, was_open
        self.answered = False
        self.copy = None
        self.answered_decision = decision
        self.decision = None
        self.statement = None
        self.attempts = 0
        if self.reply_kind == REPLY_NONE:
            self.watched = False
            self.session_state = SESSION_IDLE
            return self.settle()
        now = nanoseconds()
        decision.counters.record(
            now - self.begun, self.scanner.rows,
            self.scanner.affected if self.scanner.affected > 0 else 0,
            self.framer.total, self.client.bytes_out - self.bytes_before, errored,
            self.client.reactor.now)
        self.held.uses += 1
        self.last_uses = self.held.uses
        if flags & TRAIT_WRITE:
            self.wrote = True           # an error may come after some of it was done
        if self.wrote:
            # Readers see nothing of a transaction before its end, so the time begins there.
            self.wrote_at = self.client.reactor.now
        self.status = self.scanner.status       # an ERR leaves what the OKs before it have told
        if errored:
            if not self.status & STATUS_AUTOCOMMIT or \
                    self.status & STATUS_IN_TRANSACTION and flags & TRAIT_ENDS:
                self.hold_until_answered()
        else:
            if self.doubtful:
                self.doubtful = False
                self.pins &= ~PIN_TRANSACTION
            if flags & (TRAIT_BEGINS | TRAIT_ENDS):
                self.pins &= ~PIN_TRANSACTION
            elif flags & TRAIT_SAVEPOINT and not self.status & STATUS_AUTOCOMMIT:
                self.pins |= PIN_TRANSACTION    # before the first table nothing else tells of it
        if not self.status & STATUS_IN_TRANSACTION:
            self.wrote = False
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
        self.row_count = -1 if errored else self.scanner.affected
        if flags & FOUND_OTHERWISE:
            if flags & FOUND_ONE and not errored:
                self.found_rows = 1
                self.held.rows_of = self.serial
            elif flags & FOUND_AFFECTED and self.scanner.affected >= 0:
                self.found_rows = self.scanner.affected
                self.held.rows_of = self.serial
        elif self.scanner.rowset:
            self.found_rows = self.scanner.rows_last
            self.held.rows_of = self.serial
        elif flags & FOUND_THERE and not errored:
            self.held.rows_of = self.serial
        if errored or self.scanner.warnings:
            self.held.warned_by = self.serial
            # In MariaDB what asks about warnings counts those that were there before.
            if errored or not flags & TRAIT_CONTEXT or not self.keeps_warnings:
                self.pins |= PIN_WARNINGS
        elif (self.command == 0x03 or self.command == 0x17) and \
                not flags & TRAIT_CONTEXT and not self.keeps(flags):
            self.held.warned_by = 0             # nobody's are left there
        if not flags & TRAIT_CONTEXT:
            self.restated = False
            if errored or self.scanner.warnings or not self.keeps(flags):
                self.context_serial += 1
            if flags & TRAIT_CALC_ROWS and not errored:
                self.pins |= PIN_FOUND_ROWS
        if statement is not None:
            if errored:
                self.forget_types(statement)
            had_cursor = statement.cursor_open
            was_open = had_cursor or statement.long_data
            if self.command == 0x17 or self.command == 0xFA or self.command == 0x1A:
                self.forget_cursor(statement)
                if not errored:         # MariaDB remembers bad data until it is reset
                    self.forget_long_data(statement)
            if self.command == 0x17 and not errored and self.status & STATUS_CURSOR_EXISTS:
                statement.cursor_open = True
                self.cursors += 1
                self.pins |= PIN_OPEN_CURSOR
            elif self.command == 0x1C and (errored or self.status & STATUS_LAST_ROW_SENT):
                self.forget_cursor(statement)
            if had_cursor and not statement.cursor_open and statement.statement.sticky:
                self.dispose(statement)
            elif was_open or statement.cursor_open:
                self.keep_prepared(statement)
        if (self.pins or self.status & STATUS_IN_TRANSACTION) and self.pinned_since == 0:
            self.pinned_since = self.client.reactor.now
            self.pinned_by = decision.text
        if self.watched:
            self.watched = False
            self.session_state = SESSION_SLOW
            self.driver.finished(self)
            return 0
        self.session_state = SESSION_IDLE
        return self.settle()

    def hold_until_answered(self):
        """Keep the connection, as if in a transaction, until an answer tells that there is none.

        An ERR does not tell whether one was begun before it; and a command may mean something
        on its connection only."""
        if not self.pins & PIN_TRANSACTION:
            self.pins |= PIN_TRANSACTION
            self.doubtful = True

    cdef int settle(self) except -1:
        """Give the connection back unless something holds it."""
        if self.held is None or self.pins or self.status & STATUS_IN_TRANSACTION:
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

    cdef int keep_prepared(self, ClientStatement statement) except -1:
        """What is open in a statement on its connection is not to be evicted under it."""
        cdef BackendStatement entry = self.held.statements.find(statement)
        if entry is not None:
            entry.held = statement.cursor_open or statement.long_data
        return 0

    cdef int dispose(self, ClientStatement statement) except -1:
        """MySQL's statement had a cursor: executed without one, it would answer without rows."""
        cdef BackendStatement entry = self.held.statements.find(statement)
        if entry is not None:
            self.held.statements.remove(entry)
            self.held.send(CLOSE_STATEMENT + int(entry.backend_id).to_bytes(4, "little"))
        return 0

    cdef int forget_types(self, ClientStatement statement) except -1:
        """After an ERR nobody knows which types the server has taken over."""
        cdef BackendStatement entry = self.held.statements.find(statement)
        if entry is not None:
            entry.forget_types()
        return 0

    cdef int forget_cursor(self, ClientStatement statement) noexcept:
        if statement.cursor_open:
            statement.cursor_open = False
            self.cursors -= 1
            if self.cursors == 0:
                self.pins &= ~PIN_OPEN_CURSOR
        return 0

    cdef int forget_long_data(self, ClientStatement statement) noexcept:
        if statement.long_data:
            statement.long_data = False
            self.long_data -= 1
            if self.long_data == 0:
                self.pins &= ~PIN_LONG_DATA
        return 0

    cdef int leave_backend(self, SessionState before) except -1:
        if self.queue is not None:
            self.queue.withdraw(self)
        cdef BackendConnection connection = self.detach()
        self.last = None
        self.decision = None
        self.pending = self.copy = None
        self.gathered = None
        if connection is not None:
            self.driver.left(self, connection, before == SESSION_IDLE)
        return 0

    cdef bytes ok(self):
        cdef uint32_t status = self.status & STATUS_LASTING
        return bytes((0, 0, 0, status & 0xFF, status >> 8, 0, 0))

    # -- for the driver ----------------------------------------------------------------

    def start(self):
        self.session_state = SESSION_IDLE
        self.client.owner = self
        if self.idle_timeout:
            self.client.deadline = self.client.reactor.now + self.idle_timeout
        self.client.redeliver()

    def set_salt(self, salt):
        self.salt = salt

    def submit(self, bytes payload not None, Decision decision not None,
               ClientStatement statement=None, bint watched=True):
        """Run a command the driver was shown, or another in its place."""
        if self.session_state != SESSION_SLOW:
            raise ValueError(f"cannot submit in state {self.state}")
        self.pending = framed(payload)
        self.commands -= 1              # counted when it was shown to the driver
        self.decision = decision
        self.statement = statement
        self.watched = watched
        self.go()

    def aligned(self):
        """What the command waits for is done, or its connection was given up: it may go on."""
        if self.session_state == SESSION_SLOW:
            if self.held is not None:
                self.held.endpoint.owner = self
            self.go()

    def settled(self):
        """The driver is done with a statement that was answered."""
        if self.back_from_driver():
            self.next_command()

    cdef bint back_from_driver(self) except -1:
        """Idle again, and without the connection if nothing holds it; False: it was not away."""
        if self.session_state != SESSION_SLOW:
            return False
        if self.held is not None:
            self.held.endpoint.owner = self
        self.session_state = SESSION_IDLE
        self.settle()
        return True

    def reply(self, list payloads not None):
        """Answer the command the driver holds."""
        if self.session_state != SESSION_SLOW:
            raise ValueError(f"cannot reply in state {self.state}")
        self.tell(payloads, 1)
        self.decision = None
        self.statement = None
        self.session_state = SESSION_IDLE
        self.settle()
        self.next_command()

    cdef int next_command(self) except -1:
        if self.session_state == SESSION_IDLE:
            if self.idle_timeout:
                self.client.deadline = self.client.reactor.now + self.idle_timeout
            # Inside client_data the loop goes on by itself and the inbox is empty.
            if self.client.inbox_length:
                return self.client.redeliver()
        return 0

    def refuse(self, bytes packet not None):
        """Answer the command that waits without running it."""
        if self.session_state == SESSION_CLOSED:
            return
        if self.queue is not None:
            self.queue.withdraw(self)
        self.watched = False
        self.attempts = 0
        self.copy = None
        self.client.deadline = 0
        if self.pending is not None:
            self.pending = None
            self.session_state = SESSION_SLOW
            self.reply([packet])
            return
        self.refusal = packet
        self.session_state = SESSION_IDLE
        self.settle()
        if self.session_state == SESSION_IDLE:
            self.client.redeliver()

    def refuse_next(self, bytes packet not None):
        """Answer the next command, whatever it is, with `packet`."""
        self.refusal = packet

    def part(self):
        """Take the connection away, with all that it holds of the session; None if it has none."""
        connection = self.detach()
        if self.wrote:
            self.wrote = False
            self.wrote_at = self.client.reactor.now     # it may have been committed
        self.pins = 0
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

    def again(self):
        """Send the command under way once more, elsewhere."""
        self.give_up()
        self.send_again()

    @property
    def repeatable(self):
        """Whether the command under way may be sent again: nothing of an answer has come."""
        return self.copy is not None and self.decision is not None and \
            self.session_state == SESSION_RESPONSE and \
            (self.decision.flags & (TRAIT_READ | TRAIT_SAFE_REPEAT)) != 0 and \
            self.scanner.fresh and self.scanner.head_length == 0

    def break_off(self, bytes packet not None):
        """The answer under way ends with `packet` instead. False: that is not possible."""
        cdef bint possible = self.session_state == SESSION_RESPONSE and \
            self.scanner.at_boundary()
        if not possible:
            return False
        self.tell([packet], self.scanner.sequence)
        self.give_up()
        self.copy = None
        self.decision = None
        self.statement = None
        self.watched = False
        self.attempts = 0
        self.session_state = SESSION_IDLE
        self.next_command()
        return True

    def pin(self, mask, bits):
        """Replace the pins under `mask`."""
        self.pins = (self.pins & ~<uint32_t>mask) | <uint32_t>bits
        if self.pins and self.pinned_since == 0:
            self.pinned_since = self.client.reactor.now

    def prepare_statements(self):
        """The table of prepared statements, made at the first one."""
        if self.statements is None:
            self.statements = ClientStatements()
        return self.statements

    def yieldable(self, uint32_t pending=0):
        """Whether nothing holds the connection but what the last statement left behind, and
        `pending` pins, which may end when that is given up."""
        pending |= PIN_WARNINGS | PIN_FOUND_ROWS
        return self.session_state == SESSION_IDLE and self.held is not None and \
            self.pins & (PIN_WARNINGS | PIN_FOUND_ROWS) != 0 and (self.pins & ~pending) == 0 and \
            not self.status & STATUS_IN_TRANSACTION and self.client.inbox_length == 0

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

    def begin_yield(self):
        """The driver asks what is left behind; `settled` gives the connection back."""
        self.session_state = SESSION_SLOW

    def end_yield(self, uint64_t found_rows):
        """It is known now."""
        if self.pins & PIN_FOUND_ROWS:
            self.found_rows = found_rows
        self.pins &= ~<uint32_t>(PIN_WARNINGS | PIN_FOUND_ROWS)
        self.last = None

    def moved(self):
        """What the last statement left behind is known: the one that waits goes on elsewhere."""
        if self.back_from_driver() and self.session_state == SESSION_IDLE:
            self.go()

    def hold(self, BackendConnection connection not None):
        """The session runs on `connection`, which was nobody's."""
        self.attach(connection)

    def concluded(self, bint warnings, uint32_t flags=0):
        """A command that the driver answered left `warnings` on the connection in hand, or none."""
        self.last = None
        if not warnings and self.keeps(flags):
            return
        self.context_serial += 1
        self.pins &= ~<uint32_t>PIN_WARNINGS
        if warnings and self.held is not None:
            self.pins |= PIN_WARNINGS

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
    def context_kept(self):
        """Whether the connection of the statement before is still as that left it."""
        return self.answers(self.decision.flags if self.decision is not None else 0)

    @property
    def needs_insert_id(self):
        """Whether the statement that waits asks for a LAST_INSERT_ID() its connection lacks."""
        return self.decision is not None and self.held is not None and \
            (self.decision.flags & TRAIT_LAST_ID) != 0 and \
            self.held.insert_owner != self.serial

    def converse(self, Py_ssize_t limit):
        """A channel to the client, for an exchange of packets; `start` ends it."""
        client = Channel(self.client, "client", limit)
        client.seq = 1                  # the command that brought us here was packet 0
        return client

    @property
    def in_transaction(self):
        return (self.status & STATUS_IN_TRANSACTION) != 0

    @property
    def autocommit(self):
        return (self.status & STATUS_AUTOCOMMIT) != 0

    @property
    def waits_for(self):
        return self.queue
