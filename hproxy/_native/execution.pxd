# SPDX-License-Identifier: Apache-2.0
# The map of execution: the head of COM_STMT_EXECUTE and where the types of its parameters are.
#
# Memory: a layout holds offsets only; ParameterTypes copies what it keeps.
# Failure: `execute_layout` never raises and never looks beyond `have`; the functions that take a
# layout trust one that was found in the same bytes. The GIL is held.

from libc.stdint cimport uint32_t

# What parameters are to MySQL once a value has come; CLASS_NONE says nothing (NULL).
cdef enum:
    CLASS_NONE
    CLASS_INTEGER
    CLASS_UNSIGNED
    CLASS_DECIMAL
    CLASS_DOUBLE
    CLASS_DATE
    CLASS_DATETIME
    CLASS_TIME
    CLASS_STRING


cdef struct ExecuteLayout:     # offsets from the command byte; -1 where there is no such part
    Py_ssize_t bitmap_at
    Py_ssize_t bound_at        # the flag byte; of a bulk execution the two bytes of flags
    Py_ssize_t types_at        # behind the flag: of the types, or where they would be put
    Py_ssize_t types_end       # equal to types_at without types
    Py_ssize_t count           # parameters, query attributes included
    unsigned int flags
    bint bound                 # types follow
    bint named                 # each type is followed by a name
    bint bulk                  # COM_STMT_BULK_EXECUTE


cdef int execute_layout(
    const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    Py_ssize_t params, bint attributes, ExecuteLayout* out) noexcept


cdef inline uint32_t statement_id(const unsigned char* payload) noexcept nogil:
    """The id in any COM_STMT_* of at least 5 bytes."""
    return (payload[1] | (<uint32_t>payload[2] << 8)
            | (<uint32_t>payload[3] << 16) | (<uint32_t>payload[4] << 24))


cdef inline void patch_id(unsigned char* payload, uint32_t number) noexcept nogil:
    """Put `number` into any COM_STMT_* of at least 5 bytes, or into a prepare response."""
    payload[1] = <unsigned char>(number & 0xFF)
    payload[2] = <unsigned char>((number >> 8) & 0xFF)
    payload[3] = <unsigned char>((number >> 16) & 0xFF)
    payload[4] = <unsigned char>(number >> 24)


cdef class ParameterTypes:
    cdef readonly bytes wire            # two bytes for each "?", names left out
    cdef readonly bytes shape           # one byte for each: its class, 0 for NULL


cdef int bulk_layout(
    const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    Py_ssize_t params, ExecuteLayout* out) noexcept
cdef int types_layout(
    const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    Py_ssize_t pos, ExecuteLayout* out) noexcept
cdef bint same_types(
    const unsigned char* payload, const ExecuteLayout* layout, ParameterTypes types) noexcept
cdef bint all_null(
    const unsigned char* payload, const ExecuteLayout* layout, Py_ssize_t first) noexcept
cdef ParameterTypes read_types(
    const unsigned char* payload, const ExecuteLayout* layout, Py_ssize_t params)
cdef bytes with_types(
    const unsigned char* payload, Py_ssize_t have, const ExecuteLayout* layout,
    ParameterTypes types)
