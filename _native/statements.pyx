# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Prepared statements: one text, many clients, many connections; and the head of an execution.

    StatementCache ── key ──> Statement <── ClientStatement (client's id, types it bound last)
                                  ^                   │ find, bind
                                  └──── BackendStatement (backend's id, types bound last there)

The types of the parameters are sent once ("new parameters bound") and remembered by the server.
The connection that serves a client now may have been told other types by another client: then
they are put into the packet (`bind` answers BIND_TYPES, `typed` makes the packet).

MySQL (8.0.22 and later) remembers more: the first value that is not NULL fixes the class of its
parameter: integer, decimal, double, date, datetime, time or string. What comes later is converted:
after an execution with a number, `SELECT HEX(?)` of the string 'abc' is '0'; and a NULL has the
type of its class. Hence `sticky`: a connection's statement serves a client only if nobody has fixed
what the client has not, otherwise the text is prepared once more. So answers never depend on other
clients; at worst, on a connection new to the client, they are those of a statement just prepared.
A client that binds another class by itself gets what the server makes of it: it becomes `mixed`,
and its BackendStatement is its own (`owner`) as long as it stays on the connection. Measured with
MySQL 9 (tests/integration/test_prepared_sharing.py). Not seen: among strings, whether one was
a number in text, to which `? + 1` gives a type by its value.

Spec: MySQL "COM_STMT_EXECUTE", MariaDB "COM_STMT_EXECUTE", "COM_STMT_BULK_EXECUTE".
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcmp
from hproxy._native.execution cimport (
    CLASS_NONE, CLASS_UNSIGNED, all_null, execute_layout, patch_id, read_types, same_types,
    with_types,
)

from sys import getsizeof

cdef enum:
    LAST_ID = 0xFFFFFFFE        # the one above it means LATEST_ID
    SLOTS = 8                   # a client's first table of ids
    VARIANTS = 16               # times that one connection prepares one text
    ENTRY_BYTES = 104           # what a dict keeps of an entry, rounded up


cdef uint64_t statements_made = 0


# -- statements of a worker ----------------------------------------------------

@cython.final
cdef class Statement:

    def __init__(self, key, bytes text not None, uint16_t params, uint16_t columns,
                 response=b"", decision=None, bint sticky=False):
        global statements_made
        hash(key)               # a key that cannot be one is refused here, not when it is put
        statements_made += 1
        self.number = statements_made
        self.key = key
        self.text = text
        self.params = params
        self.columns = columns
        self.response = response
        self.decision = decision
        self.sticky = sticky
        self.types = []
        self.epoch = -1
        self.memory = ENTRY_BYTES + getsizeof(self) + getsizeof(text)
        self.memory += getsizeof(self.types) + TYPES_KEPT * <Py_ssize_t>sizeof(void*)
        held = response if isinstance(response, (list, tuple)) else ()
        for part in (response, *held):
            self.memory += getsizeof(part)
        for part in key if isinstance(key, tuple) else ():
            # The text is often part of the key; other parts are shared with who made it.
            if isinstance(part, bytes) and part is not text:
                self.memory += getsizeof(part)

    cdef ParameterTypes intern(self, const unsigned char* payload, const ExecuteLayout* layout):
        """The types an execution binds to the "?", the same object for the same types."""
        cdef ParameterTypes types
        cdef Py_ssize_t grown
        for types in self.types:
            if same_types(payload, layout, types):
                return types
        types = read_types(payload, layout, self.params)
        grown = getsizeof(types) + getsizeof(types.wire) + getsizeof(types.shape)
        # Not kept is not wrong: whoever bound them holds them, and equal ones are compared.
        if len(self.types) >= TYPES_KEPT or not self.room(grown):
            return types
        self.types.append(types)
        self.memory += grown
        self.cache.memory += grown
        return types

    cdef bint room(self, Py_ssize_t grown) noexcept:
        """Only what is accounted for is kept."""
        return self.cache is not None and self.cache.memory + grown <= self.cache.max_bytes

    @property
    def interned(self):
        return len(self.types)


@cython.final
cdef class StatementCache:

    def __init__(self, Py_ssize_t max_entries, Py_ssize_t max_bytes):
        if max_entries < 1 or max_bytes < 1:
            raise ValueError("a statement cache needs room for one")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.statements = {}
        self.evicted = []

    def __len__(self):
        return len(self.statements)

    def entries(self):
        return list(self.statements.values())

    cpdef Statement get(self, object key):
        cdef Statement statement = self.statements.get(key)
        if statement is None:
            self.misses += 1
            return None
        self.hits += 1
        self.touch(statement)
        return statement

    cpdef bint put(self, Statement statement) except -1:
        """Keep it as the newest; False when it alone would not fit. Evicts what must go."""
        cdef Statement other
        if statement is None:
            raise TypeError("a Statement is wanted")
        if statement.cache is not None:
            if statement.cache is not self:
                raise ValueError("the statement is in another cache")
            self.touch(statement)
            return True
        if statement.memory > self.max_bytes:
            return False
        other = self.statements.get(statement.key)
        if other is not None:
            self.remove(other)
        self.statements[statement.key] = statement
        statement.cache = self
        self.memory += statement.memory
        self.link(statement)
        while len(self.statements) > self.max_entries or self.memory > self.max_bytes:
            other = <Statement>self.oldest
            self.remove(other)
            self.evictions += 1
            for tell in self.evicted:
                tell(other)
        return True

    cpdef bint remove(self, Statement statement) except -1:
        """Take it out (it stays usable for who holds it); False when it is not in here."""
        if statement is None or statement.cache is not self:
            return False
        del self.statements[statement.key]
        self.unlink(statement)
        self.memory -= statement.memory
        statement.cache = None
        return True

    cpdef int clear(self) except -1:
        while self.oldest != NULL:
            self.remove(<Statement>self.oldest)
        return 0

    def keys(self):
        """Newest first."""
        found = []
        cdef void* here = self.newest
        while here != NULL:
            found.append((<Statement>here).key)
            here = (<Statement>here).older
        return found

    cdef void touch(self, Statement statement) noexcept:
        if self.newest != <void*>statement:
            self.unlink(statement)
            self.link(statement)

    cdef void link(self, Statement statement) noexcept:
        statement.newer = NULL
        statement.older = self.newest
        if self.newest != NULL:
            (<Statement>self.newest).newer = <void*>statement
        else:
            self.oldest = <void*>statement
        self.newest = <void*>statement

    cdef void unlink(self, Statement statement) noexcept:
        if statement.newer != NULL:
            (<Statement>statement.newer).older = statement.older
        else:
            self.newest = statement.older
        if statement.older != NULL:
            (<Statement>statement.older).newer = statement.newer
        else:
            self.oldest = statement.newer
        statement.newer = statement.older = NULL


# -- statements of a client ----------------------------------------------------

@cython.final
cdef class ClientStatement:

    def __init__(self, Statement statement not None, uint32_t client_id):
        self.statement = statement
        self.client_id = client_id
        self.decision = statement.decision


@cython.final
cdef class ClientStatements:
    """Ids count from 1, so the low bits place them without a collision as a rule."""

    def __init__(self, uint32_t next_id=1):
        if not 1 <= next_id <= LAST_ID:
            raise ValueError(f"{next_id} is no id")
        self.next_id = next_id
        self.slots = [None] * SLOTS

    def __len__(self):
        return self.count

    def room(self, Py_ssize_t size, Py_ssize_t most, Py_ssize_t most_bytes):
        """Whether a text of `size` bytes may be added to at most `most` of `most_bytes` in all."""
        return self.count < most and self.memory + size <= most_bytes

    cdef Py_ssize_t slot_of(self, uint32_t number) noexcept:
        """Where `number` is, or the empty slot where it would be put."""
        cdef Py_ssize_t mask = len(self.slots) - 1
        cdef Py_ssize_t at = <Py_ssize_t>number & mask
        cdef ClientStatement entry
        while True:
            entry = <ClientStatement>self.slots[at]
            if entry is None or entry.client_id == number:
                return at
            at = (at + 1) & mask

    cdef int resize(self, Py_ssize_t capacity) except -1:
        cdef list former = self.slots
        cdef ClientStatement entry
        self.slots = [None] * capacity
        for entry in former:
            if entry is not None:
                self.slots[self.slot_of(entry.client_id)] = entry
        return 0

    cpdef ClientStatement add(self, Statement statement):
        """Under an id that this client has never seen (until 2**32 - 2 of them are used up)."""
        cdef ClientStatement entry
        if 2 * (self.count + 1) > len(self.slots):
            self.resize(2 * len(self.slots))
        while self.slots[self.slot_of(self.next_id)] is not None:
            self.advance()
        entry = ClientStatement(statement, self.next_id)
        self.slots[self.slot_of(self.next_id)] = entry
        self.advance()
        self.count += 1
        self.memory += len(statement.text)
        self.latest = entry
        return entry

    cdef void advance(self) noexcept:
        self.next_id = self.next_id + 1 if self.next_id < LAST_ID else 1

    cpdef ClientStatement find(self, uint32_t number):
        cdef ClientStatement entry = <ClientStatement>self.slots[self.slot_of(number)]
        return self.latest if entry is None and number == LATEST_ID else entry

    cpdef bint remove(self, uint32_t number) except -1:
        """False when there is no such statement; COM_STMT_CLOSE says nothing about it."""
        cdef ClientStatement entry = self.find(number)
        cdef Py_ssize_t mask = len(self.slots) - 1
        cdef Py_ssize_t hole, at, home, size
        if entry is None:
            return False
        hole = at = self.slot_of(entry.client_id)
        size = len(entry.statement.text)
        if entry is self.latest:
            self.latest = None
        while True:
            # Whoever was put off by the one that goes moves up, so that no search ends early.
            at = (at + 1) & mask
            entry = <ClientStatement>self.slots[at]
            if entry is None:
                break
            home = <Py_ssize_t>entry.client_id & mask
            if ((at - home) & mask) >= ((at - hole) & mask):
                self.slots[hole] = entry
                hole = at
        self.slots[hole] = None
        self.count -= 1
        self.memory -= size
        if len(self.slots) > SLOTS and 8 * self.count < len(self.slots):
            self.resize(len(self.slots) // 2)
        return True

    cpdef int clear(self) except -1:
        """Forget all of them; their ids do not come back."""
        self.slots = [None] * SLOTS
        self.count = self.memory = 0
        self.latest = None
        return 0

    cpdef list entries(self):
        """In no order that means anything."""
        return [entry for entry in self.slots if entry is not None]


# -- statements of a connection ------------------------------------------------

@cython.final
cdef class BackendStatement:

    def __init__(self, Statement statement not None, uint32_t backend_id):
        self.statement = statement
        self.backend_id = backend_id
        if statement.sticky:
            self.shape = bytearray(statement.params)

    cpdef int forget_types(self) except -1:
        self.types = None
        return 0


@cython.final
cdef class BackendStatements:

    def __init__(self, Py_ssize_t limit):
        if limit < 1:
            raise ValueError("a connection needs room for one statement")
        self.limit = limit
        self.statements = {}

    def __len__(self):
        return self.count

    cpdef BackendStatement find(self, ClientStatement client):
        """The one that may execute what `client` bound last; None when it must be prepared."""
        cdef Statement statement = client.statement
        cdef BackendStatement entry = self.statements.get(statement)
        cdef BackendStatement found = None
        # Of a client just become mixed, `shape` is still what its history was until now.
        while entry is not None:
            if entry.owner is client:
                found = entry
                break
            if entry.owner is None:
                if alike(client.shape, entry.shape):
                    found = entry
                    if not client.mixed:
                        break
                elif found is None and agree(client.shape, entry.shape, statement.columns > 0):
                    found = entry
            entry = entry.next
        if found is not None:
            self.clock += 1
            found.last_used = self.clock
        return found

    cpdef list put(self, Statement statement, uint32_t backend_id):
        """The server prepared it under this id. Returns ids to be closed, least used first."""
        cdef BackendStatement entry = BackendStatement(statement, backend_id)
        cdef list gone = []
        self.clock += 1
        entry.last_used = self.clock
        entry.next = self.statements.get(statement)
        self.statements[statement] = entry
        self.count += 1
        self.evict(entry, gone)
        return gone

    cdef int evict(self, BackendStatement newcomer, list gone) except -1:
        """Make room, in all and for texts that are prepared again and again."""
        cdef BackendStatement entry, oldest
        cdef Py_ssize_t variants = 0
        entry = newcomer
        while entry is not None:
            variants += 1
            entry = entry.next
        while variants > VARIANTS or self.count > self.limit:
            oldest = None
            for entry in [newcomer] if variants > VARIANTS else self.statements.values():
                while entry is not None:
                    if (entry is not newcomer and not entry.held and entry.owner is None
                            and (oldest is None or entry.last_used < oldest.last_used)):
                        oldest = entry
                    entry = entry.next
            if oldest is None:
                return 0                # all are in use: above the limit until they are not
            if oldest.statement is newcomer.statement:
                variants -= 1
            gone.append(oldest.backend_id)
            self.remove(oldest)
        return 0

    cpdef bint remove(self, BackendStatement entry) except -1:
        """False when it is not in here."""
        cdef BackendStatement here
        if entry is None:
            return False
        here = self.statements.get(entry.statement)
        if here is None:
            return False
        if here is entry:
            if entry.next is None:
                del self.statements[entry.statement]
            else:
                self.statements[entry.statement] = entry.next
        else:
            while here.next is not entry:
                here = here.next
                if here is None:
                    return False
            here.next = entry.next
        entry.next = None
        self.count -= 1
        if entry.owner is not None:
            self.owned -= 1
            entry.owner = None
        return True

    cpdef list retire(self):
        """Forget those with an owner, who leaves this connection; their ids are to be closed."""
        cdef BackendStatement entry
        cdef list gone = []
        if self.owned:
            for entry in self.entries():
                if entry.owner is not None:
                    gone.append(entry.backend_id)
                    self.remove(entry)
        return gone

    cpdef int clear(self) except -1:
        """The server forgot them all (COM_RESET_CONNECTION, COM_CHANGE_USER)."""
        self.statements = {}
        self.count = self.owned = 0
        return 0

    cpdef list entries(self):
        cdef BackendStatement entry
        cdef list found = []
        for entry in self.statements.values():
            while entry is not None:
                found.append(entry)
                entry = entry.next
        return found


# -- an execution -------------------------------------------------------------

cdef int read_execute(
    ClientStatement client, const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    bint attributes, ExecuteLayout* layout
) except -2:
    """Find the types and record for `client` those it binds. Returns an Execution."""
    cdef Statement statement = client.statement
    cdef int found = execute_layout(payload, have, total, statement.params, attributes, layout)
    if found < 0 and layout.count < 0:
        return EXECUTE_FEWER
    if found != EXECUTE_READ or layout.count == 0:
        return found
    if layout.bound:
        if client.types is None or not same_types(payload, layout, client.types):
            client.types = statement.intern(payload, layout)
    elif not all_null(payload, layout, statement.params):
        return EXECUTE_MALFORMED        # attributes have no types to remember
    elif client.types is None:
        return EXECUTE_READ if all_null(payload, layout, 0) else EXECUTE_UNTYPED
    if statement.sticky and not layout.bulk and not client.mixed and client.types is not None:
        fix_classes(client, payload, layout)
    return EXECUTE_READ


cdef inline unsigned char class_now(
    ParameterTypes types, const unsigned char* payload, const ExecuteLayout* layout, Py_ssize_t i
) noexcept:
    """The class that this execution gives to parameter `i`; none when it is NULL."""
    if layout.bulk or payload[layout.bitmap_at + (i >> 3)] >> (i & 7) & 1:
        return CLASS_NONE
    return <unsigned char>PyBytes_AS_STRING(types.shape)[i]


cdef int fix_classes(
    ClientStatement client, const unsigned char* payload, const ExecuteLayout* layout
) except -1:
    """Let values that are not NULL fix the classes of their parameters, if they may."""
    cdef Py_ssize_t i, params = client.statement.params
    cdef unsigned char* fixed
    if client.shape is None:
        client.shape = bytearray(params)
    fixed = <unsigned char*>PyByteArray_AS_STRING(client.shape)
    for i in range(params):
        if differ(fixed[i], class_now(client.types, payload, layout, i)):
            client.mixed = True         # `shape` stays as its history was until now
            return 0
    fix(fixed, params, client.types, payload, layout)
    return 0


cdef inline bint differ(unsigned char one, unsigned char other) noexcept:
    """Whether values of the second class are converted where the first is fixed."""
    if one == other or one == CLASS_NONE or other == CLASS_NONE:
        return False
    return one > CLASS_UNSIGNED or other > CLASS_UNSIGNED


cdef void fix(
    unsigned char* fixed, Py_ssize_t params, ParameterTypes types,
    const unsigned char* payload, const ExecuteLayout* layout
) noexcept:
    """What the server remembers after an execution. The sign of an integer is that of the last."""
    cdef Py_ssize_t i
    cdef unsigned char now
    for i in range(params):
        now = class_now(types, payload, layout, i)
        if now != CLASS_NONE and fixed[i] <= CLASS_UNSIGNED:
            fixed[i] = now


cdef bint agree(bytearray client, bytearray backend, bint strict) noexcept:
    """Whether no parameter has been fixed to two classes; strict: nor by others than the client.

    Then a NULL of the client's has the column type it would have without the others.
    """
    cdef const unsigned char* a
    cdef const unsigned char* b
    cdef Py_ssize_t i
    if client is None or backend is None:
        return True
    a = <const unsigned char*>PyByteArray_AS_STRING(client)
    b = <const unsigned char*>PyByteArray_AS_STRING(backend)
    for i in range(PyByteArray_GET_SIZE(client)):
        if differ(a[i], b[i]) or (strict and a[i] != b[i] and b[i] != CLASS_NONE):
            return False
    return True


cdef inline bint alike(bytearray client, bytearray backend) noexcept:
    """Whether the same classes have been fixed."""
    if client is None or backend is None:
        return client is backend
    return memcmp(PyByteArray_AS_STRING(client), PyByteArray_AS_STRING(backend),
                  PyByteArray_GET_SIZE(client)) == 0


cdef int bind(
    BackendStatements pool, ClientStatement client, BackendStatement backend,
    const unsigned char* payload, const ExecuteLayout* layout
) noexcept:
    """Record that `backend` (found in `pool`) executes what was read. Returns a Binding."""
    cdef Statement statement = client.statement
    statement.uses += 1
    if statement.cache is not None:
        statement.cache.touch(statement)
    if layout.count == 0 or client.types is None:
        return BIND_AS_IS
    if statement.sticky:
        share_classes(pool, client, backend, payload, layout)
    if backend.types is client.types:
        return BIND_AS_IS
    if not layout.bound:
        if backend.types is None or client.types.wire != backend.types.wire:
            return BIND_TYPES
    backend.types = client.types
    return BIND_AS_IS


cdef int share_classes(
    BackendStatements pool, ClientStatement client, BackendStatement backend,
    const unsigned char* payload, const ExecuteLayout* layout
) noexcept:
    """What the server makes of the execution on this connection; who may use it from now on."""
    cdef unsigned char* fixed = <unsigned char*>PyByteArray_AS_STRING(backend.shape)
    if backend.owner is None and (client.mixed or not agree(client.shape, backend.shape, False)):
        backend.owner = client
        pool.owned += 1
    fix(fixed, PyByteArray_GET_SIZE(backend.shape), client.types, payload, layout)
    return 0


cdef bytes typed(
    ClientStatement client, BackendStatement backend, const unsigned char* payload,
    Py_ssize_t have, const ExecuteLayout* layout
):
    """with_types for BIND_TYPES, recorded: the caller sends it."""
    cdef bytes made = with_types(payload, have, layout, client.types)
    backend.types = client.types
    return made


def execute(ClientStatement client not None, BackendStatements pool not None,
            const unsigned char[::1] payload, bint attributes=False):
    cdef ExecuteLayout layout
    cdef unsigned char nothing = 0
    cdef Py_ssize_t have = payload.shape[0]
    cdef const unsigned char* p = &payload[0] if have else &nothing
    cdef BackendStatement backend
    cdef bytes sent
    cdef int found = read_execute(client, p, have, have, attributes, &layout)
    if found != EXECUTE_READ:
        return found, None, None
    backend = pool.find(client)
    if backend is None:
        return found, None, None
    if bind(pool, client, backend, p, &layout) == BIND_TYPES:
        sent = typed(client, backend, p, have, &layout)
    else:
        sent = p[:have]
    patch_id(<unsigned char*>PyBytes_AS_STRING(sent), backend.backend_id)
    return found, backend, sent
