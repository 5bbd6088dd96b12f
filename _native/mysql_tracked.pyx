# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""Session state in an OK: what the session learns of it, and what its client is shown.

The flags that all answers have are read here; everything else is `driver.tracked`'s.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from hproxy._native.cursor cimport load2, read_lenenc
from hproxy._native.decision cimport TRAIT_BEGINS, TRAIT_MULTI
from hproxy._native.mysql_leasing cimport (
    PIN_NEXT_TRANSACTION,
    STATUS_IN_TRANSACTION,
    Leasing,
)
from hproxy._native.mysql_session cimport SESSION_CLOSED

cdef enum:
    STATUS_STATE_CHANGED = 0x4000
    EOF_FRAME = 9                   # bytes of an EOF and its head; what it says has no details
    TRACK_GTIDS = 3
    TRACK_CHARACTERISTICS = 4
    TRACK_STATE = 5
    STATE_ENTRY = 11                # kind, length, length of the text, 8 letters

cdef const char** BEGUN = [
    b"\x0b\x05\x09\x08________", b"\x0b\x05\x09\x08T_______", b"\x0b\x05\x09\x08T_R_____"]


cdef class Tracked(Leasing):

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
