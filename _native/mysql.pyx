# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Where a command ends and where its response ends, seen from frame heads.

A frame is a 3 byte length, a sequence id and that many bytes; a frame of exactly 0xFFFFFF
bytes continues in the next. What ends a response (REPLY_RESULT, the common one):

    FIRST ── OK, ERR ─────────────────────────────────────────────> unit ends
      │ └─── 0xFB ──> INFILE ── client's empty packet ──> FIRST
      └ count ──> COLUMNS ──> (COLUMNS_END, an EOF) ──> ROWS ── EOF, OK(0xFE), ERR ──> unit ends
    unit ends: SERVER_MORE_RESULTS_EXISTS ? FIRST : DONE
    EOF after columns with SERVER_STATUS_CURSOR_EXISTS: the rows wait for COM_STMT_FETCH, DONE

With CLIENT_DEPRECATE_EOF the EOF after definitions is left out and the last one is an OK
packet with header 0xFE. MariaDB's progress reports are ERR packets numbered 0xFFFF that
announce nothing but patience.

With `watch` on, the scanner stops in front of what a pooled session must see before its client
does: an OK that carries session state, and an ERR that is the whole answer. It then keeps no
split heads: what it has not judged stays with the caller.
"""

cimport cython
from libc.string cimport memcmp

from hproxy._native.cursor cimport load2, load3, load4, read_lenenc

cdef const unsigned char* MATCHED = b"Rows matched: "
cdef enum:
    MATCHED_BYTES = 14
    OK = 0x00
    INFILE = 0xFB
    EOF = 0xFE
    ERR = 0xFF
    MORE_RESULTS = 0x0008
    STATE_CHANGED = 0x4000
    CURSOR_EXISTS = 0x0040
    PS_OUT_PARAMS = 0x1000
    PROGRESS = 0xFFFF

cdef unsigned char REPLIES[256]


cdef int fill_replies() except -1:
    """One row a command; everything unnamed gets an ERR or a result from the server."""
    cdef int command
    for command in range(256):
        REPLIES[command] = REPLY_RESULT
    for command in (0x00, 0x02, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F,
                    0x10, 0x14, 0x15, 0x1A, 0x1B, 0x1D, 0x1F):
        REPLIES[command] = REPLY_SINGLE
    REPLIES[0x01] = REPLY_QUIT          # COM_QUIT
    REPLIES[0x04] = REPLY_FIELDS        # COM_FIELD_LIST
    REPLIES[0x11] = REPLY_LOGIN         # COM_CHANGE_USER
    REPLIES[0x12] = REPLY_STREAM        # COM_BINLOG_DUMP
    REPLIES[0x13] = REPLY_STREAM        # COM_TABLE_DUMP
    REPLIES[0x16] = REPLY_PREPARE       # COM_STMT_PREPARE
    REPLIES[0x18] = REPLY_NONE          # COM_STMT_SEND_LONG_DATA
    REPLIES[0x19] = REPLY_NONE          # COM_STMT_CLOSE
    REPLIES[0x1C] = REPLY_ROWS          # COM_STMT_FETCH
    REPLIES[0x1E] = REPLY_STREAM        # COM_BINLOG_DUMP_GTID
    REPLIES[0x20] = REPLY_RAW           # COM_CLONE
    REPLIES[0x21] = REPLY_RAW           # COM_SUBSCRIBE_GROUP_REPLICATION_STREAM
    return 0


fill_replies()


cdef Reply reply_of(unsigned char command) noexcept:
    return <Reply>REPLIES[command]


def reply_kind(unsigned char command):
    return <int>REPLIES[command]


def fault_text(int code):
    return {
        FAULT_SEQUENCE: "packets out of order",
        FAULT_EMPTY: "empty packet",
        FAULT_SHORT: "packet too short for its kind",
        FAULT_KIND: "packet of a kind that may not come now",
    }.get(code, "no fault")


@cython.final
cdef class ResponseScanner:

    def __init__(self, bint deprecate_eof=False):
        self.deprecate_eof = deprecate_eof
        self.state = SCAN_DONE

    cdef void begin(self, Reply reply) noexcept:
        self.fault_code = FAULT_NONE
        self.sequence = 1
        self.fresh = True
        self.continued = self.inside = self.bare = False
        self.skip = 0
        self.head_length = 0
        self.rows = 0
        self.error = 0
        self.errored = False
        self.stopped = STOP_NONE
        self.affected = self.matched = -1
        self.warned = self.rowset = False
        self.rows_last = self.rows_before = 0
        self.insert_id = 0
        if reply == REPLY_RESULT:
            self.state = SCAN_FIRST
        elif reply == REPLY_PREPARE:
            self.state = SCAN_PREPARE
        elif reply == REPLY_ROWS:
            self.state = SCAN_FETCH
        elif reply == REPLY_FIELDS:
            self.state = SCAN_FIELDS
        elif reply == REPLY_STREAM:
            self.state = SCAN_STREAM
        elif reply == REPLY_RAW:
            self.state = SCAN_RAW
        elif reply == REPLY_SINGLE:
            self.state = SCAN_SINGLE
        else:
            self.state = SCAN_DONE

    cdef bint at_boundary(self) noexcept:
        """Whether a packet of our own may be put after what was fed so far."""
        return not self.inside and self.head_length == 0

    cdef Py_ssize_t feed(self, const unsigned char* data, Py_ssize_t length) noexcept:
        """Take bytes of the response; return how many belong to it.

        Stops at the end of the response, at SCAN_INFILE and at a fault.
        """
        cdef Py_ssize_t pos = 0, want
        cdef uint32_t size
        cdef const unsigned char* p
        if self.state == SCAN_RAW:
            return length
        if self.fault_code or self.stopped:
            return 0            # a bad head was kept: more of it would not fit in `head`
        while pos < length and self.state != SCAN_DONE and self.state != SCAN_INFILE:
            if self.skip:
                if length - pos < <Py_ssize_t>self.skip:
                    self.skip -= <uint32_t>(length - pos)
                    return length
                pos += self.skip
                self.skip = 0
                self.end_packet()
                continue

            # Rows are nearly all there is: step over them without leaving this loop.
            if self.state == SCAN_ROWS and self.head_length == 0 and not self.continued:
                while length - pos > 4:
                    p = data + pos
                    size = load3(p)
                    if p[4] >= EOF or size == 0 or size == FRAME_MAX or p[3] != self.sequence:
                        break
                    self.sequence += 1
                    self.rows += 1
                    pos += 4 + size
                    if pos > length:
                        self.skip = <uint32_t>(pos - length)
                        self.inside = True
                        self.after = SCAN_ROWS
                        return length
                if pos == length:
                    return pos

            # A frame head: 4 bytes and what of the payload decides about it.
            p = data + pos
            if self.head_length == 0 and length - pos >= 4:
                size = load3(p)
                want = 4 + min(size, <uint32_t>HEAD_BYTES)
                if length - pos >= want:
                    if not self.classify(p, size):
                        # Nothing of this frame was passed on: an ERR may stand in its place.
                        if self.fault_code != FAULT_SEQUENCE:
                            self.inside = False
                            self.sequence = p[3]
                        return pos
                    if size > HEAD_BYTES and p[4] == OK and self.state == SCAN_FIRST and \
                            length - pos >= 4 + <Py_ssize_t>size:
                        self.read_matched(p + 4, size)
                    if self.stopped:
                        self.stop_size = 4 + size
                        return pos
                    pos += 4 + <Py_ssize_t>size
                    if pos > length:
                        self.skip = <uint32_t>(pos - length)
                        return length
                    self.end_packet()
                    continue
            if self.watch:
                return pos
            # The head is split: collect it byte by byte, it is at most 28 bytes.
            self.head[self.head_length] = p[0]
            self.head_length += 1
            pos += 1
            if self.head_length < 4:
                continue
            size = load3(self.head)
            if self.head_length < 4 + <int>min(size, <uint32_t>HEAD_BYTES):
                continue
            want = self.head_length - 4
            if not self.classify(self.head, size):
                return pos              # head_length stays: part of this frame has been passed on
            self.head_length = 0
            self.skip = size - <uint32_t>want
            if self.skip == 0:
                self.end_packet()
        return pos

    cdef void go_on(self) noexcept:
        """The packet it stopped at was dealt with, whole."""
        self.stopped = STOP_NONE
        self.end_packet()

    cdef void end_packet(self) noexcept:
        """The current frame has ended; so has its packet unless it continues."""
        if not self.continued:
            self.inside = False
            self.state = self.after

    cdef bint classify(self, const unsigned char* p, uint32_t length) noexcept:
        """Judge the frame at `p` (header, then min(length, HEAD_BYTES) bytes); False on a fault."""
        cdef unsigned char first
        cdef bint was_continued = self.continued, first_packet = self.fresh
        cdef unsigned long long count
        cdef Py_ssize_t used
        if p[3] != self.sequence and self.state != SCAN_STREAM:
            # Number 0 is an ERR that the server sent before it read the command (shutdown,
            # wait_timeout); clients know it, and it ends this response.
            if not self.fresh or p[3] != 0 or length < 3 or p[4] != ERR:
                self.fault_code = FAULT_SEQUENCE
                return False
        self.fresh = False
        self.sequence = p[3] + 1
        self.continued = length == FRAME_MAX
        self.inside = True
        if was_continued:
            return True                 # more of a packet that was judged by its first frame
        self.after = self.state
        if length == 0:
            if self.state == SCAN_SINGLE:
                self.after = SCAN_DONE
                return True
            self.fault_code = FAULT_EMPTY
            return False
        p += 4
        first = p[0]

        if first == ERR:
            if length < 3:
                self.fault_code = FAULT_SHORT
                return False
            if load2(p + 1) == PROGRESS:
                return True
            self.error = load2(p + 1)
            self.errored = True
            self.status &= ~MORE_RESULTS
            self.after = SCAN_DONE
            if self.watch and first_packet:
                self.stopped = STOP_ERROR
            return True

        if self.state == SCAN_FIRST:
            if first == OK:
                return self.finish_ok(p, length)
            if first == INFILE:
                self.after = SCAN_INFILE
                return True
            if first == EOF:
                return self.finish_eof(p, length) if length < 9 else self.finish_ok(p, length)
            used = read_lenenc(p, min(length, <uint32_t>HEAD_BYTES), &count)
            if used <= 0 or count == 0:
                self.fault_code = FAULT_SHORT
                return False
            self.columns = count
            # A byte after the count is metadata_follows (MySQL's optional metadata, MariaDB's
            # metadata cache); 0 means the definitions are left out. MySQL's documentation puts
            # it before the count, its server does not: see the captures commands_metadata*.
            if <uint32_t>used < length and p[used] == 0:
                self.after = SCAN_ROWS if self.deprecate_eof else SCAN_COLUMNS_END
            else:
                self.after = SCAN_COLUMNS
            return True

        if self.state == SCAN_ROWS or self.state == SCAN_FETCH:
            if first == EOF and length < FRAME_MAX and (self.deprecate_eof or length < 9):
                return self.finish_eof(p, length)
            self.rows += 1
            return True

        if self.state == SCAN_COLUMNS:
            self.columns -= 1
            if self.columns == 0:
                self.after = SCAN_ROWS if self.deprecate_eof else SCAN_COLUMNS_END
            return True

        if self.state == SCAN_COLUMNS_END:
            if first != EOF or length >= 9:
                self.fault_code = FAULT_KIND
                return False
            if length >= 5:
                self.warnings = load2(p + 1)
                self.status = load2(p + 3)
                if self.watch and self.status & STATE_CHANGED:
                    self.stopped = STOP_STATE
                if self.status & CURSOR_EXISTS:
                    self.rowset = True
                    self.after = SCAN_DONE
                    return True
            self.after = SCAN_ROWS
            return True

        if self.state == SCAN_SINGLE:
            self.after = SCAN_DONE
            if first == OK or first == EOF and length >= 7 and self.watch:
                self.finish_ok(p, length)   # COM_STATISTICS answers text: a short one is no fault
                self.fault_code = FAULT_NONE
                self.after = SCAN_DONE
            elif first == EOF and length == 5 and self.watch:   # COM_SET_OPTION
                self.warnings = load2(p + 1)
                self.status = load2(p + 3)
                if self.status & STATE_CHANGED:
                    self.stopped = STOP_STATE
            return True

        if self.state == SCAN_FIELDS:
            if first == EOF:
                self.after = SCAN_DONE
            return True

        if self.state == SCAN_STREAM:
            if first == EOF and length < 9:
                self.after = SCAN_DONE
            return True

        if self.state == SCAN_PREPARE:
            if first != OK:
                self.fault_code = FAULT_KIND
                return False
            if length < 12:
                self.fault_code = FAULT_SHORT
                return False
            self.prepared_id = load4(p + 1)
            self.columns_next = load2(p + 5)
            self.columns = load2(p + 7)
            self.warnings = load2(p + 10)
            if length > 12 and p[12] == 0:      # metadata_follows: RESULTSET_METADATA_NONE
                self.bare = True
                if self.deprecate_eof:
                    self.columns = self.columns_next = 0
            self.end_unit()
            return True

        # Definitions of a prepared statement: parameters, then columns, each closed by an EOF
        # unless it is deprecated.
        if self.state == SCAN_PARAMS or self.state == SCAN_PREPARED_COLUMNS:
            self.columns -= 1
            if self.columns == 0:
                if self.deprecate_eof:
                    self.end_unit()
                elif self.state == SCAN_PARAMS:
                    self.after = SCAN_PARAMS_END
                else:
                    self.after = SCAN_PREPARED_COLUMNS_END
            return True
        if first != EOF:
            self.fault_code = FAULT_KIND
            return False
        self.end_unit()
        return True

    cdef void end_unit(self) noexcept:
        """Choose what follows in a prepare response."""
        if self.state == SCAN_PREPARE and self.columns:
            self.after = SCAN_PARAMS_END if self.bare else SCAN_PARAMS
        elif self.state <= SCAN_PARAMS_END and self.columns_next:
            self.columns = self.columns_next
            self.columns_next = 0
            self.after = SCAN_PREPARED_COLUMNS_END if self.bare else SCAN_PREPARED_COLUMNS
        else:
            self.after = SCAN_DONE

    cdef bint finish_ok(self, const unsigned char* p, uint32_t length) noexcept:
        """An OK packet: header, affected rows, insert id, status, warnings."""
        cdef unsigned long long number
        cdef Py_ssize_t used, pos = 1, have = min(length, <uint32_t>HEAD_BYTES)
        cdef int field
        for field in range(2):
            used = read_lenenc(p + pos, have - pos, &number)
            if used <= 0:
                self.fault_code = FAULT_SHORT
                return False
            pos += used
            if p[0] != OK:
                continue                # the end of a result set: nothing was changed
            if field == 0:
                self.affected = <int64_t>number
            elif number:
                self.insert_id = number
        if have - pos < 2:
            self.fault_code = FAULT_SHORT
            return False
        self.status = load2(p + pos)
        if have - pos >= 4:
            self.warnings = load2(p + pos + 2)
            self.warned |= self.warnings != 0
        if self.watch and self.status & STATE_CHANGED:
            self.stopped = STOP_STATE
        self.after = SCAN_FIRST if self.status & MORE_RESULTS else SCAN_DONE
        return True

    cdef void read_matched(self, const unsigned char* p, Py_ssize_t length) noexcept:
        """How many rows an UPDATE has found, from "Rows matched: 3  Changed: 2  Warnings: 0"."""
        cdef unsigned long long number
        cdef Py_ssize_t pos = 1
        pos += read_lenenc(p + pos, length - pos, &number)
        pos += read_lenenc(p + pos, length - pos, &number) + 4
        if pos < length and p[pos] != MATCHED[0]:
            pos += 1                    # its length, where session state may follow
        if length - pos <= MATCHED_BYTES or memcmp(p + pos, MATCHED, MATCHED_BYTES) != 0:
            return
        pos += MATCHED_BYTES
        self.matched = 0
        while pos < length and c"0" <= p[pos] <= c"9":
            self.matched = self.matched * 10 + p[pos] - c"0"
            pos += 1

    cdef bint finish_eof(self, const unsigned char* p, uint32_t length) noexcept:
        """EOF, or OK with an EOF header, after rows."""
        cdef uint16_t carried = 0
        self.affected = -1
        self.rowset = True
        self.rows_last = self.rows - self.rows_before
        self.rows_before = self.rows
        if length >= 7 and self.deprecate_eof:
            if not self.finish_ok(p, length):
                return False
        elif length >= 5:
            self.warnings = load2(p + 1)
            self.warned |= self.warnings != 0
            # Of OUT parameters MySQL says only in the EOF before the row that more follows.
            if self.state == SCAN_ROWS and self.status & PS_OUT_PARAMS:
                carried = self.status & MORE_RESULTS
            self.status = load2(p + 3) | carried
            if self.watch and self.status & STATE_CHANGED:
                self.stopped = STOP_STATE
            self.after = SCAN_FIRST if self.status & MORE_RESULTS else SCAN_DONE
        else:
            self.after = SCAN_DONE      # pre-4.1 EOF: one byte
        if self.state == SCAN_FETCH:
            self.after = SCAN_DONE
        return True

    # -- for tests and the slow lane -------------------------------------------

    def start(self, unsigned char command):
        self.begin(reply_of(command))

    def scan(self, data):
        cdef const unsigned char[::1] view = data
        return self.feed(&view[0], view.shape[0]) if view.shape[0] else 0

    def file_sent(self, unsigned char next_sequence):
        if self.state != SCAN_INFILE:
            raise ValueError("no file was asked for")
        self.state = SCAN_FIRST
        self.sequence = next_sequence

    @property
    def done(self):
        return self.state == SCAN_DONE and not self.inside

    @property
    def wants_file(self):
        return self.state == SCAN_INFILE

    @property
    def fault(self):
        return fault_text(self.fault_code) if self.fault_code else None


@cython.final
cdef class CommandFramer:

    def __cinit__(self):
        self.begin(0)

    cdef void begin(self, unsigned char sequence) noexcept:
        self.skip = 0
        self.continued = True           # a first frame is awaited
        self.total = 0
        self.sequence = sequence
        self.header_length = 0
        self.fault_code = FAULT_NONE

    cdef Py_ssize_t feed(
        self, const unsigned char* data, Py_ssize_t length, bint* complete
    ) noexcept:
        """Take bytes of the packet; return how many belong to it."""
        cdef Py_ssize_t pos = 0
        cdef uint32_t size
        complete[0] = False
        while True:
            if self.skip:
                if length - pos < <Py_ssize_t>self.skip:
                    self.skip -= <uint32_t>(length - pos)
                    return length
                pos += self.skip
                self.skip = 0
            if not self.continued:
                complete[0] = True
                return pos
            while self.header_length < 4:
                if pos == length:
                    return pos
                self.header[self.header_length] = data[pos]
                self.header_length += 1
                pos += 1
            if self.header[3] != self.sequence:
                self.fault_code = FAULT_SEQUENCE
                return pos
            self.header_length = 0
            self.sequence += 1
            size = load3(self.header)
            self.continued = size == FRAME_MAX
            self.skip = size
            self.total += size

    def start(self, unsigned char sequence=0):
        self.begin(sequence)

    def scan(self, data):
        cdef const unsigned char[::1] view = data
        cdef bint complete = False
        cdef unsigned char nothing = 0
        cdef const unsigned char* p = &view[0] if view.shape[0] else &nothing
        cdef Py_ssize_t used = self.feed(p, view.shape[0], &complete)
        return used, complete

    @property
    def fault(self):
        return fault_text(self.fault_code) if self.fault_code else None
