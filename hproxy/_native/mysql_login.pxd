# SPDX-License-Identifier: Apache-2.0
# The map of mysql_login: logins like ones that were seen before, without the slow lane.
#
# Memory: an Admission holds the account, what its password is checked with, and the session
# that new ones are made like. A Guest lives from the greeting to the end of its login; the
# client's response is kept while the answer to a switch of plugins is awaited.
# Failure: a Guest never refuses. Whatever is not the usual goes to `driver` (Python), with all
# the bytes read so far, and is judged there from its beginning. The GIL is held.

from hproxy._native.channel cimport Channel
from hproxy._native.endpoint cimport Endpoint, Owner
from hproxy._native.mysql_multiplex cimport Multiplexed
from hproxy._native.proof cimport SCRAMBLE_BYTES, ScrambleSource
from hproxy._native.reactor cimport Reactor

cdef enum:
    RESPONSE_MOST = 16384      # payload bytes of a response that is looked at here
    KNOWN_MOST = 4096          # admissions remembered
    SHAPES_MOST = 256


cdef struct Response:          # where the parts of a HandshakeResponse41 are, from its payload on
    unsigned int capabilities
    Py_ssize_t user_end        # its NUL
    Py_ssize_t proof           # the answer to the scramble, behind its length
    Py_ssize_t proof_length
    Py_ssize_t plugin
    Py_ssize_t rest            # connection attributes, or the end


cdef class Greeting:
    cdef bytes frame
    cdef Py_ssize_t at_id      # of the connection id, in the frame
    cdef readonly object settings
    cdef readonly object profile
    cdef readonly object heard


cdef class Admission:
    cdef readonly object account
    cdef readonly object login
    cdef readonly object facts
    cdef readonly object kind
    cdef readonly bint switched
    cdef object secret         # of the account, when this was learned
    cdef bytes stored          # hash of the hash of the password; b"" for none
    cdef bint sha2
    cdef bytes plugin
    cdef bytes ok
    cdef Multiplexed mould     # None: nobody's, nothing proves it

    cdef bint proven(
        self, const unsigned char* answer, Py_ssize_t length,
        const unsigned char* scramble) noexcept


cdef class Greeter:
    cdef Reactor reactor
    cdef object services
    cdef object driver
    cdef ScrambleSource source
    cdef Greeting greeting
    cdef dict known            # what a response says, without its proof -> Admission
    cdef dict shapes           # the same for those that are no account's
    cdef object users          # whose admissions are known
    cdef object settings

    cdef Greeting current(self)
    cdef bint holds(self, Admission admission) except -1
    cdef bint shut(self, Guest guest) except -1
    cdef Admission find(self, Guest guest, const unsigned char* p, Response* at)


cdef class Guest(Owner):
    cdef Greeter greeter
    cdef Endpoint end
    cdef readonly object connection
    cdef Greeting greeting
    cdef double deadline       # clock seconds
    cdef unsigned char scramble[SCRAMBLE_BYTES]
    cdef unsigned char switched[SCRAMBLE_BYTES]
    cdef Admission admission   # whose proof is awaited under another plugin
    cdef bytes response        # the frame that asked for it
    cdef readonly bytes key
    cdef readonly bytes shape
    cdef bytes attributes
    cdef bint secure           # over a Unix socket

    cdef bytes challenge(self, bytes plugin)
    cdef Py_ssize_t respond(self, const unsigned char* data, Py_ssize_t size) except -1
    cdef int admit(self, Admission admission, int sequence) except -1
    cdef Channel hand_over(self, double seconds)
