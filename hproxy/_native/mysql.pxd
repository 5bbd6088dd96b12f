# SPDX-License-Identifier: Apache-2.0
# The map of mysql: where a command ends and where its response ends, seen from frame heads.
#
# Memory: scanners keep no bytes but the head of one frame (at most HEAD_BYTES), and never
# point into a caller's buffer after returning. Rows are counted, never decoded.
# Failure: `feed` never raises; a broken stream sets `fault` and stops there. The GIL is held.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    FRAME_MAX = 0xFFFFFF       # a frame this long continues in the next one
    HEAD_BYTES = 24            # payload bytes that decide about a frame: OK up to its status


cdef enum Reply:               # what a command is answered with
    REPLY_RESULT               # OK, ERR, LOCAL INFILE or result sets, chained by MORE_RESULTS
    REPLY_SINGLE               # exactly one packet, whatever it is
    REPLY_FIELDS               # column definitions up to EOF or ERR
    REPLY_PREPARE              # prepare-OK with its definitions, or ERR
    REPLY_ROWS                 # rows up to EOF or ERR (COM_STMT_FETCH)
    REPLY_STREAM               # events until EOF or ERR (binlog dump)
    REPLY_RAW                  # a protocol of its own until the connection ends (clone)
    REPLY_NONE                 # nothing comes back
    REPLY_QUIT                 # the peer closes
    REPLY_LOGIN                # COM_CHANGE_USER: an authentication exchange


cdef enum ScanState:
    SCAN_DONE                  # the response is complete (or none is awaited)
    SCAN_FIRST
    SCAN_COLUMNS
    SCAN_COLUMNS_END           # the EOF after column definitions
    SCAN_ROWS
    SCAN_INFILE                # the server waits for the client's file
    SCAN_FIELDS
    SCAN_SINGLE
    SCAN_PREPARE
    SCAN_PARAMS
    SCAN_PARAMS_END
    SCAN_PREPARED_COLUMNS
    SCAN_PREPARED_COLUMNS_END
    SCAN_FETCH
    SCAN_STREAM
    SCAN_RAW


cdef enum Fault:
    FAULT_NONE
    FAULT_SEQUENCE             # sequence id out of order
    FAULT_EMPTY                # empty packet where one must say something
    FAULT_SHORT                # packet too short for its kind
    FAULT_KIND                 # a packet of this kind may not come now


cdef enum Stop:                # why a watching scanner stands in front of a packet
    STOP_NONE
    STOP_STATE                 # an OK with session state
    STOP_ERROR                 # an ERR that is the whole answer


cdef Reply reply_of(unsigned char command) noexcept


cdef class ResponseScanner:
    cdef public bint deprecate_eof      # CLIENT_DEPRECATE_EOF was agreed with the backend
    cdef ScanState state
    cdef ScanState after                # state once the current packet has ended
    cdef readonly int fault_code
    cdef unsigned char sequence         # expected next
    cdef bint continued                 # the current packet goes on in the next frame
    cdef uint32_t skip                  # bytes left of the current frame
    cdef bint inside                    # a frame head was read, its packet has not ended
    cdef unsigned char head[28]         # frame header + HEAD_BYTES, only when split by recv
    cdef int head_length
    cdef uint64_t columns               # definitions still to come
    cdef uint64_t columns_next          # prepared statement: columns after the parameters
    cdef bint bare                      # prepared statement: its definitions are left out
    cdef bint fresh                     # no packet of this response was judged yet
    cdef readonly uint16_t status       # last SERVER_STATUS flags seen
    cdef readonly uint16_t warnings
    cdef readonly bint warned           # some statement of this response left some
    cdef readonly uint64_t rows         # rows seen in this response
    cdef readonly uint16_t error        # last error number, 0 without
    cdef readonly bint errored          # this response ended with ERR
    cdef bint watch                     # stop in front of what a pooled session must see first
    cdef Stop stopped
    cdef uint32_t stop_size             # frame bytes, header included, of what it stopped at
    cdef readonly int64_t matched       # rows an UPDATE has found; -1: its OK does not tell
    cdef readonly int64_t affected      # rows changed by the last statement; -1: it had rows
    cdef uint32_t prepared_id           # of the statement prepared last
    cdef readonly bint rowset           # there were rows, or could have been
    cdef readonly uint64_t rows_last    # rows of the last result that had some
    cdef uint64_t rows_before           # rows of the results before
    cdef readonly uint64_t insert_id    # last one not 0 in this response

    cdef void begin(self, Reply reply) noexcept
    cdef Py_ssize_t feed(self, const unsigned char* data, Py_ssize_t length) noexcept
    cdef bint at_boundary(self) noexcept
    cdef bint classify(self, const unsigned char* p, uint32_t length) noexcept
    cdef bint finish_ok(self, const unsigned char* p, uint32_t length) noexcept
    cdef void read_matched(self, const unsigned char* p, Py_ssize_t length) noexcept
    cdef bint finish_eof(self, const unsigned char* p, uint32_t length) noexcept
    cdef void end_unit(self) noexcept
    cdef void end_packet(self) noexcept
    cdef void go_on(self) noexcept


cdef class CommandFramer:
    cdef uint32_t skip                  # bytes left of the current frame
    cdef bint continued                 # the current frame is followed by another of its packet
    cdef unsigned char sequence         # sequence id expected of the next continuation
    cdef uint64_t total                 # payload bytes announced so far
    cdef readonly int fault_code
    cdef unsigned char header[4]
    cdef int header_length

    cdef void begin(self, unsigned char sequence) noexcept
    cdef Py_ssize_t feed(
        self, const unsigned char* data, Py_ssize_t length, bint* complete) noexcept
