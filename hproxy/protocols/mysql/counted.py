# SPDX-License-Identifier: Apache-2.0
"""What a statement counts as in stats_mysql_commands_counters: ProxySQL's names for commands.

    verb and effects (traits.py) ──> SELECT, SELECT_FOR_UPDATE, CREATE_TEMPORARY, ...
    nothing fits ──────────────────> UNKNOWN
    no statement at all (COM_PING) > ""

Of a text of several statements the first one counts.
"""

from __future__ import annotations

from hproxy.protocols.mysql.statement import Effect, Traits

__all__ = ["COMMAND_NAMES", "command_name"]

_NAMES = """
ALTER_TABLE ALTER_VIEW ANALYZE_TABLE BEGIN CALL CHANGE_MASTER COMMIT CREATE_DATABASE CREATE_INDEX
CREATE_TABLE CREATE_TEMPORARY CREATE_TRIGGER CREATE_USER CREATE_VIEW DEALLOCATE DELETE DESCRIBE
DROP_DATABASE DROP_INDEX DROP_TABLE DROP_TRIGGER DROP_USER DROP_VIEW GRANT EXECUTE EXPLAIN FLUSH
INSERT KILL LOAD LOCK_TABLE OPTIMIZE PREPARE PURGE RELEASE_SAVEPOINT RENAME_TABLE RESET_MASTER
RESET_SLAVE REPLACE REVOKE ROLLBACK ROLLBACK_SAVEPOINT SAVEPOINT SELECT SELECT_FOR_UPDATE SET
SHOW_TABLE_STATUS START_TRANSACTION TRUNCATE_TABLE UNLOCK_TABLES UPDATE USE SHOW UNKNOWN
"""
COMMAND_NAMES = tuple(_NAMES.split())
KNOWN = frozenset(COMMAND_NAMES)

# Verbs that are called something else than their own words.
OTHERWISE: dict[bytes, str] = {
    b"TABLE": "SELECT",
    b"VALUES": "SELECT",
    b"WITH": "SELECT",
    b"DESC": "DESCRIBE",
    b"CHANGE": "CHANGE_MASTER",
    b"RELEASE": "RELEASE_SAVEPOINT",
    b"ROLLBACK TO": "ROLLBACK_SAVEPOINT",
    b"TRUNCATE": "TRUNCATE_TABLE",
    b"UNLOCK": "UNLOCK_TABLES",
    b"LOCK TABLE": "LOCK_TABLE",
    b"LOCK TABLES": "LOCK_TABLE",
    b"CREATE SCHEMA": "CREATE_DATABASE",
    b"DROP SCHEMA": "DROP_DATABASE",
    b"DROP TABLES": "DROP_TABLE",
    b"RENAME TABLES": "RENAME_TABLE",
}


def command_name(traits: Traits, digest: bytes) -> str:
    """The row a statement of these traits counts in; "" for what is no statement."""
    verb = traits.verb
    if verb == b"COMMAND":
        return ""
    found = OTHERWISE.get(verb) or verb.decode("ascii", "replace").replace(" ", "_")
    if found == "SELECT" and Effect.LOCKING_READ in traits.effects:
        return "SELECT_FOR_UPDATE"
    if found == "CREATE_TABLE" and Effect.CREATE_TEMPORARY in traits.effects:
        return "CREATE_TEMPORARY"
    if found.startswith(("SET_", "LOAD_")):
        return found.partition("_")[0]
    if verb in SAID_BY_SECOND:
        return _by_second(found, digest)
    return found if found in KNOWN else "UNKNOWN"


SAID_BY_SECOND = frozenset((b"SHOW", b"RESET", b"ANALYZE"))


def _by_second(found: str, digest: bytes) -> str:
    """SHOW TABLE STATUS, RESET MASTER, ANALYZE TABLE."""
    words = digest[:80].upper().decode("ascii", "replace").split()
    behind = [word for word in words[1:] if word not in ("LOCAL", "NO_WRITE_TO_BINLOG", "FULL")]
    if found == "SHOW":
        return "SHOW_TABLE_STATUS" if behind[:2] == ["TABLE", "STATUS"] else "SHOW"
    second = behind[0] if behind else ""
    if found == "RESET":
        named = {"MASTER": "RESET_MASTER", "BINARY": "RESET_MASTER"}
        named |= {"SLAVE": "RESET_SLAVE", "REPLICA": "RESET_SLAVE"}
        return named.get(second, "UNKNOWN")
    return "ANALYZE_TABLE" if second in ("TABLE", "TABLES") else "UNKNOWN"
