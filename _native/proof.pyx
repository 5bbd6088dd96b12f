# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Password proofs that need nothing but hashing, and the scrambles they are about.

    mysql_native_password   answer ^ SHA1(scramble + stored)   = inner, SHA1(inner) == stored
    caching_sha2_password   answer ^ SHA256(stored + scramble) = inner, SHA256(inner) == stored

`protocols/mysql/scramble.py` has the same arithmetic for whatever comes once.
"""

cimport cython
from libc.errno cimport EINTR, errno
from libc.string cimport memcpy, memset

cdef extern from "sha.h" nogil:
    void sha1_of(const unsigned char* data, size_t length, unsigned char* out)
    void sha256_of(const unsigned char* data, size_t length, unsigned char* out)

# By number: glibc has a function for it since 2.25 only, and a wheel is to run on older ones.
cdef extern from "<sys/syscall.h>" nogil:
    long SYS_getrandom

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)


cdef bint proves(
    const unsigned char* answer, const unsigned char* scramble,
    const unsigned char* stored, bint sha2
) noexcept:
    cdef unsigned char message[52]
    cdef unsigned char mask[32]
    cdef unsigned char found[32]
    cdef int length = 32 if sha2 else 20, i
    cdef unsigned char difference = 0
    if sha2:
        memcpy(message, stored, 32)
        memcpy(message + 32, scramble, SCRAMBLE_BYTES)
        sha256_of(message, 52, mask)
    else:
        memcpy(message, scramble, SCRAMBLE_BYTES)
        memcpy(message + SCRAMBLE_BYTES, stored, 20)
        sha1_of(message, 40, mask)
    for i in range(length):
        mask[i] ^= answer[i]
    if sha2:
        sha256_of(mask, 32, found)
    else:
        sha1_of(mask, 20, found)
    # All of it, wherever it differs first: the time must not tell how much was right.
    for i in range(length):
        difference |= found[i] ^ stored[i]
    memset(mask, 0, sizeof(mask))
    return difference == 0


@cython.final
cdef class ScrambleSource:

    cdef int draw(self, unsigned char* out) except -1:
        """SCRAMBLE_BYTES of chance, without NUL and "$"; each byte is used once."""
        cdef int filled = 0
        cdef unsigned char byte
        while filled < SCRAMBLE_BYTES:
            if self.left == 0:
                self.refill()
            self.left -= 1
            byte = self.pool[self.left] & 0x7F
            self.pool[self.left] = 0
            if byte != 0 and byte != c"$":
                out[filled] = byte
                filled += 1
        return 0

    cdef int refill(self) except -1:
        cdef ssize_t got = -1
        while got < 0:
            got = syscall(SYS_getrandom, <void*>self.pool, <size_t>POOL_BYTES, <unsigned int>0)
            if got < 0 and errno != EINTR:
                raise OSError(errno, "no random bytes")
        self.left = <int>got
        return 0

    def scramble(self):
        cdef unsigned char out[SCRAMBLE_BYTES]
        self.draw(out)
        return out[:SCRAMBLE_BYTES]


def sha1(bytes data not None):
    cdef unsigned char out[20]
    sha1_of(<const unsigned char*><char*>data, len(data), out)
    return out[:20]


def sha256(bytes data not None):
    cdef unsigned char out[32]
    sha256_of(<const unsigned char*><char*>data, len(data), out)
    return out[:32]


def check(bytes answer not None, bytes scramble not None, bytes stored not None):
    cdef Py_ssize_t length = len(stored)
    if len(scramble) != SCRAMBLE_BYTES or length not in (20, 32):
        raise ValueError(f"a scramble of {len(scramble)} bytes, a digest of {length}")
    return len(answer) == length and proves(
        <const unsigned char*><char*>answer, <const unsigned char*><char*>scramble,
        <const unsigned char*><char*>stored, length == 32)
