# SPDX-License-Identifier: Apache-2.0
"""Records command phases: python -m tests.captures.record_commands (servers: ci/services up).

A client of our own says exactly what a scenario wants, under exactly the capabilities it
wants, and takes as an answer whatever comes until the server is silent. So the recordings
know where responses end without asking the scanner that they test.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Done, PacketArrived, Send, Side
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.backend import BackendLogin
from hproxy.protocols.mysql.commands import command_name
from hproxy.protocols.mysql.constants import Capability, Command, MariadbCapability
from hproxy.protocols.mysql.profile import wide
from hproxy.protocols.mysql.wire import HEADER_BYTES, frames, u8, u16, u32
from tests.captures.reading import HERE, Conversation, Frame
from tests.support.server import Server, find_server

SILENCE_S = 0.1
TIMEOUT_S = 20.0

BASE = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.LONG_FLAG
    | Capability.TRANSACTIONS
    | Capability.MULTI_STATEMENTS
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.LOCAL_FILES
)
MODERN = BASE | Capability.DEPRECATE_EOF | Capability.SESSION_TRACK
NO_EXTRAS = MariadbCapability(0)
CURSOR_READ_ONLY = 1
NEW_PARAMETERS = b"\x01"
LONGLONG = b"\x08\x00"
STRING = b"\xfd\x00"


class Talk:
    """One connection: sends commands and writes down both sides, frame by frame."""

    def __init__(self, server: Server, capabilities: int) -> None:
        self.frames: list[Frame] = []
        self.socket = socket.create_connection((server.host, server.port), TIMEOUT_S)
        self.unread = b""
        wanted = LoginResult(
            b"hproxy", b"test", capabilities, credential=Credential(b"hproxy"), charset=45
        )
        machine = BackendLogin(LoginOptions(0, attributes=False), wanted)
        actions = machine.start()
        sequence = 0
        while not isinstance(actions[-1], Done):
            payload = self.packet()
            self.keep(False, payload, sequence, "" if self.frames else "greeting")
            sequence += 1
            actions = machine.receive(PacketArrived(Side.BACKEND, payload))
            for action in actions:
                if isinstance(action, Send):
                    self.socket.sendall(b"".join(frames(action.payload, sequence)))
                    self.keep(True, action.payload, sequence, "authentication")
                    sequence += 1
        self.frames[-1] = self.frames[-1]._replace(remark="OK")

    def keep(self, client: bool, payload: bytes, sequence: int, remark: str) -> None:
        for data in frames(payload, sequence):
            self.frames.append(Frame(client, data, remark))

    def packet(self) -> bytes:
        while True:
            size = HEADER_BYTES + int.from_bytes(self.unread[:3], "little")
            if len(self.unread) >= max(size, HEADER_BYTES):
                payload = self.unread[HEADER_BYTES:size]
                self.unread = self.unread[size:]
                return payload
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self.unread += data

    def listen(self, wait_s: float = TIMEOUT_S, silence_s: float = SILENCE_S) -> list[bytes]:
        """All frames until the server is silent; `wait_s` is for the first byte."""
        data = b""
        patience = wait_s
        while select.select([self.socket], [], [], patience)[0]:
            try:
                more = self.socket.recv(1 << 20)
            except ConnectionResetError:
                break
            if not more:
                break
            data += more
            patience = silence_s
        heard = []
        while data:
            size = HEADER_BYTES + int.from_bytes(data[:3], "little")
            self.frames.append(Frame(False, data[:size]))
            heard.append(data[HEADER_BYTES:size])
            data = data[size:]
        return heard

    def command(
        self, payload: bytes, *, answered: bool = True, silence_s: float = SILENCE_S
    ) -> list[bytes]:
        """Send a command; its response's payloads."""
        self.keep(True, payload, 0, command_name(payload[0]))
        self.socket.sendall(b"".join(frames(payload)))
        return self.listen(silence_s=silence_s) if answered else []

    def query(self, sql: str, *, silence_s: float = SILENCE_S) -> list[bytes]:
        return self.command(u8(Command.QUERY) + sql.encode(), silence_s=silence_s)

    def infile(self, sql: str, *chunks: bytes) -> None:
        self.query(sql)
        sequence = self.frames[-1].data[3]
        for chunk in (*chunks, b""):
            sequence += 1
            self.keep(True, chunk, sequence, "file")
            self.socket.sendall(b"".join(frames(chunk, sequence)))
        self.listen()

    def prepare(self, sql: str) -> bytes:
        """The statement id, as four bytes."""
        return self.command(u8(Command.STMT_PREPARE) + sql.encode())[0][1:5]

    def execute(self, statement: bytes, parameters: bytes = b"", flags: int = 0) -> None:
        self.command(u8(Command.STMT_EXECUTE) + statement + u8(flags) + u32(1) + parameters)

    def fetch(self, statement: bytes, rows: int) -> None:
        self.command(u8(Command.STMT_FETCH) + statement + u32(rows))

    def close(self) -> None:
        self.command(u8(Command.QUIT), answered=False)
        self.socket.close()


# -- scenarios ----------------------------------------------------------------------


def text(talk: Talk) -> None:
    """COM_QUERY in all its answers."""
    talk.query("SELECT 1")
    talk.query("SELECT 'a', NULL, REPEAT('x', 300), '' UNION ALL SELECT NULL, 2, '', 'b'")
    talk.query("SELECT 1 FROM DUAL WHERE 1 = 0")
    talk.query("DO 0")
    talk.query("SELECT no_such_column")
    talk.query("CREATE TEMPORARY TABLE rows_of (a INT PRIMARY KEY AUTO_INCREMENT, b VARBINARY(30))")
    talk.query("INSERT INTO rows_of (b) VALUES (x'FE'), (x'FF00'), (x'FB'), ('')")
    talk.query("SELECT b, a FROM rows_of")
    talk.query("UPDATE rows_of SET b = 'z' WHERE a < 3")
    talk.query("SELECT CAST('abc' AS SIGNED)")  # with a warning
    talk.query("SHOW WARNINGS")
    talk.query("BEGIN")
    talk.query("ROLLBACK")
    talk.query("SELECT " + ", ".join(f"{n} AS c{n}" for n in range(300)))
    talk.query("SELECT (SELECT a FROM rows_of) FROM DUAL")  # more than one row: ERR
    talk.query("")


def several(talk: Talk) -> None:
    """Several results to one command; an error ends them."""
    talk.query("SELECT 1; SELECT 2, 3; DO 0; SELECT 4")
    talk.query("SELECT 1; SELECT no_such_column; SELECT 2")
    talk.query("DROP PROCEDURE IF EXISTS results")
    talk.query(
        "CREATE PROCEDURE results(INOUT n INT)"
        " BEGIN SELECT n; SELECT 'two' AS b UNION SELECT 'three'; SET n = n + 1; END"
    )
    talk.query("SET @n = 5")
    talk.query("CALL results(@n)")
    statement = talk.prepare("CALL results(?)")
    talk.execute(statement, b"\0" + NEW_PARAMETERS + LONGLONG + (7).to_bytes(8, "little"))
    talk.query("DROP PROCEDURE results")
    # An error while rows are on their way: the last rows are never sent.
    talk.query("CREATE TEMPORARY TABLE docs (a INT PRIMARY KEY, d TEXT)")
    talk.query("INSERT INTO docs VALUES (1, '[1]'), (2, '[2]'), (3, 'broken')")
    talk.query("SELECT a, UpdateXML(d, CONCAT('/a', IF(a = 3, '[', '')), '<b/>') FROM docs")
    talk.query("SELECT a, EXP(a * 300) FROM docs ORDER BY a")


def prepared(talk: Talk) -> None:
    """Statements with and without parameters and columns, cursors, long data."""
    talk.query("CREATE TEMPORARY TABLE p (a INT PRIMARY KEY, b TEXT)")
    for sql in ("DO 1", "SELECT 1, 2", "DELETE FROM p WHERE a = ?", "SELECT ?, b FROM p"):
        statement = talk.prepare(sql)
        parameters = b"\0" + NEW_PARAMETERS + LONGLONG + (1).to_bytes(8, "little")
        talk.execute(statement, parameters if "?" in sql else b"")
        talk.command(u8(Command.STMT_CLOSE) + statement, answered=False)
    talk.prepare("SELEKT 1")
    talk.command(u8(Command.STMT_EXECUTE) + b"\xee\xee\0\0\0\1\0\0\0")  # no such statement

    insert = talk.prepare("INSERT INTO p VALUES (?, ?)")
    for part in (b"long ", b"data " * 20):
        talk.command(u8(Command.STMT_SEND_LONG_DATA) + insert + u16(1) + part, answered=False)
    row = b"\0" + NEW_PARAMETERS + LONGLONG + STRING + (1).to_bytes(8, "little")
    talk.execute(insert, row)
    talk.command(u8(Command.STMT_RESET) + insert)
    for number in range(2, 8):
        talk.execute(insert, row[:-8] + number.to_bytes(8, "little") + b"\x01x")
    everything = talk.prepare("SELECT a, b, 254 FROM p ORDER BY a")
    talk.execute(everything)
    talk.execute(everything, flags=CURSOR_READ_ONLY)
    talk.fetch(everything, 3)
    talk.fetch(everything, 1)
    talk.fetch(everything, 100)
    talk.fetch(everything, 1)  # the cursor is exhausted
    talk.command(u8(Command.STMT_RESET) + everything)
    nothing = talk.prepare("SELECT a FROM p WHERE a > 1000")
    # Plainly first: MySQL 9.7 ends an empty result with the wrong packet (OK instead of EOF)
    # when the statement's first execution had a cursor, and no client can read that.
    talk.execute(nothing)
    talk.execute(nothing, flags=CURSOR_READ_ONLY)
    talk.fetch(nothing, 5)


def administration(talk: Talk) -> None:
    """Everything that is answered with one packet, and COM_FIELD_LIST."""
    talk.command(u8(Command.PING))
    talk.command(u8(Command.STATISTICS))
    talk.command(u8(Command.INIT_DB) + b"test")
    talk.command(u8(Command.INIT_DB) + b"no_such_database")
    talk.query("CREATE TABLE IF NOT EXISTS fields_of (a INT DEFAULT 5, b VARCHAR(9) DEFAULT 'x')")
    talk.command(u8(Command.FIELD_LIST) + b"fields_of\0")
    talk.command(u8(Command.FIELD_LIST) + b"no_such_table\0")
    talk.query("DROP TABLE fields_of")
    talk.command(u8(Command.SET_OPTION) + u16(1))
    talk.command(u8(Command.SET_OPTION) + u16(0))
    talk.command(u8(Command.PROCESS_INFO))
    talk.command(u8(Command.PROCESS_KILL) + u32(0xFFFFFFF0))
    talk.command(u8(Command.RESET_CONNECTION))
    talk.command(u8(Command.DEBUG))
    talk.command(b"\x7f")  # a command nobody knows


def infile(talk: Talk) -> None:
    """LOAD DATA LOCAL INFILE: a file, an empty one, one that is refused."""
    talk.query("CREATE TEMPORARY TABLE loaded (a INT PRIMARY KEY, b TEXT)")
    load = "LOAD DATA LOCAL INFILE 'name' INTO TABLE loaded FIELDS TERMINATED BY ','"
    talk.infile(load, b"1,one\n2,two\n", b"3,three\n")
    talk.infile(load)
    talk.query(load.replace("loaded", "no_such_table"))
    talk.infile(f"DO 0; {load}; SELECT COUNT(*) FROM loaded", b"4,four\n")
    talk.query("SELECT * FROM loaded")


def tracking(talk: Talk) -> None:
    """OK packets that carry session state."""
    talk.query("SET SESSION session_track_system_variables = '*'")
    talk.query("SET SESSION session_track_state_change = ON")
    talk.query("SET SESSION session_track_transaction_info = 'CHARACTERISTICS'")
    talk.query("SET sql_mode = 'ANSI'")
    talk.query("USE test")
    talk.query("START TRANSACTION READ ONLY")
    talk.query("SELECT 1")
    talk.query("COMMIT")
    talk.query("SET NAMES latin1; SELECT 2; USE test")


def metadata(talk: Talk) -> None:
    """MySQL's optional metadata: definitions left out on demand."""
    talk.query("SELECT 1, 'a'")
    talk.query("SET resultset_metadata = NONE")
    talk.query("SELECT 1, 'a' UNION SELECT 2, 'b'")
    talk.query("SELECT 1 FROM DUAL WHERE 1 = 0")
    talk.query("SELECT 1; SELECT 2, 3")
    statement = talk.prepare("SELECT ?, 2")
    talk.execute(statement, b"\0" + NEW_PARAMETERS + LONGLONG + (7).to_bytes(8, "little"))
    talk.query("SET resultset_metadata = FULL")
    talk.query("SELECT 1")


def cached_metadata(talk: Talk) -> None:
    """MariaDB leaves definitions out when a statement is executed again."""
    statement = talk.prepare("SELECT ?, 'b' UNION SELECT 3, 'c'")
    parameters = b"\0" + NEW_PARAMETERS + LONGLONG + (7).to_bytes(8, "little")
    for _ in range(3):
        talk.execute(statement, parameters)
    talk.query("SELECT 1")
    talk.execute(statement, parameters, flags=CURSOR_READ_ONLY)
    talk.fetch(statement, 10)


def progress(talk: Talk) -> None:
    """MariaDB's progress reports, ERR packets that are no errors."""
    talk.query("SET progress_report_time = 1")
    talk.query("CREATE TEMPORARY TABLE slow (a INT)")
    talk.query("INSERT INTO slow SELECT seq FROM seq_1_to_30")
    # A default that takes some 50 ms a row.
    effort = "LENGTH(SHA2(REPEAT('x', 15000000 + a), 512))"
    talk.query(f"ALTER TABLE slow ADD COLUMN b INT DEFAULT ({effort})", silence_s=2.0)
    talk.query("SELECT COUNT(*) FROM slow")


def bulk(talk: Talk) -> None:
    """MariaDB's COM_STMT_BULK_EXECUTE."""
    talk.query("CREATE TEMPORARY TABLE b (a BIGINT PRIMARY KEY)")
    statement = talk.prepare("INSERT INTO b VALUES (?)")
    types = u16(128) + LONGLONG  # 128: the types are sent
    values = b"".join(b"\0" + number.to_bytes(8, "little") for number in range(4))
    talk.command(u8(Command.STMT_BULK_EXECUTE) + statement + types + values)
    talk.command(u8(Command.STMT_BULK_EXECUTE) + statement + types + values)  # duplicates
    talk.query("SELECT COUNT(*) FROM b")


def farewell(talk: Talk) -> None:
    """What a server says to a client that was idle for too long: an ERR nobody asked for."""
    talk.query("SET wait_timeout = 1, interactive_timeout = 1")
    talk.listen(wait_s=3.0)


def big_command(talk: Talk) -> None:
    """A command of two frames: the sequence ids of its response go on after them.

    Written down without the command, which is 16 MiB long.
    """
    sql = b"SELECT LENGTH('" + b"x" * 0xFFFFFF + b"')"
    payload = u8(Command.QUERY) + sql
    talk.socket.sendall(b"".join(frames(payload)))
    talk.listen()


@dataclass(frozen=True)
class Scenario:
    name: str
    run: Callable[[Talk], None]
    capabilities: Capability = BASE
    mariadb: MariadbCapability = NO_EXTRAS
    servers: tuple[str, ...] = ("mariadb", "mysql")
    quits: bool = True


BOTH = (text, several, prepared, administration, infile)
SCENARIOS = [
    *(Scenario(f"{run.__name__}_eof", run) for run in BOTH),
    *(Scenario(f"{run.__name__}_deprecated_eof", run, MODERN) for run in BOTH),
    Scenario("tracking", tracking, MODERN),
    Scenario("tracking_eof", tracking, BASE | Capability.SESSION_TRACK),
    Scenario(
        "metadata", metadata, MODERN | Capability.OPTIONAL_RESULTSET_METADATA, servers=("mysql",)
    ),
    Scenario(
        "metadata_eof", metadata, BASE | Capability.OPTIONAL_RESULTSET_METADATA, servers=("mysql",)
    ),
    Scenario(
        "cached_metadata", cached_metadata, MODERN, MariadbCapability.CACHE_METADATA, ("mariadb",)
    ),
    Scenario(
        "cached_metadata_eof", cached_metadata, BASE, MariadbCapability.CACHE_METADATA, ("mariadb",)
    ),
    Scenario("progress", progress, MODERN, MariadbCapability.PROGRESS, ("mariadb",)),
    Scenario("bulk", bulk, MODERN, MariadbCapability.STMT_BULK_OPERATIONS, ("mariadb",)),
    Scenario("farewell", farewell, MODERN, quits=False),
    Scenario("big_command", big_command, MODERN, quits=False, servers=("mysql",)),
]


def main() -> None:
    wanted = set(sys.argv[1:])
    for name in ("mariadb", "mysql"):
        server = find_server(name)
        for scenario in SCENARIOS:
            if name not in scenario.servers or (wanted and scenario.name not in wanted):
                continue
            capabilities = scenario.capabilities
            if name == "mysql":
                # Absent means "MariaDB" and brings the four extra bytes.
                capabilities |= Capability.LONG_PASSWORD
            talk = Talk(server, wide(capabilities, scenario.mariadb))
            scenario.run(talk)
            if scenario.quits:
                talk.close()
            record(name, scenario, talk)


def record(name: str, scenario: Scenario, talk: Talk) -> None:
    version = talk.frames[0].payload[1:].split(b"\0")[0].decode()
    facts = {
        "server": version,
        "client": "tests/captures/record_commands.py",
        "recorded": "python -m tests.captures.record_commands",
    }
    number = version.removeprefix("5.5.5-").split("-")[0]
    folder = f"{name}-{'.'.join(number.split('.')[:2])}"
    path = HERE / "mysql" / folder / f"commands_{scenario.name}.txt"
    path.write_text(Conversation(scenario.name, facts, talk.frames).write(), encoding="utf-8")
    sys.stdout.write(f"{path.relative_to(HERE)}: {len(talk.frames)} frames\n")


if __name__ == "__main__":
    main()
