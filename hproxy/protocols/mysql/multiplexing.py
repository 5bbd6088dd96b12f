# SPDX-License-Identifier: Apache-2.0
"""What sessions that share backend connections need of MySQL, for the layers above.

A connection can serve a client when both agreed on the same capabilities, as far as these
change what the server does or how it answers: that set is the connection's `kind`.
"""

from __future__ import annotations

from typing import Any

from hproxy._native.channel import Channel
from hproxy._native.decision import Decision, DecisionCache, Tally
from hproxy._native.digest import Digester, digest, first_comment, stable_hash
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.mysql_outcome import Watch
from hproxy._native.notes import Notes
from hproxy._native.pool import BackendConnection
from hproxy._native.statements import Statement, StatementCache
from hproxy._native.statistics import DigestCounters, DigestTable
from hproxy._native.tally import CommandTable
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.answers import (
    EMPTY_COMMAND,
    INITIAL_STATUS,
    INTERRUPTED,
    LASTING_STATUS,
    UNKNOWN_INTERNAL,
    killed_itself,
    login_ok,
    one_text,
    option_set,
    read_ok,
    reset_ok,
    shown_ok,
    transaction_told,
    with_status,
)
from hproxy.protocols.mysql.client_tracking import ClientTracking
from hproxy.protocols.mysql.constants import Capability, Command, ServerStatus
from hproxy.protocols.mysql.context import (
    corrected,
    counts_warnings,
    found_otherwise,
    restate,
    shows_warnings,
)
from hproxy.protocols.mysql.counted import COMMAND_NAMES, command_name
from hproxy.protocols.mysql.facts import COLLATIONS, Facts
from hproxy.protocols.mysql.lexer import Kind, tokens
from hproxy.protocols.mysql.lexer import name as name_of
from hproxy.protocols.mysql.parameters import parse_query
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.prepared import (
    LATEST_STATEMENT,
    PrepareAnswer,
    bad_execute,
    context_of,
    plain_execution,
    prepare_status,
    prepare_warnings,
    prepared_packets,
    statement,
    statement_number,
    unknown_statement,
)
from hproxy.protocols.mysql.profile import Profile, split, wide
from hproxy.protocols.mysql.results import err, ok
from hproxy.protocols.mysql.routines import RoutineBook
from hproxy.protocols.mysql.rows import TextResult
from hproxy.protocols.mysql.settings import NULL_OF, Settings, Step, name_literal, replay
from hproxy.protocols.mysql.state import Outcome, Plan, Question, SessionState
from hproxy.protocols.mysql.statement import COMMAND_TRAITS
from hproxy.protocols.mysql.traits import SLOW_EFFECTS, Effect, Trait, Traits, classify

__all__ = [
    "BLOCKED",
    "CHARSET_UTF8MB4",
    "COLLATIONS",
    "COMMAND_NAMES",
    "COMMAND_TRAITS",
    "EMPTY_COMMAND",
    "INITIAL_STATUS",
    "INTERRUPTED",
    "LATEST_STATEMENT",
    "LOGGED",
    "SLOW_EFFECTS",
    "UNKNOWN_INTERNAL",
    "CommandTable",
    "Decision",
    "DecisionCache",
    "DigestCounters",
    "DigestTable",
    "Digester",
    "Effect",
    "Facts",
    "Notes",
    "Outcome",
    "PrepareAnswer",
    "Question",
    "RoutineBook",
    "SessionState",
    "Settings",
    "Statement",
    "StatementCache",
    "Step",
    "Tally",
    "Trait",
    "Traits",
    "Watch",
    "bad_execute",
    "capabilities_of",
    "classify",
    "command_name",
    "connection",
    "context_of",
    "corrected",
    "counts_warnings",
    "digest",
    "first_comment",
    "found_otherwise",
    "killed_itself",
    "kind_of",
    "login_ok",
    "one_text",
    "option_set",
    "plain_execution",
    "prepare_status",
    "prepare_warnings",
    "prepared_packets",
    "read_ok",
    "replay",
    "reset_ok",
    "reset_steps",
    "restate",
    "session",
    "shown_ok",
    "shows_warnings",
    "stable_hash",
    "statement",
    "statement_number",
    "statement_text",
    "transaction_told",
    "unknown_statement",
    "with_status",
]

CHARSET_UTF8MB4 = 45
# Everything else is the login's own affair, or each side's.
SIGNIFICANT = (
    Capability.LONG_PASSWORD
    | Capability.FOUND_ROWS
    | Capability.NO_SCHEMA
    | Capability.LOCAL_FILES
    | Capability.MULTI_STATEMENTS
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.DEPRECATE_EOF
    | Capability.OPTIONAL_RESULTSET_METADATA
    | Capability.QUERY_ATTRIBUTES
)
OPTIONS = (b"\0\0", b"\1\0")  # of COM_SET_OPTION: several statements in one text, or not
ROLES: dict[int, str] = {
    Command.INIT_DB: "init_db",
    Command.QUERY: "query",
    Command.PROCESS_KILL: "kill",
    Command.CHANGE_USER: "change_user",
    Command.STMT_PREPARE: "prepare",
    Command.STMT_EXECUTE: "execute",
    Command.STMT_BULK_EXECUTE: "execute",
    Command.STMT_SEND_LONG_DATA: "on_statement",
    Command.STMT_RESET: "on_statement",
    Command.STMT_FETCH: "on_statement",
    Command.SET_OPTION: "set_option",
    Command.RESET_CONNECTION: "reset",
}
# COM_SLEEP to COM_PING without those above: they ask the server for something, once.
ORDINARY = frozenset({0x00, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F})
# What depends on more than the text, the settings of its session and the data.
OWN_RESULT = Effect.CONNECTION_ID | Effect.USER_LOCK | Effect.SEQUENCE | Effect.ROUTINE
OF_A_SESSION = SLOW_EFFECTS & ~(Effect.ROUTINE | Effect.DROP_TABLE | Effect.USER_VARIABLES)
# What may make another LAST_INSERT_ID() than the one its OK shows, if it shows any.
SETS_LAST_ID = 1 << 16
# What is prepared of these looks different in every session.
OWN_METADATA = Effect.USER_VARIABLES | Effect.ROUTINE | Effect.CREATE_TEMPORARY
# The driver is told of it when it was answered.
LOGGED = 1 << 29
# The driver refuses it.
BLOCKED = 1 << 28
# A transaction that the status flags do not show before it has touched a table.
SAVEPOINT = 1 << 17
# Query rules decide each text for itself, or each time anew.
RULED_BY_TEXT = 1 << 25
RULED_BY_CHANCE = 1 << 26
# They name its hostgroup.
RULED_ROUTE = 1 << 27
MAY_SET_LAST_ID = (
    Effect.LAST_ID_SET | Effect.ROUTINE | Effect.EXECUTE | Effect.LOCAL_INFILE | Effect.UNKNOWN
)
# What a text too long to be read must not hide: its connection is kept for good.
UNREADABLE = Effect.USER_VARIABLES | Effect.ROUTINE | Effect.USER_LOCK | Effect.UNKNOWN
# What a client reads of a statement whose time was up; native code has the same.
TIMED_OUT = err(1907, "Query execution was interrupted, query_timeout exceeded", b"70100")
UNKNOWN_COMMAND = int(Pin.UNKNOWN_COMMAND)
UNTRACKABLE_STATE = int(Pin.UNTRACKABLE_STATE)
WIDE_STATEMENT = int(Pin.WIDE_STATEMENT)
NEXT_TRANSACTION = int(Pin.NEXT_TRANSACTION)
# Native code keeps these by itself.
OF_STATEMENTS = Pin.OPEN_CURSOR | Pin.LONG_DATA | Pin.FOUND_ROWS | Pin.WARNINGS
# For these a session is not kept from going elsewhere: what they stand for is read first.
LEFT_BEHIND = Pin.FOUND_ROWS | Pin.WARNINGS | Pin.NO_MULTIPLEX
NATIVE_PINS = OF_STATEMENTS | Pin.TRANSACTION | Pin.SESSION_MODE | Pin.NO_MULTIPLEX
STATE_PINS = sum(Pin) & ~int(NATIVE_PINS | Pin.UNKNOWN_COMMAND | Pin.WIDE_STATEMENT)
RESET = bytes([Command.RESET_CONNECTION])
PING = Step(bytes([Command.PING]), "COM_PING")


def kind_of(capabilities: int) -> int:
    """The part of a client's agreed capabilities that its backend connections must share."""
    agreed, mariadb = split(capabilities)
    return wide(agreed & SIGNIFICANT, mariadb)


def capabilities_of(kind: int, profile: Profile | None) -> int:
    """What to agree on with a backend for connections of that kind; `profile` is what it can do."""
    agreed, mariadb = split(kind)
    if profile is None or Capability.SESSION_TRACK in profile.capabilities:
        agreed |= Capability.SESSION_TRACK
    return wide(agreed, mariadb)


def session(
    client: Any,
    driver: Any,
    digester: Digester,
    decisions: DecisionCache,
    settings: Settings,
    login: LoginResult,
    idle_timeout: float,
) -> Multiplexed:
    """A session on the client's channel, not started."""
    agreed, _ = split(login.capabilities)
    return Multiplexed(
        client.detach(),
        driver,
        digester,
        decisions,
        settings,
        deprecate_eof=Capability.DEPRECATE_EOF in agreed,
        query_attributes=Capability.QUERY_ATTRIBUTES in agreed,
        idle_timeout=idle_timeout,
    )


def connection(
    channel: Any, bucket: Any, login: LoginResult, settings: Settings, limit: int
) -> BackendConnection:
    """A pooled connection of a channel that has logged in and was set up."""
    return BackendConnection(channel.detach(), bucket, login, settings, limit)


def reset_steps(base: Settings, tracking: bytes) -> tuple[Step, ...]:
    """What makes a connection in whatever state one that holds `base`; it keeps its schema."""
    return (Step(bytes([Command.RESET_CONNECTION]), "COM_RESET_CONNECTION"),) + (
        replay(None, base, tracking) or ()
    )


def talk(connection: BackendConnection, limit: int) -> Channel:
    """A channel on a pooled connection, for commands of ours."""
    return Channel(connection.endpoint, "backend", limit)


def tracks(login: LoginResult) -> bool:
    """Whether the server can tell of session state."""
    agreed, _ = split(login.capabilities)
    return Capability.SESSION_TRACK in agreed


def text_result(login: LoginResult, keep: bool = True) -> TextResult:
    """Reads the answer to a COM_QUERY of ours; without `keep` its rows are not for us."""
    agreed, _ = split(login.capabilities)
    return TextResult(agreed, keep)


def with_attributes(payload: bytes, login: LoginResult) -> bytes:
    """A command of ours with the head that COM_QUERY has where query attributes are agreed on."""
    agreed, _ = split(login.capabilities)
    if payload[0] != Command.QUERY or Capability.QUERY_ATTRIBUTES not in agreed:
        return payload
    return payload[:1] + b"\x00\x01" + payload[1:]


def statement_text(payload: bytes, login: LoginResult) -> bytes:
    """The SQL of a COM_QUERY, behind its query attributes. Raises MalformedPacket."""
    agreed, _ = split(login.capabilities)
    return parse_query(payload, agreed).sql


def session_state(settings: Settings, facts: Facts, routines: RoutineBook) -> SessionState:
    """What is known of a session that begins with `settings`."""
    client_tracking = ClientTracking(facts.client_tracking)
    return SessionState(
        settings,
        mariadb=not facts.mysql,
        book=routines,
        tracking=facts.tracking,
        sql_mode=facts.sql_mode,
        client_tracking=client_tracking,
    )


def shows_state(state: SessionState) -> bool:
    """Whether the client asked to be told more than session state usually has for it."""
    return state.client_tracking.special


def shows_in_eof(state: SessionState, facts: Facts) -> bool:
    """Whether an EOF may tell this client that session state has changed.

    Behind rows MariaDB says so only of transactions."""
    return state.client_tracking.transactions if not facts.mysql else shows_state(state)


def releases(decision: Decision) -> bool:
    """COMMIT RELEASE: the server ends the session after it."""
    traits: Traits = decision.traits
    return traits.verb in (b"COMMIT", b"ROLLBACK") and Effect.UNKNOWN in traits.effects


def finishes(decision: Decision) -> bool:
    """COMMIT or ROLLBACK that leaves to completion_type what follows."""
    traits: Traits = decision.traits
    written = decision.text.upper()
    left_open = b"RELEASE" not in written and b"CHAIN" not in written
    return traits.verb in (b"COMMIT", b"ROLLBACK") and left_open


def shows_transactions(state: SessionState, facts: Facts, login: LoginResult) -> bool:
    """MySQL tells of transactions who is told of anything, whatever the variable for them says."""
    agreed, _ = split(login.capabilities)
    told = facts.mysql and Capability.SESSION_TRACK in agreed
    return told and state.client_tracking.anything(facts.variables)


def at_login_multi(login: LoginResult) -> bool:
    """Whether several statements in one text were agreed on at login."""
    agreed, _ = split(login.capabilities)
    return Capability.MULTI_STATEMENTS in agreed


def restore_users(settings: Settings, plan: Plan) -> list[bytes]:
    """Statements that give the user variables of `plan` the values they have in `settings`."""
    names = sorted({name for effects in plan.effects for name in effects.users})
    if not names:
        return []
    items = []
    for name in names:
        variable, made = b"@" + name_literal(name), settings.user(name) or b"NULL"
        items.append(variable + b"=" + made.removeprefix(NULL_OF))
        if made.startswith(NULL_OF):
            items.append(variable + b"=NULL")
    return [b"SET " + b",".join(items)]


def insert_id_step(number: int) -> Step:
    """Makes LAST_INSERT_ID() return `number`."""
    sql = b"SET last_insert_id=%d" % number
    return Step(bytes([Command.QUERY]) + sql, sql.decode())


def stands_alone(traits: Traits) -> bool:
    """Whether a statement means the same without those before it, and nothing to those behind."""
    several = Trait.MULTI | Trait.BEGINS | Trait.CONTEXT | Trait.LAST_ID
    if traits.traits & several or traits.verb in (b"COMMIT", b"ROLLBACK", b"SAVEPOINT", b"RELEASE"):
        return False
    return not traits.effects & OF_A_SESSION


def rule_error(message: str) -> bytes:
    """The error_msg of a query rule."""
    return err(1148, message, b"42000")


def rule_ok(message: str, status: int, login: LoginResult) -> bytes:
    """The OK_msg of a query rule."""
    agreed, _ = split(login.capabilities)
    return ok(info=message, status=ServerStatus(status & LASTING_STATUS), capabilities=agreed)


def used_schema(text: bytes, modes: int) -> bytes:
    """The schema that a USE names."""
    words = [word for word in tokens(text, modes) if word.kind is not Kind.HINT]
    return name_of(words[1], modes) if len(words) > 1 else b""


def role(payload: bytes) -> str:
    """What a command is to the session; "" for those that are relayed as they are."""
    return ROLES.get(payload[0], "") if payload else ""


def is_ordinary(command: int) -> bool:
    """Whether a command without a role leaves nothing behind on its connection."""
    return command in ORDINARY


def reasons(pins: int, in_transaction: bool) -> list[str]:
    """The names of a session's pins."""
    found = Pin(pins | int(Pin.TRANSACTION) * in_transaction)
    return [pin.name or "" for pin in Pin if pin in found]
