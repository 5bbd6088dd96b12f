# SPDX-License-Identifier: Apache-2.0
# The map of pool: backend connections that are shared, and the sessions that wait for one.
#
# Memory: a bucket owns its idle connections; a connection in use is owned by the session that
# holds it (`holder`). Settings are compared by identity: equal ones are one object.
# Failure: an idle connection that hears anything is given to the driver, which closes it.
# The GIL is held.

from libc.stdint cimport uint32_t, uint64_t
from hproxy._native.endpoint cimport Endpoint, Owner
from hproxy._native.ledger cimport Row
from hproxy._native.phases cimport PhaseTimes
from hproxy._native.statements cimport BackendStatements


cdef class Borrower(Owner):            # a session, as the pool sees it
    cdef Group queue                    # whose connection it waits for; None when it does not
    cdef readonly double waiting_since  # reactor seconds

    cdef int granted(self, BackendConnection connection) except -1


cdef class Server:                     # one backend of one hostgroup
    cdef public object backend
    cdef public Py_ssize_t limit        # connections it may have
    cdef public Py_ssize_t opened       # connections it has, those on their way included
    cdef public bint online             # takes sessions that are free to choose
    cdef public bint closing            # the operator took it out: connections are not kept
    cdef public double weight
    cdef public double renewed_at       # connections opened before are not kept
    cdef readonly Py_ssize_t waiting    # sessions waiting in any of its groups
    cdef readonly Py_ssize_t idle       # idle connections of all its groups
    cdef readonly Py_ssize_t leaving    # of `opened`: closed here, not yet there
    cdef readonly Py_ssize_t used       # held by sessions
    cdef public Py_ssize_t most_used    # at the same time
    cdef public uint64_t queries        # statements it has answered
    cdef public uint64_t bytes_sent     # of these statements
    cdef public uint64_t bytes_received     # of their answers
    cdef readonly Row row               # what all workers have there; None: there is one worker
    cdef public bint asked              # other workers know that sessions wait here

    cdef bint room_left(self) noexcept


cdef class Shelf:                      # idle connections of one bucket that are set alike
    cdef object settings
    cdef BackendConnection top          # the latest used; the others are under it


cdef class Bucket:                     # connections of one group to one server
    cdef readonly Server server
    cdef readonly Group group
    cdef public Py_ssize_t opened       # logged in: idle or held
    cdef public Py_ssize_t connecting
    cdef public Py_ssize_t owed         # to be handed to other groups as they come back
    cdef readonly Py_ssize_t leaving
    cdef readonly Py_ssize_t idle
    cdef dict matching                  # settings -> Shelf
    cdef Shelf recent                   # the one used last, which alone may be empty
    cdef BackendConnection newest       # idle ones by their last use
    cdef BackendConnection oldest

    cdef int turn_to(self, Shelf shelf) except -1
    cdef int push(self, BackendConnection connection) except -1
    cdef int take(self, BackendConnection connection) except -1
    cdef BackendConnection match(self, object settings)
    cpdef bint enter(self) noexcept
    cpdef void leave(self) noexcept
    cpdef int adopt(self) except -1


cdef class Group:                      # one hostgroup, account and set of capabilities
    cdef readonly object key
    cdef readonly list buckets
    cdef readonly Py_ssize_t waiting
    cdef public Py_ssize_t queue_limit  # sessions that may wait; one more is refused
    cdef public bint full               # may not grow for now, whatever room servers have
    cdef public bint sticky             # a session keeps the connection it got
    cdef public uint64_t waited         # sessions that had to wait, ever
    cdef public uint64_t acquired       # connections that were given out, ever
    cdef public double wait_seconds     # of those that were given one after a wait
    cdef public uint64_t released       # connections that came back in a known state
    cdef public int hostgroup
    cdef public PhaseTimes times        # of its statements; None: nobody asks
    cdef public Row row                 # what the account has in all workers; None: one worker
    cdef public Py_ssize_t limit        # for that
    cdef object queued                  # who waits, in order: keys of an OrderedDict
    cdef object driver

    cdef Bucket draw(self)
    cdef BackendConnection take(self, object settings)
    cdef BackendConnection take_beside(self, object settings, Server avoided)
    cdef BackendConnection take_shunned(self, object settings)
    cdef bint may_grow(self) noexcept
    cdef int wait(self, Borrower borrower) except -1
    cdef int withdraw(self, Borrower borrower) except -1
    cdef Borrower next_waiter(self)
    cdef int release(self, BackendConnection connection) except -1


cdef class BackendConnection(Owner):
    cdef readonly Endpoint endpoint
    cdef readonly Bucket bucket
    cdef readonly object login          # the backend's LoginResult
    cdef public object settings         # what it is set to
    cdef public object base             # what it was set to after its login
    cdef public bint retired            # closed instead of going back
    cdef public uint64_t rows_of        # serial of the session FOUND_ROWS() belongs to
    cdef public uint64_t insert_id      # what LAST_INSERT_ID() was when it was last known
    cdef public uint64_t insert_owner   # serial of the session LAST_INSERT_ID() belongs to
    cdef public uint64_t warned_by      # serial of the session whose warnings it may still have
    cdef readonly uint64_t uses         # statements it has run
    cdef readonly double opened_at      # reactor seconds
    cdef readonly double used_at
    cdef public double asked_at         # when it was last pinged
    cdef public double retire_at        # too old to go back from then on; 0 = never
    cdef readonly BackendStatements statements
    cdef Borrower holder
    cdef bint is_idle
    cdef readonly bint gone             # closed, or about to be
    cdef readonly bint leaving          # QUIT was sent, the server has not closed yet
    cdef Shelf shelf                    # where it lies while it is idle,
    cdef BackendConnection over         # its neighbours there,
    cdef BackendConnection under
    cdef BackendConnection newer        # and those in its bucket
    cdef BackendConnection older

    cdef int lost(self, str reason) except -1
    cdef int depart(self) except -1
    cdef int part(self) except -2


cdef class Applicant(Borrower):
    cdef readonly object future
    cdef readonly object settings
