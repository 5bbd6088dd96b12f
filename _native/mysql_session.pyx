# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""The command phase of one MySQL client: the machine, and the session that keeps one backend.

    client ── frames ──> client_data ──> backend        backend ──> backend_data ──> client

    IDLE ── command begins ──> COMMAND ── last byte sent ──> RESPONSE ── scanner done ──> IDLE
      │                                        │                └ LOCAL INFILE ──> INFILE ──┐
      │                                        └ no response ──> IDLE    RESPONSE <── file sent
      └ KILL, COM_CHANGE_USER ──> SLOW ── driver: forward, reply, suspend/resume ──> ...

`Session` keeps its backend connection for life. `mysql_multiplex` borrows one per statement; it
changes nothing of the machine but the points named in the map as its hooks.

Bytes are passed on as they come, whole commands are never gathered (but those few that the
slow lane must read). A client that pipelines is served one command at a time: what it sent
ahead waits in its endpoint's inbox, and beyond INBOX_LIMIT in its socket.
A slow reader pauses the other side: the proxy holds at most one scratch more than HIGH_WATER.
"""

from libc.stdint cimport uint32_t, uint64_t

from hproxy._native.cursor cimport load3
from hproxy._native.endpoint cimport HIGH_WATER, INBOX_LIMIT, Endpoint
from hproxy._native.mysql cimport (
    REPLY_NONE,
    REPLY_QUIT,
    REPLY_RAW,
    REPLY_STREAM,
    SCAN_DONE,
    SCAN_FIRST,
    SCAN_INFILE,
    SCAN_STREAM,
    STOP_NONE,
    CommandFramer,
    ResponseScanner,
    reply_of,
)
from hproxy._native.notes cimport Notes
from hproxy._native.pool cimport Borrower

from hproxy._native.channel import Channel
from hproxy._native.mysql import fault_text

cdef enum:
    COM_QUERY = 0x03
    COM_PROCESS_KILL = 0x0C
    COM_CHANGE_USER = 0x11
    COM_STMT_SEND_LONG_DATA = 0x18
    INSPECT_LIMIT = 49152       # longest frame that waits in an inbox to be looked at
    LOGIN_PACKET = 65000        # longest COM_CHANGE_USER, in bytes: whole, it must fit an inbox

cdef const char* KILL = b"kill"
cdef bytes QUIT = b"\x01\x00\x00\x00\x01"
cdef tuple STATES = (
    "idle", "command", "response", "infile", "stream", "slow", "waiting", "gather", "closed")


cdef inline uint32_t shortest(unsigned char command) noexcept:
    """Bytes of a command that is not answered; MySQL answers shorter ones with an ERR, which
    would be taken for the answer to the next command."""
    return 7 if command == COM_STMT_SEND_LONG_DATA else 5


cdef bint mentions_kill(const unsigned char* p, Py_ssize_t length) noexcept:
    """Whether the letters of KILL stand anywhere in it; the slow lane parses properly."""
    cdef Py_ssize_t i
    for i in range(length - 3):
        if (p[i] | 32) == c"k" and (p[i + 1] | 32) == c"i" and \
                (p[i + 2] | 32) == c"l" and (p[i + 3] | 32) == c"l":
            return True
    return False


cdef bint may_kill(
    const unsigned char* p, Py_ssize_t length, bint whole, bint attributes
) noexcept:
    """Whether a COM_QUERY payload (after its command byte) is, or may yet become, a KILL."""
    cdef Py_ssize_t i
    if attributes and length:
        if p[0] != 0:           # attributes come first: let the slow lane look
            return not whole or mentions_kill(p, length)
        p += 2
        length -= 2
    while length > 0 and (p[0] == c" " or 9 <= p[0] <= 13 or p[0] == c"("):
        p += 1
        length -= 1
    if length <= 0:
        return not whole
    if p[0] == c"/" or p[0] == c"-" or p[0] == c"#":
        return not whole or mentions_kill(p, length)
    for i in range(min(length, <Py_ssize_t>4)):
        if (p[i] | 32) != KILL[i]:
            return False
    return length >= 4 or not whole


cdef class Session(Borrower):

    def __init__(self, Endpoint client not None, Endpoint backend, driver, *,
                 bint deprecate_eof, bint query_attributes=False, double idle_timeout=0.0):
        self.client = client
        self.backend = backend
        self.driver = driver
        self.scanner = ResponseScanner(deprecate_eof)
        self.framer = CommandFramer()
        self.query_attributes = query_attributes
        self.idle_timeout = idle_timeout
        self.max_packet = 1 << 30
        self.session_state = SESSION_SLOW

    # -- client to backend -----------------------------------------------------

    cdef Py_ssize_t on_data(
        self, Endpoint end, const unsigned char* data, Py_ssize_t length
    ) except -1:
        if end is self.client:
            return self.client_data(data, length)
        return self.backend_data(data, length)

    cdef Py_ssize_t client_data(self, const unsigned char* data, Py_ssize_t length) except -1:
        cdef Py_ssize_t pos = 0, sent = 0, slow
        cdef bint complete, file_sent = False, oversized = False
        while pos < length:
            if self.session_state == SESSION_IDLE:
                if length - pos < 5 and (length - pos < 4 or load3(data + pos)):
                    break               # not even a command byte: wait in the inbox
                if data[pos + 3] != 0:
                    self.driver.client_fault(
                        self, f"command has sequence id {data[pos + 3]}, expected 0")
                    return length
                if pos > sent:          # commands without an answer, of which we keep none
                    self.backend.write(data + sent, pos - sent)
                    sent = pos
                slow = self.begin(<unsigned char*>data + pos, length - pos)
                if self.session_state == SESSION_CLOSED:
                    return length
                if slow < 0:
                    break               # more of it, or a connection, is waited for
                if slow:
                    pos += slow
                    sent = pos
                    if self.client.owner is not self:
                        return pos      # a conversation took the endpoints over
                    continue
            if self.session_state == SESSION_COMMAND:
                pos += self.framer.feed(data + pos, length - pos, &complete)
                oversized = self.framer.total > self.max_packet
                if self.framer.fault_code or oversized:
                    break
                if self.discarding:
                    sent = pos
                if complete:
                    if (self.answered or self.reply_kind == REPLY_NONE) and pos > sent:
                        self.backend.write(data + sent, pos - sent)     # may be gone afterwards
                        sent = pos
                    # Numbers go on from the command's last frame: past 16 MiB that is not 1.
                    if self.scanner.fresh:
                        self.scanner.sequence = self.framer.sequence
                    self.command_sent()
            elif self.session_state == SESSION_INFILE:
                pos += self.framer.feed(data + pos, length - pos, &complete)
                oversized = self.framer.total > self.max_packet
                if self.framer.fault_code or oversized:
                    break
                if complete:
                    if self.framer.total == 0:      # the empty packet that ends the file
                        self.scanner.state = SCAN_FIRST
                        self.scanner.sequence = self.framer.sequence
                        self.session_state = SESSION_RESPONSE
                        file_sent = True
                    else:
                        self.framer.begin(self.framer.sequence)
            elif self.session_state == SESSION_STREAM:
                # A stream that is refused is an ordinary answer: what the client sent ahead is
                # its next command, and must not get there as part of the stream.
                if self.scanner.state == SCAN_STREAM and \
                        (self.scanner.fresh or self.scanner.after == SCAN_DONE):
                    break
                pos = length
            elif self.session_state == SESSION_GATHER:
                pos += self.collect(<unsigned char*>data + pos, length - pos)
                sent = pos
            else:
                break                   # one command at a time: the rest waits its turn
        if self.framer.fault_code:
            self.driver.client_fault(self, fault_text(self.framer.fault_code))
            return length
        if oversized:
            self.driver.client_fault(
                self, f"packet of {self.framer.total} bytes or more, limit is {self.max_packet}",
                "oversized")
            return length
        if pos > sent:
            self.backend.write(data + sent, pos - sent)
            if self.reply_kind == REPLY_QUIT and self.session_state == SESSION_RESPONSE:
                self.hang_up("quit")
                return length
            if self.backend.queued() > HIGH_WATER:
                self.client.pause()
        if file_sent and self.backend.inbox_length:
            self.backend.redeliver()    # what it said while the file was on its way
            # Answered already: what follows the file is in our hands, not in the inbox.
            if self.session_state == SESSION_IDLE and pos < length:
                pos += self.client_data(data + pos, length - pos)
        return pos

    cdef Py_ssize_t begin(self, unsigned char* p, Py_ssize_t have) except -2:
        """A command starts at `p`. 0: forward it; n: dealt with, n bytes of it; -1: not yet."""
        cdef Py_ssize_t slow = self.slow_length(p, have)
        cdef object payload
        if slow < 0:
            self.driver.client_fault(self, "COM_CHANGE_USER is too long")
            return 0
        if slow > have:
            return -1                   # the slow lane reads whole packets
        if slow:
            payload = p[4:slow]
            self.to_slow(p[4])
            self.driver.slow_command(self, payload)
            return slow
        self.open_command(p, have)
        return 0

    cdef Py_ssize_t collect(self, unsigned char* p, Py_ssize_t have) except -2:
        """More of a command that is read whole (SESSION_GATHER)."""
        return have

    cdef void seen(self, unsigned char command) noexcept:
        """A command has come, and is counted."""
        self.command = command
        self.commands += 1
        self.client.reactor.asked[command] += 1
        self.began = self.client.reactor.now

    cdef void unseen_again(self) noexcept:
        """It is about to be counted once more: as what it is sent as, or because it is repeated."""
        self.commands -= 1
        self.client.reactor.asked[self.command] -= 1

    cdef void to_slow(self, unsigned char command) noexcept:
        """The driver has it from here on."""
        self.seen(command)
        if self.notes is not None:
            self.notes.changed(command)
        self.session_state = SESSION_SLOW
        self.client.deadline = 0

    cdef int open_command(self, const unsigned char* p, Py_ssize_t have) except -1:
        """The frames of the command at `p` are forwarded from here on."""
        self.seen(p[4] if load3(p) else 0)
        if self.notes is not None:
            self.notes.opened(p + 4, min(<Py_ssize_t>load3(p), have - 4))
        self.reply_kind = reply_of(self.command)
        if self.reply_kind == REPLY_NONE and load3(p) < shortest(self.command):
            self.driver.client_fault(self, "statement command is cut short")
            return 0
        self.framer.begin(0)
        self.scanner.begin(self.reply_kind)
        self.answered = False
        self.session_state = SESSION_COMMAND
        return 0

    cdef Py_ssize_t slow_length(self, const unsigned char* p, Py_ssize_t have) noexcept:
        """Length of the frame if the slow lane must see this command, else 0; -1: too long."""
        cdef Py_ssize_t size = load3(p)
        cdef unsigned char command
        if size == 0:
            return 0
        command = p[4]
        if command == COM_QUERY:
            # Cut off before it could be told? Then the rest of it is waited for.
            if size > SLOW_STATEMENT or not may_kill(
                p + 5, min(size, have - 4) - 1, have - 4 >= size, self.query_attributes
            ):
                return 0
            return 4 + size
        if command == COM_PROCESS_KILL:
            return 4 + size if size <= SLOW_STATEMENT else 0
        if command == COM_CHANGE_USER:
            return 4 + size if size <= LOGIN_PACKET else -1
        return 0

    cdef int command_sent(self) except -1:
        """The last byte of a command is on its way."""
        if self.answered or self.reply_kind == REPLY_NONE:
            self.session_state = SESSION_IDLE
            if self.idle_timeout:
                self.client.deadline = self.client.reactor.now + self.idle_timeout
            self.became_idle()
        elif self.reply_kind == REPLY_STREAM or self.reply_kind == REPLY_RAW:
            self.session_state = SESSION_STREAM
            self.client.deadline = 0
        else:
            self.session_state = SESSION_RESPONSE
            self.client.deadline = 0
        return 0

    # -- backend to client -----------------------------------------------------

    cdef Py_ssize_t backend_data(self, const unsigned char* data, Py_ssize_t length) except -1:
        cdef Py_ssize_t used
        if self.farewell:
            self.client.write(data, length)
            if self.client.queued() > HIGH_WATER:
                self.backend.pause()
            return length
        if self.session_state == SESSION_IDLE or self.answered or \
                self.session_state == SESSION_GATHER:
            return self.unasked(data, length)
        if self.session_state == SESSION_SLOW or self.session_state == SESSION_INFILE:
            return 0                    # its turn comes: it waits in the inbox
        if self.session_state == SESSION_COMMAND and self.framer.sequence > 1 and \
                self.scanner.fresh and self.scanner.head_length == 0:
            # Refused half-way: the number is as far as the server had read, the client checks it.
            if length < 4:
                return 0
            self.scanner.sequence = data[3]
        used = self.relay(<unsigned char*>data, length)
        if used < 0:
            return length               # this answer is not passed on
        if self.scanner.fault_code:
            self.driver.backend_fault(self, fault_text(self.scanner.fault_code))
            return length
        if self.client.queued() > HIGH_WATER:
            self.backend.pause()
        if self.scanner.state == SCAN_DONE:
            if used < length and not self.owns_surplus():
                self.response_done()
                return length
            if used < length:
                # Kept for later it would be taken for the answer to the next command.
                self.response_ended()
                used += self.unasked(data + used, length - used)
                # Too few to judge them? Then the client's next command goes on all the same.
                if self.session_state == SESSION_IDLE and used < length and \
                        self.client.inbox_length:
                    self.client.redeliver()
                return used
            self.response_done()
        elif self.scanner.state == SCAN_INFILE:
            self.session_state = SESSION_INFILE
            self.framer.begin(self.scanner.sequence)
            self.client.redeliver()
        elif self.session_state == SESSION_STREAM and self.client.inbox_length:
            self.client.redeliver()
        return used

    cdef Py_ssize_t relay(self, unsigned char* data, Py_ssize_t length) except -2:
        """Pass on what belongs to the response; return how many bytes that took, -1: given up."""
        cdef Py_ssize_t used = self.scanner.feed(data, length), start = 0, size, kept
        while self.scanner.stopped != STOP_NONE:
            size = self.scanner.stop_size
            if size > INSPECT_LIMIT:
                self.inspect(NULL, size)
                self.scanner.stopped = STOP_NONE
                self.scanner.skip = <uint32_t>size
                used += self.scanner.feed(data + used, length - used)
                continue
            if length - used < size:
                break                       # it is judged when it is there as a whole
            kept = self.inspect(data + used, size)
            if kept < 0:
                return -1
            self.scanner.go_on()
            if kept != size:
                # Rewritten in place, shorter: one send for all before it and it.
                self.client.write(data + start, used + kept - start)
                start = used + size
            used += size
            used += self.scanner.feed(data + used, length - used)
        if used > start:
            self.client.write(data + start, used - start)
        return used

    cdef bint owns_surplus(self) except -1:
        """Whether bytes behind the answer are for this session to judge."""
        return True

    cdef Py_ssize_t inspect(self, unsigned char* frame, Py_ssize_t size) except -2:
        """A frame the scanner stopped at; bytes left of it after rewriting, -1: taken over.

        NULL: it is too long to be held, and passes unseen.
        """
        return size

    cdef bint response_ended(self) except -1:
        """True when the client may send its next command."""
        if self.notes is not None:
            self.note_ended()
        if self.session_state == SESSION_COMMAND:
            self.answered = True        # refused half-way, the client is still sending
            return False
        self.session_state = SESSION_IDLE
        if self.idle_timeout:
            self.client.deadline = self.client.reactor.now + self.idle_timeout
        self.became_idle()
        return self.session_state == SESSION_IDLE

    cdef int note_ended(self) except -1:
        """The answer has ended: of a statement that is on record the driver is told."""
        cdef Notes notes = self.notes
        cdef bytes payload = notes.payload
        cdef uint64_t took = 0
        if payload is not None and \
                notes.ended(self.scanner.errored, self.scanner.prepared_id, &took):
            self.driver.noted(self, payload, took)
        notes.payload = None
        return 0

    cdef int became_idle(self) except -1:
        """A command is over, its answer passed on."""
        if not self.scanner.status & 1:             # SERVER_STATUS_IN_TRANS
            self.transaction_since = 0
        elif self.transaction_since == 0:
            self.transaction_since = self.client.reactor.now
        return 0

    cdef int response_done(self) except -1:
        if self.response_ended() and self.client.inbox_length:
            self.client.redeliver()
        return 0

    cdef Py_ssize_t unasked(self, const unsigned char* data, Py_ssize_t length) except -1:
        """Bytes without a command: only an ERR (shutdown, wait_timeout, KILL) makes sense."""
        if length < 5:
            return 0
        if data[4] != 0xFF:
            self.driver.backend_fault(self, "data without a command")
            return length
        self.farewell = True
        self.client.write(data, length)
        return length

    # -- events of the endpoints -----------------------------------------------

    cdef int on_drained(self, Endpoint end) except -1:
        if end is self.client:
            return self.backend.resume() if self.backend is not None else 0
        if self.client.inbox_length < INBOX_LIMIT:
            return self.client.resume()
        return 0

    cdef int on_eof(self, Endpoint end, int error) except -1:
        if end is self.client:
            self.driver.client_lost(self, error)
        else:
            self.driver.backend_lost(self, error)
        return 0

    cdef int on_malformed(self, Endpoint end, str reason) except -1:
        if end is self.client:
            self.driver.client_fault(self, reason, "compression")
        else:
            self.driver.backend_fault(self, reason)
        return 0

    cdef int on_deadline(self, Endpoint end) except -1:
        self.driver.timed_out(self)
        return 0

    cdef int on_broken(self, Endpoint end, object error) except -1:
        try:
            self.driver.broken(self, error)
        finally:
            if self.session_state != SESSION_CLOSED:
                self.hang_up("internal error")
        return 0

    # -- for the driver --------------------------------------------------------

    def start(self):
        self.session_state = SESSION_IDLE
        self.client.owner = self
        self.backend.owner = self
        if self.idle_timeout:
            self.client.deadline = self.client.reactor.now + self.idle_timeout
        self.backend.redeliver()
        if self.session_state == SESSION_IDLE:
            self.client.redeliver()

    def suspend(self, Py_ssize_t limit):
        if self.session_state != SESSION_SLOW:
            raise ValueError(f"cannot suspend in state {self.state}")
        client = Channel(self.client, "client", limit)
        client.seq = 1                  # the command that brought us here was packet 0
        return client, Channel(self.backend, "backend")

    def resume(self, Endpoint backend=None):
        if self.session_state != SESSION_SLOW:
            if backend is not None:
                backend.close()         # closed meanwhile: nobody else would
            return
        if backend is not None:
            self.backend = backend
        self.start()

    def forward(self, bytes payload not None):
        cdef Py_ssize_t size = len(payload)
        cdef bytes frame
        if self.session_state != SESSION_SLOW or not 0 < size < 0xFFFFFF:
            raise ValueError(f"cannot forward {size} bytes in state {self.state}")
        frame = bytes((size & 0xFF, size >> 8 & 0xFF, size >> 16, 0)) + payload
        self.command = payload[0]
        if self.notes is not None:
            self.notes.opened(<const unsigned char*><char*>payload, size)
        self.reply_kind = reply_of(self.command)
        self.answered = False
        self.scanner.begin(self.reply_kind)
        self.session_state = SESSION_COMMAND
        self.command_sent()
        self.backend.write(<const unsigned char*><char*>frame, len(frame))

    def reply(self, list payloads not None):
        if self.session_state != SESSION_SLOW:
            raise ValueError(f"cannot reply in state {self.state}")
        self.tell(payloads, 1)
        self.session_state = SESSION_IDLE
        if self.idle_timeout:
            self.client.deadline = self.client.reactor.now + self.idle_timeout
        # Inside client_data the loop goes on by itself and the inbox is empty.
        if self.client.inbox_length:
            self.client.redeliver()

    cdef int tell(self, list payloads, int sequence) except -1:
        cdef bytes payload, frames = b""
        cdef Py_ssize_t size
        for payload in payloads:
            size = len(payload)
            if size >= 0xFFFFFF:
                raise ValueError("a reply of ours fits one frame")
            frames += bytes((size & 0xFF, size >> 8 & 0xFF, size >> 16, sequence)) + payload
            sequence = (sequence + 1) & 0xFF
        return self.client.write(<const unsigned char*><char*>frames, len(frames))

    def fail(self, bytes payload not None, str reason not None):
        cdef SessionState state = self.session_state
        if state == SESSION_CLOSED:
            return
        if state == SESSION_COMMAND and self.scanner.fresh and self.scanner.head_length == 0:
            self.tell([payload], self.framer.sequence)
        elif state == SESSION_COMMAND or state == SESSION_RESPONSE or state == SESSION_STREAM:
            if not self.answered and self.reply_kind != REPLY_RAW and self.scanner.at_boundary():
                self.tell([payload], self.scanner.sequence)
        elif state == SESSION_SLOW or state == SESSION_WAITING:
            self.tell([payload], 1)
        elif state == SESSION_INFILE:
            self.tell([payload], self.framer.sequence)
        elif state == SESSION_IDLE and not self.farewell:
            self.tell([payload], 1)
        self.hang_up(reason)

    def close(self, str reason not None):
        if self.session_state != SESSION_CLOSED:
            self.hang_up(reason)

    cdef int hang_up(self, str reason) except -1:
        """Give both sockets up: the client hears the last words, the backend is left."""
        cdef SessionState before = self.session_state
        self.session_state = SESSION_CLOSED
        try:
            try:
                self.client.finish()
            finally:
                self.leave_backend(before)
        finally:
            self.driver.closed(self, reason)    # whatever happens, it is counted as gone
        return 0

    cdef int leave_backend(self, SessionState before) except -1:
        """Told COM_QUIT when it can hear it, else cut."""
        if before == SESSION_IDLE:
            self.backend.write(<const unsigned char*><char*>QUIT, len(QUIT))
        if before == SESSION_IDLE or self.reply_kind == REPLY_QUIT:
            self.backend.finish(False)
        else:
            self.backend.close()
        return 0

    @property
    def in_transaction(self):
        return (self.scanner.status & 1) != 0       # SERVER_STATUS_IN_TRANS

    @property
    def state(self):
        return STATES[<int>self.session_state]
