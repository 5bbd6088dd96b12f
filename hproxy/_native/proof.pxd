# SPDX-License-Identifier: Apache-2.0
# The map of proof: password proofs that need nothing but hashing, and their scrambles.
#
# Memory: everything is on the stack; a source holds POOL_BYTES of chance nobody has seen yet.
# Failure: only the kernel's refusal of random bytes raises. The GIL is held.

cdef enum:
    SCRAMBLE_BYTES = 20
    POOL_BYTES = 256           # the most that getrandom(2) gives in one piece

# `answer` and `stored` have 32 bytes for SHA-256, 20 for SHA-1; `scramble` SCRAMBLE_BYTES.
cdef bint proves(
    const unsigned char* answer, const unsigned char* scramble,
    const unsigned char* stored, bint sha2) noexcept


cdef class ScrambleSource:
    cdef unsigned char pool[POOL_BYTES]
    cdef int left              # bytes of it not used yet

    cdef int draw(self, unsigned char* out) except -1
    cdef int refill(self) except -1
