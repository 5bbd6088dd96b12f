# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""The head of an execution: where the types of its parameters are, or would be.

    COM_STMT_EXECUTE   id4 flags1 iterations4 [count] NULL-bitmap bound1 [type2 [name]]... values
    COM_STMT_BULK_EXECUTE (MariaDB)  id4 flags2 [type2]... rows of (indicator1 value)...

The types are sent once ("new parameters bound") and remembered by the server; count and names
are there only where query attributes were agreed. Values are never looked at: the server does.

Spec: MySQL "COM_STMT_EXECUTE", MariaDB "COM_STMT_EXECUTE", "COM_STMT_BULK_EXECUTE".
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy
from hproxy._native.cursor cimport read_lenenc

cdef enum:
    COM_STMT_EXECUTE = 0x17
    COM_STMT_BULK_EXECUTE = 0xFA
    COUNT_AVAILABLE = 0x08      # PARAMETER_COUNT_AVAILABLE
    BULK_TYPES = 0x80           # STMT_BULK_FLAG_CLIENT_SEND_TYPES
    HEAD = 10                   # command, id, flags, iterations
    BULK_HEAD = 7               # command, id, flags
    TYPE_NULL = 6
    UNSIGNED = 0x80             # in the second byte of a type

cdef unsigned char CLASSES[256]


cdef int fill_classes() except -1:
    cdef int kind
    for kind in range(256):
        CLASSES[kind] = CLASS_STRING
    for kind in (1, 2, 3, 8, 9, 13):    # TINY, SHORT, LONG, LONGLONG, INT24, YEAR
        CLASSES[kind] = CLASS_INTEGER
    for kind in (0, 246):               # DECIMAL, NEWDECIMAL
        CLASSES[kind] = CLASS_DECIMAL
    for kind in (4, 5):                 # FLOAT, DOUBLE
        CLASSES[kind] = CLASS_DOUBLE
    for kind in (10, 14):               # DATE, NEWDATE
        CLASSES[kind] = CLASS_DATE
    for kind in (7, 12, 17, 18):        # TIMESTAMP, DATETIME and their second forms
        CLASSES[kind] = CLASS_DATETIME
    for kind in (11, 19):               # TIME and its second form
        CLASSES[kind] = CLASS_TIME
    CLASSES[TYPE_NULL] = CLASS_NONE
    return 0


fill_classes()


cdef int execute_layout(
    const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    Py_ssize_t params, bint attributes, ExecuteLayout* out
) noexcept:
    """Find the types in an execution: 1 found, 0 more bytes needed, -1 malformed.

    `have` bytes of the packet's `total` are at `payload`; `params` are the statement's.
    """
    cdef unsigned long long count = <unsigned long long>params
    cdef Py_ssize_t pos = HEAD, used
    out.bitmap_at = out.bound_at = out.types_at = out.types_end = -1
    out.count = 0
    out.flags = 0
    out.bound = out.named = out.bulk = False
    if total < 1 or have > total:
        return -1
    if have < 1:
        return 0
    if payload[0] == COM_STMT_BULK_EXECUTE:
        return bulk_layout(payload, have, total, params, out)
    if payload[0] != COM_STMT_EXECUTE or total < HEAD:
        return -1
    if have < HEAD:
        return 0
    out.flags = payload[5]
    # With attributes agreed the count and the names are there, whatever the flag says, if
    # there is a "?"; without one the flag decides.
    out.named = attributes
    if attributes and (params or out.flags & COUNT_AVAILABLE):
        used = read_lenenc(payload + pos, have - pos, &count)
        if used <= 0:
            return 0 if used == 0 and have < total else -1
        pos += used
        # Each parameter has a bit in the packet: with this the sum below cannot overflow.
        if count < <unsigned long long>params:
            out.count = -1              # the servers have a word of its own for it
            return -1
        if count // 8 > <unsigned long long>total:
            return -1
    out.count = <Py_ssize_t>count
    if count == 0:
        return 1
    out.bitmap_at = pos
    pos += (out.count + 7) // 8
    if pos >= total:
        return -1
    out.bound_at = pos
    if pos >= have:
        return 0
    out.bound = payload[pos] != 0
    return types_layout(payload, have, total, pos + 1, out)


cdef int bulk_layout(
    const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    Py_ssize_t params, ExecuteLayout* out
) noexcept:
    """The types of a COM_STMT_BULK_EXECUTE come first, before the rows."""
    if total < BULK_HEAD:
        return -1
    if have < BULK_HEAD:
        return 0
    out.bulk = True
    out.flags = payload[5] | (<unsigned int>payload[6] << 8)
    out.count = params
    if params == 0:
        return 1                        # the server has its own words for it
    out.bound_at = 5
    out.bound = (out.flags & BULK_TYPES) != 0
    return types_layout(payload, have, total, BULK_HEAD, out)


cdef int types_layout(
    const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    Py_ssize_t pos, ExecuteLayout* out
) noexcept:
    cdef unsigned long long length
    cdef Py_ssize_t _i, used
    out.types_at = out.types_end = pos
    if not out.bound:
        return 1
    if out.count > (total - pos) // 2:
        return -1
    if not out.named:
        pos += 2 * out.count
        if pos > have:
            return 0
        out.types_end = pos
        return 1
    for _i in range(out.count):
        pos += 2
        if pos >= total:
            return -1
        used = read_lenenc(payload + pos, have - pos, &length)
        if used <= 0:
            return 0 if used == 0 and have < total else -1
        pos += used
        if length > <unsigned long long>(total - pos):
            return -1
        pos += <Py_ssize_t>length
    if pos > have:
        return 0
    out.types_end = pos
    return 1


cdef inline Py_ssize_t after_type(const unsigned char* p, bint named) noexcept:
    """Bytes of one type, its name included, in a packet whose layout was found."""
    cdef unsigned long long length = 0
    if not named:
        return 2
    if p[2] == 0:
        return 3
    return 2 + read_lenenc(p + 2, 9, &length) + <Py_ssize_t>length


cdef bint same_types(
    const unsigned char* payload, const ExecuteLayout* layout, ParameterTypes types
) noexcept:
    """Whether the packet binds just these to the statement's "?"."""
    cdef const unsigned char* p = payload + layout.types_at
    cdef const char* wire = PyBytes_AS_STRING(types.wire)
    cdef Py_ssize_t i, size = PyBytes_GET_SIZE(types.wire)
    if not layout.named:
        return memcmp(p, wire, size) == 0
    for i in range(0, size, 2):
        if p[0] != <unsigned char>wire[i] or p[1] != <unsigned char>wire[i + 1]:
            return False
        p += after_type(p, True)
    return True


cdef bint all_null(
    const unsigned char* payload, const ExecuteLayout* layout, Py_ssize_t first
) noexcept:
    """Whether every parameter from `first` on is NULL, so that no types are needed for them."""
    cdef Py_ssize_t i
    if layout.bulk:
        return first >= layout.count
    for i in range(first, layout.count):
        if not payload[layout.bitmap_at + (i >> 3)] >> (i & 7) & 1:
            return False
    return True


cdef bytes with_types(
    const unsigned char* payload, Py_ssize_t have, const ExecuteLayout* layout,
    ParameterTypes types
):
    """The execution (its first `have` bytes, beyond the flag) with `types` put in and flagged.

    The packet grows by the difference in length; what follows `have` may be sent behind it.
    """
    cdef Py_ssize_t width = 3 if layout.named else 2
    cdef Py_ssize_t i, params = PyBytes_GET_SIZE(types.shape)
    cdef Py_ssize_t at = layout.types_at
    cdef const unsigned char* wire = <const unsigned char*>PyBytes_AS_STRING(types.wire)
    cdef unsigned char* p
    cdef bytes made
    if layout.bound or at < 0 or have < at or layout.count < params:
        raise ValueError("no place for types in this execution")
    made = PyBytes_FromStringAndSize(NULL, have + width * layout.count)
    p = <unsigned char*>PyBytes_AS_STRING(made)
    memcpy(p, payload, at)
    p[layout.bound_at] = BULK_TYPES | payload[layout.bound_at] if layout.bulk else 1
    p += at
    for i in range(layout.count):
        # An attribute is NULL here (read_execute has seen to it), and has no name.
        p[0] = wire[2 * i] if i < params else <unsigned char>TYPE_NULL
        p[1] = wire[2 * i + 1] if i < params else <unsigned char>0
        if layout.named:
            p[2] = 0
        p += width
    memcpy(p, payload + at, have - at)
    return made


cdef ParameterTypes read_types(
    const unsigned char* payload, const ExecuteLayout* layout, Py_ssize_t params
):
    """A copy of the types the packet binds to the "?", without their names."""
    cdef const unsigned char* p = payload + layout.types_at
    cdef bytes wire = PyBytes_FromStringAndSize(NULL, 2 * params)
    cdef unsigned char* out = <unsigned char*>PyBytes_AS_STRING(wire)
    cdef Py_ssize_t i
    for i in range(params):
        out[2 * i] = p[0]
        out[2 * i + 1] = p[1]
        p += after_type(p, layout.named)
    return ParameterTypes(wire)


@cython.final
cdef class ParameterTypes:

    def __init__(self, bytes wire not None):
        if len(wire) % 2:
            raise ValueError("a type is two bytes")
        self.wire = wire
        cdef const unsigned char* kinds = <const unsigned char*>PyBytes_AS_STRING(wire)
        cdef Py_ssize_t i
        shape = bytearray(len(wire) // 2)
        for i in range(len(shape)):
            shape[i] = CLASSES[kinds[2 * i]]
            if shape[i] == CLASS_INTEGER and kinds[2 * i + 1] & UNSIGNED:
                shape[i] = CLASS_UNSIGNED
        self.shape = bytes(shape)


def find_types(const unsigned char[::1] payload, Py_ssize_t params, bint attributes=False,
               total=None):
    cdef ExecuteLayout layout
    cdef unsigned char nothing = 0
    cdef Py_ssize_t have = payload.shape[0]
    cdef Py_ssize_t all_of_it = have if total is None else total
    cdef int found = execute_layout(
        &payload[0] if have else &nothing, have, all_of_it, params, attributes, &layout)
    return found, layout if found == 1 else None


def put_types(const unsigned char[::1] payload, Py_ssize_t params, ParameterTypes types not None,
              bint attributes=False):
    cdef ExecuteLayout layout
    cdef unsigned char nothing = 0
    cdef Py_ssize_t have = payload.shape[0]
    cdef const unsigned char* p = &payload[0] if have else &nothing
    if execute_layout(p, have, have, params, attributes, &layout) != 1:
        raise ValueError("no execution")
    return with_types(p, have, &layout, types)
