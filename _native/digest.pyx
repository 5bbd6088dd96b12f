# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""What is left of a statement when its values are taken out, and its hash, in one pass.

    SELECT a, b  FROM t WHERE id IN (1, 2, -3) AND c = 'x' -- why
    SELECT a,b FROM t WHERE id IN (?,...) AND c=?

  values       every string and number becomes ?, a sign right in front of one with it when
               `(`, `,` or a comparison precedes; NULL, TRUE, FALSE and introducers stay
  lists        ?,?,? becomes ?,... and equal rows of values (?,...),(?,...) become (?,...),...
  comments     are left out; the code in /*! */ is part of the text, /*+ hints */ stay
  white space  where words meet, on both sides of `*` as an operator or column list, behind `)`
               before a word, between two operators; nowhere else. Only WORD ( and WORD( remain
               different: for the servers one may be a function and the other a name
  `;`          several are one, and none is left at the end

Names keep their case and their quotes. Tokens are cut as protocols/mysql/lexer.py cuts them;
the twin of this file is tests/native/digest_reference.py.

One long file: the primitives are inlined into the one function that runs for every statement,
which they can only be where the compiler sees both.
"""

cimport cython
from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memmove, memset

import os

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    #define HPROXY_ONES 0x0101010101010101u

    static inline uint64_t hproxy_load(const unsigned char* p) {
        uint64_t v; memcpy(&v, p, 8); return v;
    }
    /* Both halves of the product: every bit of the factors moves every bit of the result. */
    static inline uint64_t hproxy_mix(uint64_t a, uint64_t b) {
        unsigned __int128 r = (unsigned __int128)a * b;
        return (uint64_t)r ^ (uint64_t)(r >> 64);
    }
    /* Whether one of eight bytes is equal to `byte`. */
    static inline int hproxy_has(uint64_t v, unsigned char byte) {
        v ^= HPROXY_ONES * byte;
        return ((v - HPROXY_ONES) & ~v & (HPROXY_ONES << 7)) != 0;
    }
    /* How many of the eight bytes at p, from the first on, are digits. */
    static inline int hproxy_digits(const unsigned char* p) {
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        uint64_t v = hproxy_load(p) ^ HPROXY_ONES * '0';
        v = ((v & HPROXY_ONES * 0x7F) + HPROXY_ONES * 0x76) | v;  /* the top bit: above nine */
        v &= HPROXY_ONES << 7;
        return v ? __builtin_ctzll(v) >> 3 : 8;
    #else
        int n = 0;
        while (n < 8 && p[n] >= '0' && p[n] <= '9') n++;
        return n;
    #endif
    }
    /* Copy sixteen bytes; how many of them, from the first on, may stand in a word. */
    static inline int hproxy_word(
        unsigned char* to, const unsigned char* p, const unsigned char* table
    ) {
    #if defined(__SSE2__)
        __m128i v = _mm_loadu_si128((const __m128i*)p);
        __m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
        __m128i alpha = _mm_sub_epi8(lower, _mm_set1_epi8('a'));
        __m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));
        __m128i word = _mm_or_si128(
            _mm_cmpeq_epi8(_mm_min_epu8(alpha, _mm_set1_epi8(25)), alpha),
            _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
        word = _mm_or_si128(word, _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
        word = _mm_or_si128(word, _mm_cmpeq_epi8(v, _mm_set1_epi8('$')));
        word = _mm_or_si128(word, v);                   /* the top bit: 0x80 and above */
        _mm_storeu_si128((__m128i*)to, v);
        return __builtin_ctz(~(unsigned)_mm_movemask_epi8(word));
    #else
        int n = 0;
        memcpy(to, p, 16);
        while (n < 16 && table[p[n]]) n++;
        return n;
    #endif
    }
    """
    uint64_t load "hproxy_load"(const unsigned char* p) noexcept nogil
    uint64_t mix "hproxy_mix"(uint64_t a, uint64_t b) noexcept nogil
    bint has "hproxy_has"(uint64_t v, unsigned char byte) noexcept nogil
    int eight_digits "hproxy_digits"(const unsigned char* p) noexcept nogil
    int copy_word "hproxy_word"(
        unsigned char* to, const unsigned char* p, const unsigned char* table
    ) noexcept nogil

TEXT_BYTES = MAX_TEXT

cdef enum:
    # Modes, as the lexer counts them.
    ANSI_QUOTES = 1
    NO_BACKSLASH_ESCAPES = 2
    FAMILY = 28
    GBK = 4
    SJIS = 8
    BIG5 = 12
    GB18030 = 16

    SLACK = 64             # free at the top of the buffer: one step writes less
    KEPT = 32              # bytes that are never hashed early: a row taken back is 8
    SHORT = 16             # bytes of a word or name that are copied in one go

# What a byte may begin; from DIGIT on it may be a value.
cdef enum Class:
    OTHER, SPACE, LETTER, BACKTICK, AT, COMMA, OPEN, CLOSE, BRACE, UNBRACE, SEMICOLON, STAR
    SLASH, HASH, LESS, MORE, EQUAL, BANG, TWICE, COLON
    DIGIT, STRING, DOUBLE, PREFIX, MARK, DOT, DASH, PLUS

# What stands before: from OPERATOR on an operator keeps away from it, from TIMES on a word.
cdef enum Last:
    NOTHING, AFTER_OPEN, AFTER_COMMA, AFTER_DOT, AFTER_SEMICOLON, AFTER_BRACE
    OPERATOR, COMPARISON, TIMES, AFTER_CLOSE, VALUE, NAME, WORD

# How far a list of values has come, and what a row of them looked like.
cdef enum Run:
    NO_RUN, ONE, MANY

cdef unsigned char CLASS[256]
cdef unsigned char IDENTIFIER[256]              # may stand in a word
cdef uint64_t SECRET[8]                         # this process's key


cdef int prepare() except -1:
    """Fill the tables; the key is drawn once for the process."""
    cdef int byte
    for byte in range(256):
        letter = byte >= 0x80 or chr(byte).isalnum() or chr(byte) in "_$"
        IDENTIFIER[byte] = letter
        CLASS[byte] = LETTER if letter else OTHER
    for found, characters in (
        (SPACE, " \t\n\v\f\r"), (DIGIT, "0123456789"), (PREFIX, "xXbBnN"), (STRING, "'"),
        (DOUBLE, '"'), (BACKTICK, "`"), (DOT, "."), (AT, "@"), (MARK, "?"), (COMMA, ","),
        (OPEN, "("), (CLOSE, ")"), (BRACE, "{"), (UNBRACE, "}"), (SEMICOLON, ";"), (STAR, "*"),
        (SLASH, "/"), (DASH, "-"), (PLUS, "+"), (HASH, "#"), (LESS, "<"), (MORE, ">"),
        (EQUAL, "="), (BANG, "!"), (TWICE, "&|"), (COLON, ":"),
    ):
        for character in characters:
            CLASS[<int>ord(character)] = <unsigned char>found
    drawn = os.urandom(sizeof(SECRET))
    memcpy(SECRET, PyBytes_AS_STRING(drawn), sizeof(SECRET))
    return 0


prepare()


cdef inline bint digit(unsigned char c) noexcept:
    return c <= c'9' and c >= c'0'


cdef Py_ssize_t character(
    const unsigned char* p, const unsigned char* end, int family
) noexcept:
    """Bytes of the character at `p` where lead bytes take others with them; 1 for any other."""
    cdef unsigned char lead = p[0], trail
    if lead < 0x81 or end - p < 2:
        return 1
    trail = p[1]
    if family == SJIS:
        if lead > 0xFC or 0x9F < lead < 0xE0 or trail > 0xFC:
            return 1
    elif family == BIG5:
        if lead < 0xA1 or lead > 0xF9 or trail == 0xFF or 0x7E < trail < 0xA1:
            return 1
    elif lead == 0xFF or trail == 0xFF:
        return 1
    elif family == GB18030 and digit(trail):
        return 4 if end - p >= 4 and 0x81 <= p[2] <= 0xFE and digit(p[3]) else 1
    return 2 if trail >= 0x40 and trail != 0x7F else 1


cdef inline const unsigned char* word_end(
    const unsigned char* p, const unsigned char* end, int family
) noexcept:
    if family == 0:
        while p < end and IDENTIFIER[p[0]]:
            p += 1
        return p
    while p < end and IDENTIFIER[p[0]]:
        p += character(p, end, family)
    return p


cdef inline const unsigned char* digits_end(
    const unsigned char* p, const unsigned char* end
) noexcept:
    cdef int count = 8
    while count == 8 and end - p >= 8:
        count = eight_digits(p)
        p += count
    if count == 8:
        while p < end and digit(p[0]):
            p += 1
    return p


cdef const unsigned char* exponent_end(
    const unsigned char* p, const unsigned char* end
) noexcept:
    """Behind the exponent at `p`, or `p` when none is there."""
    cdef const unsigned char* q = p
    if q < end and (q[0] == c'e' or q[0] == c'E'):
        q += 1
        if q < end and (q[0] == c'+' or q[0] == c'-'):
            q += 1
        if q < end and digit(q[0]):
            return digits_end(q, end)
    return p


cdef const unsigned char* based_end(
    const unsigned char* p, const unsigned char* end
) noexcept:
    """Behind 0x1F or 0b01; NULL when it is a word that begins so."""
    cdef bint hexadecimal = p[1] == c'x'
    cdef const unsigned char* first = p + 2
    p = first
    while p < end and (
        (digit(p[0]) or c'a' <= p[0] <= c'f' or c'A' <= p[0] <= c'F')
        if hexadecimal else (p[0] == c'0' or p[0] == c'1')
    ):
        p += 1
    if p == first or (p < end and IDENTIFIER[p[0]]):
        return NULL
    return p


cdef inline const unsigned char* number_end(
    const unsigned char* p, const unsigned char* end
) noexcept:
    """Behind the number at `p`, a digit or a dot and a digit; NULL when it is a word."""
    cdef const unsigned char* q = digits_end(p, end)
    if q == end:
        return q
    if not IDENTIFIER[q[0]]:
        if q[0] == c'.':
            q = digits_end(q + 1, end)
            return exponent_end(q, end)
        return q
    if q - p == 1 and p[0] == c'0' and (q[0] == c'x' or q[0] == c'b'):
        return based_end(p, end)
    p = exponent_end(q, end)
    if p == q:
        return NULL
    return p


cdef inline bint signed_number(const unsigned char* p, const unsigned char* end) noexcept:
    """Whether a number, or a word that looks like one, stands right behind the sign at `p`."""
    if end - p < 2:
        return False
    return digit(p[1]) or (p[1] == c'.' and end - p > 2 and digit(p[2]))


cdef const unsigned char* quoted_end(
    const unsigned char* p, const unsigned char* end, bint escapes, int family
) noexcept:
    """Behind the quote that closes the one at `p`, or `end`."""
    cdef unsigned char quote = p[0]
    cdef unsigned char special = c'\\' if escapes else quote
    cdef uint64_t eight
    p += 1
    while p < end:
        if family == 0:
            while end - p >= 8:
                eight = load(p)
                if has(eight, quote) or has(eight, special):
                    break
                p += 8
            if p == end:
                break
        if p[0] == quote:
            if end - p < 2 or p[1] != quote:
                return p + 1
            p += 2
        elif p[0] == c'\\' and escapes:
            # One byte, not one character: so do the servers.
            p += 2 if end - p >= 2 else 1
        else:
            p += 1 if family == 0 else character(p, end, family)
    return end


cdef const unsigned char* list_end(
    const unsigned char* p, const unsigned char* end, bint escapes, int family
) noexcept:
    """Behind the values that follow the one before `p`, each after a comma: plain ones only."""
    cdef const unsigned char* q
    while p < end and p[0] == c',':
        q = p + 1
        while q < end and q[0] == c' ':
            q += 1
        if q == end:
            break
        if digit(q[0]):
            q = number_end(q, end)
            if q == NULL:
                break
        elif q[0] == c"'":
            q = quoted_end(q, end, escapes, family)
        else:
            break
        p = q
    return p


cdef const unsigned char* line_end(const unsigned char* p, const unsigned char* end) noexcept:
    cdef const void* found = memchr(p, c'\n', <size_t>(end - p))
    return end if found == NULL else <const unsigned char*>found


cdef const unsigned char* comment_end(const unsigned char* p, const unsigned char* end) noexcept:
    """Behind the first `*/` from `p` on, or `end`."""
    cdef const void* found
    while end - p >= 2:
        found = memchr(p, c'*', <size_t>(end - p - 1))
        if found == NULL:
            break
        p = <const unsigned char*>found + 1
        if p[0] == c'/':
            return p + 1
    return end


cdef const unsigned char* opening_end(const unsigned char* p, const unsigned char* end) noexcept:
    """Behind the `/*!` or `/*M!` at `p` and its version; NULL when it is another comment."""
    cdef const unsigned char* q
    p += 2
    if p < end and p[0] == c'M':
        p += 1
    if p == end or p[0] != c'!':
        return NULL
    p += 1
    q = p
    while q < end and q - p < 6 and digit(q[0]):
        q += 1
    return q if q - p >= 5 else p


cdef const unsigned char* variable_end(
    const unsigned char* p, const unsigned char* end, int modes
) noexcept:
    """Behind the variable whose @ is at `p`."""
    cdef const unsigned char* part
    p += 1
    if p == end:
        return p
    if p[0] == c'@':
        p += 1
        part = part_end(p, end, modes)
        while part != NULL:
            p = part
            part = NULL
            if p < end and p[0] == c'.':
                part = part_end(p + 1, end, modes)
        return p
    if p[0] == c'`':
        return quoted_end(p, end, False, modes & FAMILY)
    if p[0] == c"'":
        return quoted_end(p, end, not modes & NO_BACKSLASH_ESCAPES, modes & FAMILY)
    if p[0] == c'"':
        return quoted_end(
            p, end, not modes & (NO_BACKSLASH_ESCAPES | ANSI_QUOTES), modes & FAMILY
        )
    while p < end and (IDENTIFIER[p[0]] or p[0] == c'.'):
        p += 1
    return p


cdef const unsigned char* part_end(
    const unsigned char* p, const unsigned char* end, int modes
) noexcept:
    """Behind one part of a system variable's name; NULL when none is there."""
    if p == end:
        return NULL
    if p[0] == c'`' or (p[0] == c'"' and modes & ANSI_QUOTES):
        return quoted_end(p, end, False, modes & FAMILY)
    if not IDENTIFIER[p[0]]:
        return NULL
    return word_end(p, end, 0)


cdef uint64_t stable(const unsigned char* text, Py_ssize_t length) noexcept:
    cdef uint64_t value = 0xCBF29CE484222325, prime = 0x100000001B3
    cdef Py_ssize_t i
    for i in range(length):
        value = (value ^ text[i]) * prime
    return value


@cython.final
cdef class Digester:

    def __cinit__(self):
        self.text = <unsigned char*>malloc(BUFFER)
        if self.text == NULL:
            raise MemoryError("no memory for a digest")

    def __dealloc__(self):
        free(self.text)

    cdef int run(self, const unsigned char* sql, Py_ssize_t length, int modes) noexcept:
        # One long function, a branch for each class of bytes: the position in the text and
        # what stands before must stay in registers.
        cdef const unsigned char* p = sql
        cdef const unsigned char* end = sql + length
        cdef const unsigned char* q
        cdef const unsigned char* behind_word = NULL    # a ( here touches the word
        cdef unsigned char* out = self.text
        cdef Py_ssize_t n = 0, size
        cdef int family = modes & FAMILY
        cdef bint escapes = not modes & NO_BACKSLASH_ESCAPES
        cdef bint code = False                          # in an executable comment
        cdef int last = NOTHING
        cdef int found
        cdef int run = NO_RUN                           # of values, up to here
        cdef bint opens = False                         # it is all there is behind the (
        cdef int row = NO_RUN                           # of the row of values before
        cdef bint rows = False                          # it stands for several
        cdef unsigned char c

        self.dropped = 0
        self.comment_at = -1
        self.comment_size = 0
        self.a = mix(SECRET[0] ^ <uint64_t>modes, SECRET[1])
        self.b = mix(SECRET[2] ^ <uint64_t>modes, SECRET[3])
        while p < end:
            if n > BUFFER - SLACK:
                n = self.drain(n)
            c = p[0]
            found = CLASS[c]

            if found == SPACE:
                p += 1
                continue

            # What may be a value, or begin like one.
            q = NULL
            if found >= DIGIT:
                if found == DIGIT:
                    q = number_end(p, end)
                    if q == NULL:
                        found = LETTER
                elif found == STRING:
                    q = quoted_end(p, end, escapes, family)
                elif found == PREFIX:
                    if end - p >= 2 and p[1] == c"'":
                        q = quoted_end(p + 1, end, escapes, family)
                    else:
                        found = LETTER
                elif found == MARK:
                    q = p + 1
                elif found == DOUBLE:
                    if modes & ANSI_QUOTES:
                        found = BACKTICK
                    else:
                        q = quoted_end(p, end, escapes, family)
                elif found == DOT:
                    if end - p >= 2 and digit(p[1]):
                        q = number_end(p, end)
                    else:
                        out[n] = c'.'
                        n += 1
                        p += 1
                        last = AFTER_DOT
                        run = NO_RUN
                        row = NO_RUN
                        if p == end or not IDENTIFIER[p[0]]:
                            continue
                        # Right behind a dot stands a name, whatever it looks like.
                        found = LETTER
                elif (
                    last == AFTER_COMMA or last == AFTER_OPEN or last == COMPARISON
                ) and signed_number(p, end):
                    q = number_end(p + 1, end)
            if q != NULL:
                p = q
                if last == AFTER_COMMA and run != NO_RUN:
                    if run == ONE:
                        memcpy(out + n, b"...", 4)
                        n += 3
                        run = MANY
                    else:
                        n -= 1                          # the comma
                    # More of them change nothing.
                    p = list_end(p, end, escapes, family)
                else:
                    opens = last == AFTER_OPEN
                    if not opens:
                        row = NO_RUN
                    if last >= TIMES:
                        out[n] = c' '
                        n += 1
                    out[n] = c'?'
                    n += 1
                    run = ONE
                last = VALUE
                continue

            if found == LETTER:
                run = NO_RUN
                row = NO_RUN
                while True:
                    if last >= TIMES:
                        out[n] = c' '
                        n += 1
                    size = 0
                    if family == 0 and end - p >= SHORT:
                        size = copy_word(out + n, p, IDENTIFIER)
                        n += size
                        p += size
                        size = SHORT - size
                    if size == 0:
                        q = p
                        p = word_end(p, end, family)
                        n = self.append(n, q, p - q)
                    last = WORD
                    if end - p < 2 or p[0] != c'.' or not IDENTIFIER[p[1]]:
                        break
                    if n > BUFFER - SLACK:
                        n = self.drain(n)
                    out[n] = c'.'
                    n += 1
                    last = AFTER_DOT
                    p += 1
                behind_word = p
                continue

            if found == COMMA:
                if last != VALUE:
                    run = NO_RUN
                    if last != AFTER_CLOSE:
                        row = NO_RUN
                elif not opens:
                    row = NO_RUN
                out[n] = c','
                n += 1
                last = AFTER_COMMA
                p += 1
                continue

            if found == OPEN:
                if last != AFTER_COMMA or run != NO_RUN:
                    row = NO_RUN
                if last == WORD and p != behind_word:
                    out[n] = c' '
                    n += 1
                out[n] = c'('
                n += 1
                run = NO_RUN
                last = AFTER_OPEN
                p += 1
                continue

            if found == CLOSE:
                out[n] = c')'
                n += 1
                if last == VALUE and opens:
                    if run == row:
                        # The row before once more: back to the comma, or before it.
                        n -= 4 if run == ONE else 8
                        if not rows:
                            memcpy(out + n, b",...", 4)
                            n += 4
                            rows = True
                    else:
                        row = run
                        rows = False
                else:
                    row = NO_RUN
                run = NO_RUN
                last = AFTER_CLOSE
                p += 1
                continue

            # The comments; what is none of them goes on as an operator.
            if found == SLASH and end - p >= 2 and p[1] == c'*':
                q = opening_end(p, end)
                if q != NULL:
                    code = True
                    p = q
                    continue
                q = comment_end(p + 2, end)
                if end - p < 3 or p[2] != c'+':
                    if self.comment_at < 0 and q - p >= 4 and \
                            (q - 1)[0] == c'/' and (q - 2)[0] == c'*':
                        self.comment_at = p + 2 - sql
                        self.comment_size = q - p - 4
                    p = q
                    continue
                # A hint is copied as it is.
                found = BACKTICK
            elif found == DASH:
                if end - p >= 2 and p[1] == c'-' and (
                    end - p == 2 or p[2] <= c' ' or p[2] == 0x7F
                ):
                    p = line_end(p, end)
                    continue
            elif found == HASH:
                p = line_end(p, end)
                continue
            elif found == STAR and code and end - p >= 2 and p[1] == c'/':
                code = False
                p += 2
                continue

            # No value, no row goes beyond anything else.
            run = NO_RUN
            row = NO_RUN

            if found == BACKTICK or found == AT:
                if found == AT:
                    q = variable_end(p, end, modes)
                elif c != c'/':
                    q = quoted_end(p, end, False, family)
                if last >= TIMES:
                    out[n] = c' '
                    n += 1
                if q - p <= SHORT and end - p >= SHORT:
                    memcpy(out + n, p, SHORT)
                    n += q - p
                else:
                    n = self.append(n, p, q - p)
                last = NAME
                p = q
                continue

            if found == SEMICOLON:
                if last != AFTER_SEMICOLON:
                    out[n] = c';'
                    n += 1
                    last = AFTER_SEMICOLON
                p += 1
                continue

            if found == BRACE or found == UNBRACE:
                out[n] = c
                n += 1
                last = AFTER_BRACE if found == BRACE else AFTER_CLOSE
                p += 1
                continue

            # Operators, from one to three bytes.
            if last >= OPERATOR and (last <= TIMES or found == STAR):
                out[n] = c' '
                n += 1
            size = 1
            last = OPERATOR
            if found == STAR:
                last = TIMES
            elif found == EQUAL:
                last = COMPARISON
            elif found == LESS:
                last = COMPARISON
                if end - p >= 2:
                    if p[1] == c'=':
                        size = 3 if end - p >= 3 and p[2] == c'>' else 2
                    elif p[1] == c'>':
                        size = 2
                    elif p[1] == c'<':
                        size = 2
                        last = OPERATOR
            elif found == MORE:
                last = COMPARISON
                if end - p >= 2:
                    if p[1] == c'=':
                        size = 2
                    elif p[1] == c'>':
                        size = 2
                        last = OPERATOR
            elif found == BANG or found == COLON:
                if end - p >= 2 and p[1] == c'=':
                    size = 2
                    last = COMPARISON
            elif found == TWICE:
                if end - p >= 2 and p[1] == c:
                    size = 2
            elif found == DASH:
                if end - p >= 2 and p[1] == c'>':
                    size = 3 if end - p >= 3 and p[2] == c'>' else 2
            out[n] = c
            if size > 1:
                out[n + 1] = p[1]
                out[n + 2] = p[size - 1]
            n += size
            p += size

        if last == AFTER_SEMICOLON:
            n -= 1
        self.finish(n)
        return 0

    cdef Py_ssize_t append(
        self, Py_ssize_t n, const unsigned char* data, Py_ssize_t length
    ) noexcept:
        """Write `data` at `n`; the new end of the text, with the slack free above it."""
        cdef Py_ssize_t room
        while True:
            room = BUFFER - n
            if room > length:
                room = length
            memcpy(self.text + n, data, room)
            n += room
            data += room
            length -= room
            if n > BUFFER - SLACK:
                n = self.drain(n)
            if length == 0:
                return n

    cdef Py_ssize_t drain(self, Py_ssize_t n) noexcept:
        """Hash what is above MAX_TEXT and drop it, but for its end; the new end of the text."""
        cdef Py_ssize_t stop = (n - KEPT) & ~15
        self.absorb(MAX_TEXT if self.dropped else 0, stop)
        memmove(self.text + MAX_TEXT, self.text + stop, n - stop)
        self.dropped += stop - MAX_TEXT
        return n - stop + MAX_TEXT

    cdef void absorb(self, Py_ssize_t start, Py_ssize_t stop) noexcept:
        """Hash whole blocks of sixteen bytes, in two lanes that see them from either side."""
        cdef const unsigned char* p = self.text + start
        cdef const unsigned char* end = self.text + stop
        cdef uint64_t a = self.a, b = self.b, first, second
        while p < end:
            first = load(p)
            second = load(p + 8)
            a = mix(first ^ SECRET[4], second ^ a)
            b = mix(second ^ SECRET[5], first ^ b)
            p += 16
        self.a = a
        self.b = b

    cdef void finish(self, Py_ssize_t n) noexcept:
        """Hash the rest of a text that ends at `n`, and its length; set what is to be read."""
        cdef Py_ssize_t start = MAX_TEXT if self.dropped else 0
        cdef Py_ssize_t stop = n & ~15
        cdef unsigned char rest[16]
        cdef uint64_t first, second
        self.absorb(start, stop)
        memset(rest, 0, 16)
        memcpy(rest, self.text + stop, n - stop)
        self.total = self.dropped + n
        self.truncated = self.total > MAX_TEXT
        self.size = MAX_TEXT if self.truncated else self.total
        first = load(rest) ^ <uint64_t>self.total
        second = load(rest + 8)
        self.a = mix(first ^ SECRET[4], second ^ self.a)
        self.b = mix(second ^ SECRET[5], first ^ self.b)
        self.low = mix(self.a ^ SECRET[6], self.b ^ SECRET[7])
        self.high = mix(self.a ^ SECRET[7], SECRET[6] + self.b)

    def read(self, sql, int modes=0):
        cdef Py_buffer view
        PyObject_GetBuffer(sql, &view, PyBUF_SIMPLE)
        self.run(<const unsigned char*>view.buf, view.len, modes)
        PyBuffer_Release(&view)
        return PyBytes_FromStringAndSize(<const char*>self.text, self.size)


def digest(sql, int modes=0):
    return Digester().read(sql, modes)


def first_comment(const unsigned char[::1] sql not None, int modes=0):
    cdef Digester digester
    if not sql.shape[0]:
        return b""
    digester = Digester()
    digester.run(&sql[0], sql.shape[0], modes)
    if digester.comment_at < 0:
        return b""
    return PyBytes_FromStringAndSize(
        <const char*>&sql[0] + digester.comment_at, digester.comment_size)


def stable_hash(const unsigned char[::1] text not None):
    return stable(&text[0] if text.shape[0] else NULL, text.shape[0])
