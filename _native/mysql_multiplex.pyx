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

Five rooms, each a class on top of the one before:

    mysql_leasing     how it comes by a connection and is rid of it
    mysql_tracked     session state in an OK
    mysql_outcome     what an answer leaves, and which answer is not the client's
    mysql_prepared    commands that name a statement
    here              taking a command, sending it, what the driver may do

Who has the command meanwhile: the client's inbox while the session is WAITING (or the driver
aligns a connection for it), `pending` when the driver submitted it.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr

from hproxy._native.cursor cimport load3
from hproxy._native.decision cimport (
    RULED_BY_CHANCE,
    RULED_BY_TEXT,
    TRAIT_BEGINS,
    TRAIT_BLOCKED,
    TRAIT_CONTEXT,
    TRAIT_ENDS,
    TRAIT_LAST_ID,
    TRAIT_LOGGED,
    TRAIT_READ,
    TRAIT_SAFE_REPEAT,
    TRAIT_SLOW,
    Decision,
    DecisionCache,
)
from hproxy._native.digest cimport Digester
from hproxy._native.endpoint cimport Endpoint
from hproxy._native.mysql cimport FRAME_MAX, REPLY_NONE, CommandFramer, ResponseScanner
from hproxy._native.mysql_leasing cimport (
    PIN_NO_MULTIPLEX,
    PIN_FOUND_ROWS,
    PIN_WARNINGS,
    STATUS_AUTOCOMMIT,
    STATUS_IN_TRANSACTION,
)
from hproxy._native.mysql_prepared cimport GATHER_LIMIT, WHOLE_LIMIT, Prepared, framed
from hproxy._native.mysql_session cimport (
    SESSION_CLOSED,
    SESSION_COMMAND,
    SESSION_GATHER,
    SESSION_IDLE,
    SESSION_RESPONSE,
    SESSION_SLOW,
    SessionState,
)
from hproxy._native.pool cimport BackendConnection
from hproxy._native.statements cimport ClientStatement

from hproxy._native.channel import Channel

cdef enum Kind:                     # how a command is taken
    BY_QUERY
    BY_EXECUTE                      # and all others that name a statement
    BY_CLOSE
    BY_RESET
    BY_DRIVER                       # the driver answers it, or submits it
    BY_PING
    BY_QUIT

cdef enum:
    TEXT_LIMIT = 4096               # bytes of a text whose own decision is remembered
    HINT_LIMIT = 1024               # of a comment that may say something

cdef uint64_t HINTED = 0xA0761D6478BD642F
cdef tuple HINTS = (                # routing/rules/comment.py reads them
    b"hostgroup", b"cache_ttl", b"query_delay", b"query_retries", b"query_timeout", b"mirror",
    b"max_lag_ms", b"min_epoch_ms", b"min_gtid", b"create_new_connection")
cdef unsigned char KINDS[256]
cdef uint64_t serials = 0


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


cdef bint hinted(const unsigned char* p, Py_ssize_t length) except -1:
    """Whether the inside of a comment asks for something: `hostgroup=1; cache_ttl=500`."""
    cdef const unsigned char* end = p + length
    cdef const unsigned char* start
    cdef const unsigned char* stop
    if length > HINT_LIMIT or memchr(p, c"=", <size_t>length) == NULL:
        return False
    while p < end:
        start = p
        while p < end and p[0] != c";":
            p += 1
        stop = <const unsigned char*>memchr(start, c"=", <size_t>(p - start))
        if stop != NULL:
            while start < stop and start[0] <= c" ":
                start += 1
            while start < stop and (stop - 1)[0] <= c" ":
                stop -= 1
            if start[:stop - start].lower() in HINTS:
                return True
        p += 1
    return False


@cython.final
cdef class Multiplexed(Prepared):

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
        other.salt = other.base_salt = self.base_salt
        other.roams = self.roams
        other.modes = self.modes
        other.exact_insert_ids = self.exact_insert_ids
        other.hold_seconds = self.hold_seconds
        other.wait_limit = self.wait_limit
        other.keeps_warnings = self.keeps_warnings
        other.shows_state = self.shows_state
        other.shows_transactions = self.shows_transactions
        other.shows_in_eof = self.shows_in_eof
        other.pins = self.pins
        other.watch = self.watch
        return other

    # -- taking a command --------------------------------------------------------

    cdef Py_ssize_t begin(self, unsigned char* p, Py_ssize_t have) except -2:
        cdef Py_ssize_t taken
        if self.leaving and self.decision is None and self.aside is None and \
                (self.held is None or self.light() or self.portable()) and \
                self.client.frames is None and \
                not (load3(p) and p[4] == 0x01):
            self.driver.departs(self)
            return -1                   # it is taken where the session goes
        taken = self.look(p, have)
        if taken == -1 and self.refusal is not None and self.session_state == SESSION_IDLE:
            return self.refuse_command(p, have)     # the driver refused it at once
        return taken

    cdef bint light(self) noexcept:
        """Whether nothing binds it to the connection in hand but what can be read from there."""
        return self.pins != 0 and self.pins & ~<uint32_t>(PIN_WARNINGS | PIN_FOUND_ROWS) == 0 and \
            not self.status & STATUS_IN_TRANSACTION

    cdef bint portable(self) noexcept:
        """Whether the connection in hand can go with it, as far as can be seen from here."""
        cdef Endpoint there = self.held.endpoint
        return there.fd >= 0 and there.tls is None and there.inbox_length == 0 and \
            there.queued() == 0

    cdef Py_ssize_t look(self, unsigned char* p, Py_ssize_t have) except -2:
        cdef Py_ssize_t size = load3(p)
        cdef unsigned char kind = KINDS[p[4]] if size else <unsigned char>BY_DRIVER
        if self.refusal is not None and kind != BY_QUIT and kind != BY_CLOSE:
            return self.refuse_command(p, have)
        if self.decision is not None:
            return self.dispatch(p, have)       # decided before; now there is a connection
        self.arrived = self.client.reactor.now
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
            self.seen(p[4])
            if have == 5 and self.client.tls is None and self.client.queued() == 0:
                self.client.close()     # all was said by both: no farewell to wait for
            self.hang_up("quit")
            return 0
        if kind == BY_PING and size == 1 and (self.held is None or self.asked_since()):
            self.seen(p[4])
            self.nothing_done()
            return 5
        return self.to_driver(p, have, size)

    cdef bint asked_since(self) noexcept:
        """Whether the last on the connection in hand was a question of ours, and not to be told."""
        return self.held.uses != self.last_uses and not self.pins & PIN_WARNINGS

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
        if self.digester.comment_at >= 0 and \
                hinted(text + self.digester.comment_at, self.digester.comment_size):
            low ^= <uint64_t>hash(text[self.digester.comment_at:
                                       self.digester.comment_at + self.digester.comment_size])
            high ^= HINTED
        decision = self.decisions.get(low, high)
        if decision is None:
            decision = self.driver.decide(self, text[:length])
            if decision is None:
                raise TypeError("no decision was made")
            self.decisions.put(low, high, decision)
        if decision.flags & RULED_BY_TEXT:
            decision = self.by_text(decision, text, length, low, high)
        self.note(decision)
        if decision.flags & TRAIT_SLOW or \
                decision.flags & TRAIT_CONTEXT and not self.answers(decision.flags):
            self.decision = decision
            return self.to_driver(p, have, size)
        self.decision = decision
        return self.dispatch(p, have)

    cdef Decision by_text(
        self, Decision known, const unsigned char* text, Py_ssize_t length, uint64_t low,
        uint64_t high
    ):
        """Query rules look at more than the digest, or draw lots: what they say of this text."""
        cdef bytes whole = text[:length]
        cdef DecisionCache texts = self.decisions.of_texts()
        cdef Decision decision
        if known.flags & RULED_BY_CHANCE or length > TEXT_LIMIT:
            return self.driver.decide_text(self, whole)
        low ^= <uint64_t>hash(whole)
        high += <uint64_t>length
        decision = texts.get(low, high)
        if decision is None:
            decision = self.driver.decide_text(self, whole)
            texts.put(low, high, decision)
        return decision

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
        found = self.driver.decide_long(self, p[5 + skip:WHOLE_LIMIT])
        if isinstance(found, bytes):            # its head is enough for an answer
            self.refusal = found
            self.refuse_command(p, have)
            self.refusal = None
            return 0
        self.decision = found
        self.note(self.decision)
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

    # -- sending it ----------------------------------------------------------------

    cdef Py_ssize_t dispatch(self, unsigned char* p, Py_ssize_t have) except -2:
        """`decision` is made: get a connection and let the frames of the command go there."""
        cdef Py_ssize_t size = load3(p), rest
        cdef bint context = (self.decision.flags & TRAIT_CONTEXT) != 0
        if self.decision.flags & (TRAIT_LOGGED | TRAIT_BLOCKED):
            if self.decision.flags & TRAIT_BLOCKED and self.pending is None:
                # Prepared before it was forbidden, or too long for the driver to look at.
                self.refusal = self.driver.refusal_of(self, self.decision)
                self.refuse_command(p, have)
                self.refusal = None
                return 0
            self.keep_for_log(p, have)
        if not context and self.pins & (PIN_WARNINGS | PIN_FOUND_ROWS | PIN_NO_MULTIPLEX):
            self.pins &= ~PIN_FOUND_ROWS        # nobody can ask for them any more
            if not self.keeps(self.decision.flags):
                self.pins &= ~PIN_WARNINGS
            if self.held is not None and \
                    self.pins & ~<uint32_t>(PIN_WARNINGS | PIN_NO_MULTIPLEX) == 0 and \
                    not self.status & STATUS_IN_TRANSACTION and \
                    not self.watch_next and not self.insert_id_open and \
                    self.held.bucket.group is not self.target(self.decision):
                if self.pins & PIN_WARNINGS:
                    self.session_state = SESSION_SLOW
                    self.client.deadline = 0
                    self.driver.move_on(self)
                    return -1
                self.let_go()
        if self.roams and self.held is not None and not self.watch_next:
            if self.leaves() and (self.aside is None or self.target(self.decision).key.hostgroup ==
                                  self.aside.bucket.group.key.hostgroup):
                self.set_aside()
        if self.held is not None and self.held.bucket.server.closing and self.recommits():
            self.session_state = SESSION_SLOW
            self.client.deadline = 0
            self.driver.begins_elsewhere(self)
            return -1
        if self.held is not None and self.held.endpoint.fd < 0:
            # It was lost while the driver had the session.
            if self.pins or self.status & STATUS_IN_TRANSACTION:
                self.session_state = SESSION_SLOW
                self.driver.lost_meanwhile(self)
                return -1
            self.give_up()
        if self.held is None and not self.acquire():
            return -1
        if self.roams and self.held.settings is not self.settings:
            # Changed while it was aside.
            self.session_state = SESSION_SLOW
            self.client.deadline = 0
            self.driver.align(self, self.held)
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

    cdef bint recommits(self) except -1:
        """Whether the statement begins a transaction where one is open, which commits that first,
        and nothing else binds the session to the connection in hand. What the client wants to
        hear of the end of it is heard there only."""
        return self.decision.flags & (TRAIT_BEGINS | TRAIT_ENDS) == TRAIT_BEGINS and \
            self.status & STATUS_IN_TRANSACTION and self.aside is None and not self.watch_next and \
            not self.pins & ~<uint32_t>(PIN_WARNINGS | PIN_FOUND_ROWS | PIN_NO_MULTIPLEX) and \
            not self.shows_state and not self.shows_transactions and \
            self.held.endpoint.fd >= 0

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

    cdef int send_again(self) except -1:
        """The command under way goes out once more, as the client sent it."""
        self.pending = self.copy
        self.copy = None
        self.unseen_again()
        self.scanner.begin(REPLY_NONE)
        if self.held is not None:
            return self.go()
        self.session_state = SESSION_IDLE
        return self.go()

    cdef int hold_back(self) except -1:
        """As `send_again`, but when the driver says so: `aligned`, or `refuse`."""
        self.pending = self.copy
        self.copy = None
        self.unseen_again()
        self.scanner.begin(REPLY_NONE)
        self.client.deadline = 0
        self.session_state = SESSION_SLOW
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
        self.drop_aside()
        return 0

    cdef int drop_aside(self) except -1:
        """The transaction aside ends with its session."""
        cdef BackendConnection connection = self.aside
        self.aside = None
        if connection is not None:
            self.driver.left_aside(connection)
        return 0

    # -- for the driver ------------------------------------------------------------

    def start(self):
        self.session_state = SESSION_IDLE
        self.client.owner = self
        if self.idle_timeout:
            self.client.deadline = self.client.reactor.now + self.idle_timeout
        self.client.redeliver()

    def stay(self):
        """Nobody takes it over: what waits is taken here."""
        self.leaving = False
        if self.session_state == SESSION_IDLE and self.client.inbox_length:
            self.client.redeliver()

    def set_salt(self, salt):
        self.base_salt = salt
        self.set_flag(self.flag_in)

    def forget_aside(self):
        """The session begins anew: a transaction that waits for it ends."""
        self.drop_aside()

    def begin_with_flag(self, long flag):
        """The next statement is decided with this flagIN."""
        self.set_flag(flag)

    def noted(self, Decision decision not None, bint runs=True):
        """The driver decided by itself about a statement that was received, and now `runs`."""
        if runs and self.session_state == SESSION_SLOW:
            self.decision = decision    # as if it had been found on the fast lane
        self.note(decision)

    def submit(self, bytes payload not None, Decision decision not None,
               ClientStatement statement=None, bint watched=True):
        """Run a command the driver was shown, or another in its place."""
        if self.session_state != SESSION_SLOW:
            raise ValueError(f"cannot submit in state {self.state}")
        self.pending = framed(payload)
        self.unseen_again()             # counted when it was shown to the driver
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

    def moved(self):
        """What the last statement left behind is known: the one that waits goes on elsewhere."""
        if self.back_from_driver() and self.session_state == SESSION_IDLE:
            self.go()

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
        self.captured = None
        self.decision = None
        self.statement = None
        self.session_state = SESSION_IDLE
        self.settle()
        self.next_command()

    def recall(self, bytes frames not None, uint64_t rows):
        """Answer the command the driver holds with what another was answered."""
        if self.session_state != SESSION_SLOW or self.held is not None:
            raise ValueError(f"cannot recall in state {self.state}")
        self.client.write(<const unsigned char*><char*>frames, len(frames))
        self.last = None                # no connection knows anything of this statement
        self.row_count = -1
        self.found_rows = rows
        self.restated = True
        self.context_serial += 1
        self.decision = None
        self.statement = None
        self.session_state = SESSION_IDLE
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
        self.captured = None
        self.client.deadline = 0
        if self.pending is not None:
            self.pending = None
            self.seen(self.command)     # submitted, but never sent
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

    def again(self):
        """Send the command under way once more, elsewhere."""
        self.avoided = self.held.bucket.server
        self.give_up()
        self.send_again()

    @property
    def running(self):
        cdef Py_ssize_t start = 5
        if self.session_state == SESSION_IDLE or self.session_state == SESSION_CLOSED:
            return b""
        if self.statement is not None:
            return self.statement.statement.text
        if self.copy is not None and self.copy[4] == 0x03:
            if self.query_attributes and self.copy[5:7] == b"\x00\x01":
                start = 7
            return self.copy[start:]
        return self.decision.text if self.decision is not None else b""

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

    def converse(self, Py_ssize_t limit):
        """A channel to the client, for an exchange of packets; `start` ends it."""
        client = Channel(self.client, "client", limit)
        client.seq = 1                  # the command that brought us here was packet 0
        return client
