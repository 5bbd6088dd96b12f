# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""Commands that name a prepared statement: the client's number becomes the connection's.

    COM_STMT_EXECUTE ── statement, its decision ── connection ── prepared there? bind
                                                         └ not yet: driver.prepare_on
"""

from libc.stdint cimport uint32_t, uint64_t

from hproxy._native.cursor cimport load3
from hproxy._native.decision cimport RULED_BY_CHANCE, TRAIT_CONTEXT, TRAIT_SLOW, Decision
from hproxy._native.execution cimport ExecuteLayout, patch_id, statement_id
from hproxy._native.mysql cimport FRAME_MAX
from hproxy._native.mysql_leasing cimport (
    CLOSE_STATEMENT,
    PIN_LONG_DATA,
    PIN_OPEN_CURSOR,
    PIN_WARNINGS,
)
from hproxy._native.mysql_outcome cimport Outcome
from hproxy._native.mysql_session cimport SESSION_SLOW
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

cdef enum:
    LONG_DATA_HEAD = 7
    STATUS_CURSOR_EXISTS = 0x0040
    STATUS_LAST_ROW_SENT = 0x0080


cdef bytes framed(bytes payload):
    cdef Py_ssize_t size = len(payload)
    if not 0 < size < FRAME_MAX:
        raise ValueError(f"{size} bytes do not fit one frame")
    return bytes((size & 0xFF, size >> 8 & 0xFF, size >> 16, 0)) + payload


cdef class Prepared(Outcome):

    cdef Py_ssize_t to_driver(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2:
        """Hook: show a whole command to the driver."""
        raise NotImplementedError

    cdef Py_ssize_t dispatch(self, unsigned char* p, Py_ssize_t have) except -2:
        """Hook: `decision` is made, let the command go."""
        raise NotImplementedError

    cdef int send_pending(self) except -1:
        """Hook: send the frame in `pending`."""
        raise NotImplementedError

    # -- taking a command --------------------------------------------------------------

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
            if have >= 4 + size:
                self.note(self.decision)        # the driver finds out by itself what it gathers
            return self.to_driver(p, have, size)
        if p[4] == 0x17:
            self.note(self.decision)
        return self.dispatch(p, have)

    cdef int note(self, Decision decision) except -1:
        """A statement was received, and this is what was decided about it."""
        decision.count()
        if decision.next_flag >= 0 and decision.next_flag != self.flag_in:
            self.set_flag(decision.next_flag)
        return 0

    cdef int set_flag(self, long flag) except -1:
        """What comes next is decided with this flagIN."""
        self.flag_in = flag
        self.salt = self.base_salt ^ <uint64_t>flag * <uint64_t>0x9E3779B97F4A7C15
        return 0

    cdef Decision decision_of(self, ClientStatement statement):
        """Made for the account and schema of now, not of when it was prepared."""
        cdef Decision known = statement.decision
        if statement.salt != self.salt or known is not None and known.flags & RULED_BY_CHANCE:
            statement.decision = self.driver.decide_again(self, statement)
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
        self.seen(p[4])
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
        self.seen(p[4])
        self.nothing_done()
        return 9

    # -- open in a statement -----------------------------------------------------------

    cdef int learn_statement(self, ClientStatement statement, bint errored) except -1:
        """What is open in a prepared statement now, and what the server knows of its types."""
        cdef bint had_cursor = statement.cursor_open
        cdef bint was_open = had_cursor or statement.long_data
        if errored:
            self.forget_types(statement)
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
        return 0

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

    # -- on a connection -----------------------------------------------------------------

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

    def prepare_statements(self):
        """The table of prepared statements, made at the first one."""
        if self.statements is None:
            self.statements = ClientStatements()
        return self.statements
