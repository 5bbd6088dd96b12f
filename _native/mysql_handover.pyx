# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False, nonecheck=True
"""A session leaves this process for another one, at the boundary between two commands.

    old:  at_rest ── depart ──> descriptor, Memory ── (socket, SCM_RIGHTS) ──┐
    new:  session as after a login <── arrive(memory), recall_statements <───┘ ── start

    old:  tied ── untie ──> the backend's descriptor, Memory, Tie ── depart
    new:  arrive ── tie(connection, Tie) ── start        a session that its connection is part of

At rest: no command under way, no backend connection, nothing on its way to the client. What the
client has sent ahead is part of the memory. What a session knows by its settings alone (pins,
modes, salt) is not: the driver of the other process works it out again.

Tied: the same, but with a connection that is as quiet, because something pins the session to it or
a transaction is open there. Both go: the pins and what native code alone knows of the connection.
"""

from libc.stdint cimport uint32_t, uint64_t

from hproxy._native.compression cimport CompressedStream
from hproxy._native.endpoint cimport Endpoint
from hproxy._native.execution cimport ParameterTypes
from hproxy._native.mysql_multiplex cimport Multiplexed
from hproxy._native.mysql_session cimport SESSION_CLOSED, SESSION_IDLE
from hproxy._native.pool cimport BackendConnection
from hproxy._native.statements cimport (
    BackendStatement, BackendStatements, ClientStatement, ClientStatements, Statement,
)

cdef uint64_t SOMEBODY = <uint64_t>-1
cdef bytes CLOSE_STATEMENT = b"\x05\x00\x00\x00\x19"


cdef bint quiet(Endpoint end) noexcept:
    """Whether nothing is on its way but plain bytes that wait in the inbox or in the socket."""
    cdef CompressedStream frames = end.frames
    if end.fd < 0 or end.tls is not None or end.securing or end.lingering or \
            end.broken or end.queued():
        return False
    if frames is None:
        return True
    return frames.fault is None and not frames.over and frames.plain is None and \
        frames.held is None and len(frames.raw) == frames.raw_start and end.inbox_length == 0


cdef bint between_commands(Multiplexed session) noexcept:
    return session.session_state == SESSION_IDLE and session.aside is None and \
        session.decision is None and session.pending is None and session.gathered is None and \
        session.queue is None and quiet(session.client)


def at_rest(Multiplexed session not None):
    return between_commands(session) and session.held is None and session.pins == 0 and \
        not session.in_transaction and session.cursors == 0 and session.long_data == 0


def tied(Multiplexed session not None):
    cdef BackendConnection held = session.held
    return held is not None and between_commands(session) and not held.gone and \
        not held.leaving and held.holder is session and held.endpoint.owner is session and \
        held.endpoint.inbox_length == 0 and quiet(held.endpoint) and not session.farewell


def depart(Multiplexed session not None):
    if not at_rest(session):
        raise ValueError(f"a session does not leave in state {session.state}")
    return part(session)


cdef tuple part(Multiplexed session):
    cdef Endpoint client = session.client
    cdef dict memory = {
        "status": session.status,
        "restated": session.restated,
        "last_insert_id": session.last_insert_id,
        "wrote_at": session.wrote_at,
        "sticks": session.sticks,
        "told_begin": session.told_begin,
        "context_serial": session.context_serial,
        "row_count": session.row_count,
        "found_rows": session.found_rows,
        "flag_in": session.flag_in,
        "refusal": session.refusal,
        "began": session.began,
        "deadline": client.deadline,
        "inbox": client.inbox[:client.inbox_length] if client.inbox_length else b"",
    }
    session.session_state = SESSION_CLOSED
    session.last = None
    return client.part(), memory


def arrive(Multiplexed session not None, dict memory not None):
    cdef bytes inbox = memory["inbox"]
    session.status = memory["status"]
    session.restated = memory["restated"]
    session.last_insert_id = memory["last_insert_id"]
    session.wrote_at = memory["wrote_at"]
    session.sticks = memory["sticks"]
    session.told_begin = memory["told_begin"]
    session.context_serial = memory["context_serial"]
    session.row_count = memory["row_count"]
    session.found_rows = memory["found_rows"]
    session.began = memory["began"]
    session.refusal = memory["refusal"]
    session.set_flag(memory["flag_in"])
    if inbox:
        session.client.keep(<const unsigned char*><char*>inbox, len(inbox))


def statements_of(Multiplexed session not None):
    cdef ClientStatement entry
    cdef list found = []
    if session.statements is None:
        return 1, None, found
    for entry in session.statements.entries():
        found.append((
            entry,
            None if entry.types is None else entry.types.wire,
            None if entry.shape is None else bytes(entry.shape),
            entry.mixed,
        ))
    latest = session.statements.latest
    return session.statements.next_id, None if latest is None else latest.client_id, found


def recall_statements(Multiplexed session not None, uint32_t next_id, latest, list entries):
    cdef ClientStatements table = ClientStatements(next_id)
    cdef ClientStatement entry
    cdef Statement statement
    cdef uint32_t number
    for statement, number, asked, wire, shape, mixed in entries:
        if number == 0 or wire is not None and len(wire) != 2 * statement.params or \
                shape is not None and len(shape) != statement.params:
            raise ValueError(f"statement {number} is of another shape")
        if table.find(number) is not None:
            raise ValueError(f"two statements have the number {number}")
        table.next_id = number
        entry = table.add(statement)
        entry.asked = asked
        entry.salt = ~session.salt      # decided anew, by the rules of this process
        entry.types = None if wire is None else ParameterTypes(wire)
        entry.shape = None if shape is None else bytearray(shape)
        entry.mixed = mixed
    table.next_id = next_id
    table.latest = None if latest is None else table.find(latest)
    session.statements = table


# -- with the connection it is tied to -------------------------------------------------

def untie(Multiplexed session not None):
    cdef BackendConnection held = session.held
    cdef uint64_t serial = session.serial
    cdef dict found, memory
    cdef int there, client
    if not tied(session):
        raise ValueError(f"a session and its connection do not leave in state {session.state}")
    found = {
        "pins": session.pins,
        "doubtful": session.doubtful,
        "pinned_since": session.pinned_since,
        "pinned_by": session.pinned_by,
        "transaction_since": session.transaction_since,
        "insert_id_seen": session.insert_id_seen,
        "insert_id_open": session.insert_id_open,
        "watch_next": session.watch_next,
        "wrote": session.wrote,
        "last_uses": session.last_uses,
        "cursors": session.cursors,
        "long_data": session.long_data,
        "uses": held.uses,
        "has_rows": held.rows_of == serial,
        "has_warnings": held.warned_by == serial,
        "has_insert_id": held.insert_owner == serial,
        "insert_id": held.insert_id,
        "opened_at": held.opened_at,
        "used_at": held.used_at,
        "asked_at": held.asked_at,
        "retire_at": held.retire_at,
        "retired": held.retired,
    }
    session.session_state = SESSION_CLOSED      # the client is not resumed by what follows
    session.detach()
    there = held.part()
    client, memory = part(session)
    return client, memory, there, found


def tie(Multiplexed session not None, BackendConnection connection not None, dict known not None):
    cdef uint64_t serial = session.serial
    session.attach(connection)
    connection.uses = known["uses"]
    connection.rows_of = serial if known["has_rows"] else SOMEBODY
    connection.warned_by = serial if known["has_warnings"] else SOMEBODY
    connection.insert_owner = serial if known["has_insert_id"] else 0
    connection.insert_id = known["insert_id"]
    connection.opened_at = known["opened_at"]
    connection.used_at = known["used_at"]
    connection.asked_at = known["asked_at"]
    connection.retire_at = known["retire_at"]
    connection.retired = known["retired"]
    session.doubtful = known["doubtful"]
    session.transaction_since = known["transaction_since"]
    session.insert_id_seen = known["insert_id_seen"]
    session.insert_id_open = known["insert_id_open"]
    session.watch_next = known["watch_next"]
    session.wrote = known["wrote"]
    session.last_uses = known["last_uses"]
    session.cursors = known["cursors"]
    session.long_data = known["long_data"]
    session.pins |= <uint32_t>known["pins"]
    session.pinned_since = known["pinned_since"]
    session.pinned_by = known["pinned_by"]


def untied(Multiplexed session not None):
    """It does not begin after all: its connection's place is free, and nobody is told."""
    cdef BackendConnection held = session.held
    session.session_state = SESSION_CLOSED
    if held is None:
        return None
    session.detach()
    held.leave(False)
    return held


def prepared_there(Multiplexed session not None):
    """What of the connection's statements is the client's, and the numbers of the others."""
    cdef ClientStatement entry, match
    cdef BackendStatement there
    cdef list found = [], others = []
    cdef list own = session.statements.entries() if session.statements is not None else []
    for there in session.held.statements.entries():
        match = there.owner
        if match is None:
            for entry in own:
                if entry.statement is there.statement and \
                        (match is None or entry.cursor_open or entry.long_data):
                    match = entry
        if match is None:
            others.append(there.backend_id)
            continue
        found.append((
            match.client_id,
            there.backend_id,
            None if there.types is None else there.types.wire,
            None if there.shape is None else bytes(there.shape),
            there.owner is not None,
            there.held,
        ))
    return found, others


def recall_there(Multiplexed session not None, list entries, list open_ones):
    """The connection in hand has these prepared; `open_ones` are the client's: the number, whether
    a cursor is open, whether long data was sent. Numbers of those there is no place for."""
    cdef BackendStatements table = session.held.statements
    cdef ClientStatement entry
    cdef BackendStatement there
    cdef list gone = []
    for number, backend_id, wire, shape, owned, in_use in entries:
        entry = session.statements.find(number) if session.statements is not None else None
        if entry is None:
            raise ValueError(f"the client has no statement {number}")
        if wire is not None and len(wire) != 2 * entry.statement.params or \
                shape is not None and len(shape) != entry.statement.params:
            raise ValueError(f"statement {backend_id} of the server is of another shape")
        gone += table.put(entry.statement, backend_id)
        there = table.statements[entry.statement]
        there.types = None if wire is None else ParameterTypes(wire)
        there.shape = None if shape is None else bytearray(shape)
        there.held = in_use
        if owned:
            there.owner = entry
            table.owned += 1
    for number, cursor_open, long_data in open_ones:
        entry = session.statements.find(number)
        entry.cursor_open = cursor_open
        entry.long_data = long_data
    return gone


def close_there(Multiplexed session not None, list numbers not None):
    """Nobody here knows these of the connection's statements."""
    for number in numbers:
        session.held.send(CLOSE_STATEMENT + int(number).to_bytes(4, "little"))


def wake(Multiplexed session not None):
    """It has begun: hear what its connection has said meanwhile."""
    if session.held is not None:
        session.held.endpoint.redeliver()
