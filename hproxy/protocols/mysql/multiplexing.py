# SPDX-License-Identifier: Apache-2.0
"""What sessions that share backend connections need of MySQL, for the layers above.

A connection can serve a client when both agreed on the same capabilities, as far as these
change what the server does or how it answers: that set is the connection's `kind`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hproxy._native.channel import Channel
from hproxy._native.decision import Decision, DecisionCache
from hproxy._native.digest import Digester, digest
from hproxy._native.mysql import ResponseScanner
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.pool import BackendConnection
from hproxy._native.statements import Statement, StatementCache
from hproxy._native.statistics import DigestTable
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.client_tracking import ClientTracking, build_session_track
from hproxy.protocols.mysql.constants import Capability, Command, ServerStatus, TrackedKind
from hproxy.protocols.mysql.context import (
    corrected,
    counts_warnings,
    found_otherwise,
    restate,
    shows_warnings,
)
from hproxy.protocols.mysql.parameters import parse_query
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.profile import Profile, split, wide
from hproxy.protocols.mysql.replies import (
    EOF_HEADER,
    EofPacket,
    OkPacket,
    SessionChange,
    parse_session_track,
)
from hproxy.protocols.mysql.results import err
from hproxy.protocols.mysql.routines import RoutineBook
from hproxy.protocols.mysql.rows import TextResult
from hproxy.protocols.mysql.settings import NULL_OF, Charset, Settings, Step, name_literal, replay
from hproxy.protocols.mysql.state import Outcome, Plan, Question, SessionState
from hproxy.protocols.mysql.traits import Effect, Trait, Traits, classify
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = [
    "CHARSET_UTF8MB4",
    "COLLATIONS",
    "Decision",
    "DecisionCache",
    "DigestTable",
    "Digester",
    "Effect",
    "Facts",
    "Outcome",
    "Question",
    "RoutineBook",
    "SessionState",
    "Settings",
    "Statement",
    "StatementCache",
    "Step",
    "Trait",
    "Traits",
    "capabilities_of",
    "classify",
    "connection",
    "corrected",
    "counts_warnings",
    "digest",
    "found_otherwise",
    "kind_of",
    "read_ok",
    "replay",
    "reset_steps",
    "restate",
    "session",
    "shows_warnings",
    "statement_text",
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

# Tells in every OK what is no state of the session, or cannot be carried over by its value.
UNTRACKED = frozenset({b"statement_id", b"last_gtid", b"gtid_seq_no", b"rand_seed1", b"rand_seed2"})

COLLATIONS = (
    b"SELECT id, character_set_name, collation_name FROM information_schema.collations"
    b" WHERE id IS NOT NULL"
)


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


@dataclass(frozen=True, slots=True)
class Facts:
    """What was learned of a server, once."""

    collations: dict[int, Charset]
    default: Charset
    """For a client whose collation the server does not know."""
    tracking: bytes
    """Statement that switches session tracking on; b"" where there is none."""
    client_tracking: dict[bytes, bytes]
    """session_track_* as a client without the proxy would have them."""
    sql_mode: bytes = b""
    mysql: bool = False
    """MySQL rather than MariaDB."""

    QUESTIONS: ClassVar[tuple[bytes, ...]] = (
        COLLATIONS,
        b"SELECT @@global.character_set_client, @@global.character_set_results,"
        b" @@global.collation_connection",
        b"SHOW SESSION VARIABLES",
        b"SHOW GLOBAL VARIABLES LIKE 'session\\_track%'",
        b"SELECT @@global.sql_mode, @@version",
    )
    WIDTHS: ClassVar[tuple[int, ...]] = (3, 3, 2, 2, 2)

    @classmethod
    def learn(cls, answers: list[list[tuple[bytes | None, ...]] | None], tracked: bool) -> Facts:
        """From the answers to QUESTIONS; None where one was refused.

        Rows of another width than was asked for teach nothing: not every backend is a MySQL.
        """
        collations, default, variables, client, modes = (
            [row for row in answer or () if len(row) == width]
            for answer, width in zip(answers, cls.WIDTHS, strict=True)
        )
        table = {
            int(number): Charset(charset or b"", charset, collation or b"", collation or b"")
            for number, charset, collation in collations
            if number and number.isdigit()
        }
        names = [name for name, _ in variables if name and name not in UNTRACKED]
        tracking = b""
        if tracked and names:
            tracking = (
                b"SET SESSION session_track_schema=ON, session_track_state_change=ON,"
                b" session_track_transaction_info='CHARACTERISTICS',"
                b" session_track_system_variables='%s'" % b",".join(names)
            )
        fallback = Charset(b"utf8mb4", b"utf8mb4", b"utf8mb4_general_ci")
        if default:
            client_set, results, collation = default[0]
            fallback = Charset(client_set or b"", results, collation or b"")
        shown = {name: value for name, value in client if name and value is not None}
        sql_mode, version = modes[0] if modes else (b"", b"")
        mysql = b"mariadb" not in (version or b"").lower()
        return cls(table, fallback, tracking, shown, sql_mode or b"", mysql)

    def charset(self, number: int) -> Charset:
        """What a login with that collation id sets."""
        return self.collations.get(number, self.default)

    def first_settings(self, login: LoginResult, changes: bool) -> Settings:
        """What a session begins with; `changes`: by COM_CHANGE_USER, where MariaDB forgets that
        the client ignores spaces.

        IGNORE_SPACE is set by its name: as a capability of backend connections it would be
        lost by a reset (MariaDB), or by `sql_mode = DEFAULT`.
        """
        settings = Settings.make(login.database, self.charset(login.charset))
        agreed, _ = split(login.capabilities)
        modes = self.sql_mode.split(b",") if self.sql_mode else []
        ignores = Capability.IGNORE_SPACE in agreed and not (changes and not self.mysql)
        if ignores and b"IGNORE_SPACE" not in modes:
            modes.insert(0, b"IGNORE_SPACE")
            settings = settings.with_variables({b"sql_mode": b",".join(modes)})
        return settings


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


def text_result(login: LoginResult) -> TextResult:
    """Reads the answer to a COM_QUERY of ours."""
    agreed, _ = split(login.capabilities)
    return TextResult(agreed)


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


def read_ok(payload: bytes, login: LoginResult) -> tuple[OkPacket, tuple[SessionChange, ...]]:
    """A backend's OK with session state. Raises MalformedPacket."""
    agreed, _ = split(login.capabilities)
    packet = OkPacket.parse(payload, agreed | Capability.SESSION_TRACK)
    return packet, parse_session_track(packet.session_track)


def shown_ok(packet: OkPacket, view: bytes | None, login: LoginResult) -> bytes:
    """The same OK with the session state the client asked for."""
    agreed, _ = split(login.capabilities)
    status = packet.status & ~ServerStatus.SESSION_STATE_CHANGED
    shown = b""
    if view is not None and Capability.SESSION_TRACK in agreed:
        status |= ServerStatus.SESSION_STATE_CHANGED
        shown = view
    return replace(packet, session_track=shown, status=status).build(agreed)


def reset_ok(login: LoginResult) -> bytes:
    """The answer to COM_RESET_CONNECTION."""
    agreed, _ = split(login.capabilities)
    return OkPacket(status=ServerStatus(INITIAL_STATUS)).build(agreed)


def login_ok(login: LoginResult) -> bytes:
    """The answer to a login that no backend was asked about; it tells of the schema."""
    agreed, _ = split(login.capabilities)
    packet = OkPacket(status=ServerStatus(INITIAL_STATUS))
    if login.database and Capability.SESSION_TRACK in agreed:
        schema = SessionChange(TrackedKind.SCHEMA, b"", login.database)
        packet = replace(
            packet,
            status=packet.status | ServerStatus.SESSION_STATE_CHANGED,
            session_track=build_session_track((schema,), False),
        )
    return packet.build(agreed)


def transaction_told(changes: Iterable[SessionChange]) -> tuple[bytes | None, bytes | None]:
    """The letters of the transaction's state and the text of its characteristics, if told."""
    letters = text = None
    for change in changes:
        if change.kind == TrackedKind.TRANSACTION_STATE:
            letters = change.value
        elif change.kind == TrackedKind.TRANSACTION_CHARACTERISTICS:
            text = change.value
    return letters, text


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


def shows_transactions(facts: Facts, login: LoginResult) -> bool:
    """MySQL tells of transactions whoever takes session state, whatever its variables say."""
    agreed, _ = split(login.capabilities)
    return facts.mysql and Capability.SESSION_TRACK in agreed


def at_login_multi(login: LoginResult) -> bool:
    """Whether several statements in one text were agreed on at login."""
    agreed, _ = split(login.capabilities)
    return Capability.MULTI_STATEMENTS in agreed


def use_text(schema: bytes) -> bytes:
    """COM_INIT_DB as a statement."""
    return b"USE `" + schema.replace(b"`", b"``") + b"`"


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


def role(payload: bytes) -> str:
    """What a command is to the session; "" for those that are relayed as they are."""
    return ROLES.get(payload[0], "") if payload else ""


def is_ordinary(command: int) -> bool:
    """Whether a command without a role leaves nothing behind on its connection."""
    return command in ORDINARY


def statement_number(payload: bytes) -> int | None:
    """The id of a statement in a command that names one; None when it is cut short."""
    return int.from_bytes(payload[1:5], "little") if len(payload) > 4 else None


def unknown_statement(payload: bytes, mysql: bool) -> bytes | None:
    """The servers' answer to a statement id that is none; None for a command without answer."""
    command = payload[0]
    if command in (Command.STMT_SEND_LONG_DATA, Command.STMT_CLOSE):
        return None
    number = int.from_bytes(payload[1:5], "little")
    who = "mysql_stmt_precheck" if mysql else STATEMENT_FUNCTIONS[command]
    return err(
        UNKNOWN_STATEMENT,
        f"Unknown prepared statement handler ({number}) given to {who}",
        b"HY000",
    )


def killed_itself(query_only: bool, facts: Facts) -> bytes:
    """The servers' answer to a KILL of who says it."""
    if query_only or facts.mysql:
        return INTERRUPTED
    return err(1927, "Connection was killed", b"70100")


def bad_execute(found: int, mysql: bool) -> bytes:
    """The servers' answer to an execution they cannot read, or whose types nobody has told."""
    if found <= 0:
        return err(1835, "Malformed communication packet" + "." * mysql, b"HY000")
    who = "COM_STMT_EXECUTE" if found == EXECUTE_FEWER else "mysqld_stmt_execute"
    return err(1210, f"Incorrect arguments to {who}", b"HY000")


class PrepareAnswer:
    """Takes the packets of an answer to COM_STMT_PREPARE until it says that was all."""

    def __init__(self, login: LoginResult) -> None:
        agreed, _ = split(login.capabilities)
        self._scanner = ResponseScanner(Capability.DEPRECATE_EOF in agreed)
        self._scanner.start(Command.STMT_PREPARE)
        self._sequence = 1
        self.packets: list[bytes] = []
        self.number = 0

    def take(self, packet: bytes) -> bool:
        """Read one packet; True when it was the last. Raises MalformedPacket."""
        frame = len(packet).to_bytes(3, "little") + bytes([self._sequence]) + packet
        self._sequence = (self._sequence + 1) & 0xFF
        self._scanner.scan(frame)
        if self._scanner.fault:
            raise MalformedPacket("prepare answer", self._scanner.fault, 0)
        if not self.packets:
            self.number = int.from_bytes(packet[1:5], "little")
        self.packets.append(packet)
        return self._scanner.done


# Of (account, kind, settings, modes, text), by which session/prepare.py knows a statement.
CONTEXT_IN_KEY = 2


def statement(
    key: Any, text: bytes, packets: list[bytes], decision: Decision, mysql: bool
) -> Statement:
    """A statement from the answer to its preparation."""
    head = packets[0]
    columns, params = int.from_bytes(head[5:7], "little"), int.from_bytes(head[7:9], "little")
    return Statement(key, text, params, columns, tuple(packets), decision, mysql)


def context_of(statement: Statement) -> Settings:
    """The settings that a statement was prepared under, which its key names."""
    key: Any = statement.key
    context: Settings = key[CONTEXT_IN_KEY]
    return context


def prepare_warnings(packets: list[bytes]) -> bool:
    """Whether a preparation left warnings."""
    return packets[0][10:12] not in (b"", b"\0\0")


def prepare_status(packets: list[bytes]) -> int | None:
    """The server status behind a preparation, if its answer told it."""
    for packet in packets:
        if len(packet) == EOF_BYTES and packet[0] == EOF_HEADER:
            return int.from_bytes(packet[3:5], "little")
    return None


def prepared_packets(
    statement: Statement, client_id: int, status: int, login: LoginResult
) -> list[bytes]:
    """The answer to a client that prepares `statement`, under its own id."""
    agreed, _ = split(login.capabilities)
    kept: Any = statement.response
    packets: list[bytes] = list(kept)
    packets[0] = packets[0][:1] + client_id.to_bytes(4, "little") + packets[0][5:]
    if Capability.DEPRECATE_EOF in agreed:
        return packets
    tail = (status & LASTING_STATUS).to_bytes(2, "little")
    return [
        packet[:3] + tail if len(packet) == EOF_BYTES and packet[0] == EOF_HEADER else packet
        for packet in packets
    ]


def with_status(packets: list[bytes], status: int, login: LoginResult) -> list[bytes]:
    """A result set that was kept, ending with the status flags of now."""
    agreed, _ = split(login.capabilities)
    tail = (status & LASTING_STATUS).to_bytes(2, "little")
    if Capability.DEPRECATE_EOF in agreed:
        last = replace(
            OkPacket.parse(packets[-1], agreed), status=ServerStatus(status & LASTING_STATUS)
        )
        return [*packets[:-1], last.build(agreed)]
    return [
        packet[:3] + tail if len(packet) == EOF_BYTES and packet[0] == EOF_HEADER else packet
        for packet in packets
    ]


def plain_execution(payload: bytes, statement: Statement) -> bool:
    """Whether an execution brings no parameters and opens no cursor."""
    return len(payload) > PLAIN_FLAGS and payload[PLAIN_FLAGS] == 0 and statement.params == 0


def option_set(status: int, login: LoginResult) -> bytes:
    """The answer to COM_SET_OPTION."""
    agreed, _ = split(login.capabilities)
    kept = ServerStatus(status & LASTING_STATUS)
    if Capability.DEPRECATE_EOF in agreed:
        return OkPacket(status=kept, header=EOF_HEADER).build(agreed)
    return EofPacket(kept).build()


# What holds between statements; the rest of the flags is about the last one.
LASTING_STATUS = int(
    ServerStatus.IN_TRANS
    | ServerStatus.AUTOCOMMIT
    | ServerStatus.NO_BACKSLASH_ESCAPES
    | ServerStatus.IN_TRANS_READONLY
    | ServerStatus.ANSI_QUOTES
)
INITIAL_STATUS = int(ServerStatus.AUTOCOMMIT)
EOF_BYTES = 5
PLAIN_FLAGS = 5  # where they are in COM_STMT_EXECUTE
OPTIONS = (b"\0\0", b"\1\0")  # of COM_SET_OPTION: several statements in one text, or not
# Of read_execute: more values are asked for than were sent (only MySQL tells it from other faults).
EXECUTE_FEWER = 3
UNKNOWN_STATEMENT = 1243
INTERRUPTED = err(1317, "Query execution was interrupted", b"70100")
EMPTY_COMMAND = err(1047, "Unknown command", b"08S01")
LATEST_STATEMENT = 0xFFFFFFFF
"""MariaDB: the statement that was prepared last."""

STATEMENT_FUNCTIONS: dict[int, str] = {
    Command.STMT_EXECUTE: "mysqld_stmt_execute",
    Command.STMT_BULK_EXECUTE: "mysqld_stmt_bulk_execute",
    Command.STMT_FETCH: "mysqld_stmt_fetch",
    Command.STMT_RESET: "mysqld_stmt_reset",
}

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

COMMAND_TRAITS = Traits(Trait.NO_TABLE, Effect(0), b"COMMAND")
# What may make another LAST_INSERT_ID() than the one its OK shows, if it shows any.
SETS_LAST_ID = 1 << 16
# What is prepared of these looks different in every session.
OWN_METADATA = Effect.USER_VARIABLES | Effect.ROUTINE | Effect.CREATE_TEMPORARY
# A transaction that the status flags do not show before it has touched a table.
SAVEPOINT = 1 << 17
MAY_SET_LAST_ID = (
    Effect.LAST_ID_SET | Effect.ROUTINE | Effect.EXECUTE | Effect.LOCAL_INFILE | Effect.UNKNOWN
)
# What a text too long to be read must not hide: its connection is kept for good.
UNREADABLE = Effect.USER_VARIABLES | Effect.ROUTINE | Effect.USER_LOCK | Effect.UNKNOWN

UNKNOWN_COMMAND = int(Pin.UNKNOWN_COMMAND)
UNTRACKABLE_STATE = int(Pin.UNTRACKABLE_STATE)
WIDE_STATEMENT = int(Pin.WIDE_STATEMENT)
NEXT_TRANSACTION = int(Pin.NEXT_TRANSACTION)
# Native code keeps these by itself.
OF_STATEMENTS = Pin.OPEN_CURSOR | Pin.LONG_DATA | Pin.FOUND_ROWS | Pin.WARNINGS
NATIVE_PINS = OF_STATEMENTS | Pin.TRANSACTION | Pin.SESSION_MODE
STATE_PINS = sum(Pin) & ~int(NATIVE_PINS | Pin.UNKNOWN_COMMAND | Pin.WIDE_STATEMENT)
RESET = bytes([Command.RESET_CONNECTION])
PING = Step(bytes([Command.PING]), "COM_PING")


def reasons(pins: int, in_transaction: bool) -> list[str]:
    """The names of a session's pins."""
    found = Pin(pins | int(Pin.TRANSACTION) * in_transaction)
    return [pin.name or "" for pin in Pin if pin in found]
