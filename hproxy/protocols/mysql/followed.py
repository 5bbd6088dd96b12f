# SPDX-License-Identifier: Apache-2.0
"""Session variables by what following them takes; found by trying each on both servers.

Nearly all are ordinary: the value that the server reports, set on another connection, gives
the same session. Listed here is what is not: names that share one value, settings that are
no session's, and those that cannot be carried to another connection at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto

__all__ = ["Following", "canonical", "companions", "following", "holds", "pairs", "show"]


class Following(Enum):
    """What to do about a variable that was set."""

    VARIABLE = auto()  # remember its value
    CHARSET = auto()  # one of those that Charset stands for
    LAST_ID = auto()
    TRACKING = auto()  # the client's view of session tracking, which we use ourselves
    NOTHING = auto()  # has nothing to do with this session
    HOLD = auto()  # cannot be carried over, but for harmless values


CHARSET = frozenset(
    {
        b"character_set_client",
        b"character_set_connection",
        b"character_set_results",
        b"collation_connection",
    }
)
LAST_ID = frozenset({b"identity", b"last_insert_id"})
# MariaDB shows them among the session's, but they belong to a replication connection.
NOTHING = frozenset({b"max_relay_log_size", b"sql_slave_skip_counter"})

# Used up by statements, read by them alone on this connection, or chosen by it: only these
# values are the same on any other.
HELD: dict[bytes, frozenset[bytes]] = {
    b"debug": frozenset(),
    b"debug_sync": frozenset(),
    b"default_master_connection": frozenset({b""}),
    b"gtid_next": frozenset({b"AUTOMATIC"}),
    b"gtid_seq_no": frozenset({b"0"}),
    b"immediate_server_version": frozenset({b"999999"}),
    b"insert_id": frozenset({b"0"}),
    b"original_commit_timestamp": frozenset({b"36028797018963968"}),
    b"original_server_version": frozenset({b"999999"}),
    b"profiling": frozenset({b"OFF", b"0"}),
    b"pseudo_replica_mode": frozenset({b"OFF", b"0"}),
    b"pseudo_slave_mode": frozenset({b"OFF", b"0"}),
    b"pseudo_thread_id": frozenset(),
    b"rand_seed1": frozenset(),
    b"rand_seed2": frozenset(),
    b"resultset_metadata": frozenset({b"FULL"}),
    # `id IS NULL` finds the row this connection inserted last.
    b"sql_auto_is_null": frozenset({b"OFF", b"0"}),
    b"wsrep_gtid_seq_no": frozenset({b"0"}),
    b"wsrep_trx_fragment_size": frozenset({b"0"}),
}

# Other names of one value.
ALIASES = {
    b"alter_algorithm": b"old_alter_table",
    b"log_slow_min_examined_row_limit": b"min_examined_row_limit",
    b"log_slow_query": b"slow_query_log",
    b"log_slow_query_time": b"long_query_time",
    b"max_delayed_threads": b"max_insert_delayed_threads",
    b"storage_engine": b"default_storage_engine",
}
# A part, or a derived form, of another variable: that one is asked for instead.
PARTS = {
    b"character_set_database": b"collation_database",
    b"character_set_server": b"collation_server",
    b"log_queries_not_using_indexes": b"log_slow_filter",
    b"log_slow_admin_statements": b"log_slow_disabled_statements",
    b"log_slow_slave_statements": b"log_slow_disabled_statements",
    b"wsrep_causal_reads": b"wsrep_sync_wait",
}
# Changes another one besides, which comes behind it in the alphabet.
COMPANIONS = {b"max_join_size": (b"sql_big_selects",), b"old": (b"old_mode",)}
# Which of the two names exists is a matter of the server and its version.
PAIRS = {
    b"transaction_isolation": b"tx_isolation",
    b"transaction_read_only": b"tx_read_only",
    b"tx_isolation": b"transaction_isolation",
    b"tx_read_only": b"transaction_read_only",
}

NAME = re.compile(rb"[a-z0-9_.$-]+")


def following(name: bytes) -> Following:
    """What the variable `name` is, in lower case."""
    if name in CHARSET:
        return Following.CHARSET
    if name in LAST_ID:
        return Following.LAST_ID
    if name.startswith(b"session_track_"):
        return Following.TRACKING
    if name in NOTHING:
        return Following.NOTHING
    return Following.HOLD if name in HELD else Following.VARIABLE


def holds(name: bytes, value: bytes) -> bool:
    """Whether a variable of Following.HOLD, or a watched one, ties its session down."""
    if name == b"optimizer_trace":
        # The trace of the last statement is read on its own connection.
        return not value.lower().startswith(b"enabled=off")
    return name in HELD and value.upper() not in HELD[name]


def canonical(name: bytes) -> tuple[bytes, bool]:
    """The name a value is kept under, and whether the value is that one's too."""
    if name in PARTS:
        return PARTS[name], False
    return ALIASES.get(name, name), True


def companions(name: bytes) -> tuple[bytes, ...]:
    """What changes with it, unsaid."""
    return COMPANIONS.get(name, ())


def pairs(name: bytes) -> bytes:
    """The other name of the same, on another server; else the name itself."""
    return PAIRS.get(name, name)


def show(names: Sequence[bytes]) -> bytes | None:
    """Ask for the values as session tracking reports them; None for names none can have."""
    if not all(map(NAME.fullmatch, names)):
        return None
    listed = b",".join(b"'%s'" % name for name in names)
    return b"SHOW SESSION VARIABLES WHERE Variable_name IN (%s)" % listed
