# SPDX-License-Identifier: Apache-2.0
"""Records tests/captures/mysql anew: python -m tests.captures.record (servers: ci/services up).

Each scenario drives one real client through a recorder that writes down what passes. TLS is
recorded up to where it starts. Not a test: run it when a server version is added.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import mysql.connector
import pymysql
from mysql.connector.constants import ClientFlag

from hproxy.protocols.mysql.commands import command_name
from hproxy.protocols.mysql.handshake import Greeting, SslRequest
from hproxy.protocols.mysql.wire import HEADER_BYTES
from tests.captures.reading import HERE, Conversation, Frame
from tests.support.server import Server, find_server

TIMEOUT_S = 20.0
SESSION_STATEMENTS = """
    USE test;
    SET autocommit = 0;
    SET SESSION session_track_state_change = ON;
    SET SESSION session_track_transaction_info = 'CHARACTERISTICS';
    CREATE TEMPORARY TABLE t (a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(20));
    START TRANSACTION READ ONLY;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
    INSERT INTO t (b) VALUES ('one'), ('two'), (NULL);
    SELECT * FROM t;
    UPDATE t SET b = 'x' WHERE a > 1;
    SET NAMES latin1;
    ROLLBACK;
    SELECT no_such_column;
"""


class Recorder:
    """A relay for one connection that remembers frames in the order they were complete."""

    def __init__(self, server: Server) -> None:
        self.frames: list[Frame] = []
        self.encrypted = False
        self.lock = threading.Lock()
        self.halves = {True: bytearray(), False: bytearray()}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, args=(server,))
        self.thread.start()

    def serve(self, server: Server) -> None:
        client, _ = self.listener.accept()
        self.listener.close()
        backend = socket.create_connection((server.host, server.port), TIMEOUT_S)
        client.settimeout(TIMEOUT_S)
        other = threading.Thread(target=self.pump, args=(backend, client, False))
        other.start()
        self.pump(client, backend, True)
        other.join()
        client.close()
        backend.close()

    def pump(self, source: socket.socket, target: socket.socket, client: bool) -> None:
        while data := source.recv(65536):
            self.keep(client, data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def keep(self, client: bool, data: bytes) -> None:
        with self.lock:
            half = self.halves[client]
            half += data
            while not self.encrypted and len(half) >= HEADER_BYTES:
                size = HEADER_BYTES + int.from_bytes(half[:3], "little")
                if len(half) < size:
                    return
                frame = Frame(client, bytes(half[:size]))
                del half[:size]
                # Only the first answer: 32 bytes of a later one may look the same.
                answers_greeting = len(self.frames) == 1
                self.encrypted = answers_greeting and SslRequest.matches(frame.payload)
                self.frames.append(frame._replace(remark=self.remark(frame)))

    def remark(self, frame: Frame) -> str:
        if not self.frames:
            return "greeting"
        if self.encrypted:
            return "SSL request; TLS from here on"
        logged_in = any(f.remark == "OK" for f in self.frames)
        if frame.client:
            if len(self.frames) == 1:
                return "handshake response"
            starts_command = logged_in and frame.data[3] == 0
            return command_name(frame.payload[0]) if starts_command else "authentication"
        marks = {0x00: "OK", 0xFF: "ERR", 0xFE: "auth switch", 0x01: "auth data"}
        return "" if logged_in else marks.get(frame.payload[0], "")


@dataclass
class Scenario:
    """A conversation worth keeping: who talks, and how."""

    server: str
    name: str
    client: str
    run: Callable[[Server, int], None]
    before: Callable[[Server], None] | None = None


def by_pymysql(user: str, password: str) -> Callable[[Server, int], None]:
    def run(server: Server, port: int) -> None:
        try:
            connection = pymysql.connect(
                host="127.0.0.1", port=port, user=user, password=password, ssl_disabled=True
            )
        except pymysql.err.OperationalError:
            return
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 AS one, NULL AS nothing, 'text' AS text")
            cursor.execute("SET @a = 1")

    return run


def by_program(
    *arguments: str, statements: str = SESSION_STATEMENTS
) -> Callable[[Server, int], None]:
    def run(server: Server, port: int) -> None:
        command = [
            str(server.client), "--no-defaults", "--host=127.0.0.1", f"--port={port}",
            "--user=hproxy", "--password=hproxy", "--force", *arguments,
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        subprocess.run(
            command, input=statements, text=True, env=environment, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=TIMEOUT_S,
        )  # fmt: skip

    return run


def by_connector(prepared: bool = False) -> Callable[[Server, int], None]:
    def run(server: Server, port: int) -> None:
        connection = mysql.connector.connect(
            host="127.0.0.1", port=port, user="hproxy", password="hproxy", use_pure=True,
            ssl_disabled=True, client_flags=[ClientFlag.CONNECT_WITH_DB], database="test",
        )  # fmt: skip
        if prepared:
            cursor = connection.cursor(prepared=True)
            for values in ((1, -1.5, "text", b"\0\xff"), (None, 2**40, "", None)):
                cursor.execute("SELECT ?, ?, ?, ?", values)
                cursor.fetchall()
            cursor.close()
        else:
            connection.cmd_change_user("hproxy", "hproxy", "test")
        connection.close()

    return run


def flush_privileges(server: Server) -> None:
    """Empty caching_sha2_password's cache, so that the next login takes the full path."""
    with pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password,
        ssl={"ca": str(server.ca), "check_hostname": False},
    ) as connection:  # fmt: skip
        connection.cursor().execute("FLUSH PRIVILEGES")


PROGRAM_QUIETLY = {
    "mariadb": ("--skip-ssl",),
    "mysql": ("--ssl-mode=DISABLED", "--get-server-public-key"),
}
ATTRIBUTES = "query_attributes trace 42 second two\nSELECT 1;\nSELECT 2;\n"

SCENARIOS = [
    Scenario("mariadb", "login_native", "PyMySQL", by_pymysql("native", "native")),
    Scenario("mariadb", "login_ed25519", "PyMySQL", by_pymysql("ed", "ed")),
    Scenario("mariadb", "login_empty", "PyMySQL", by_pymysql("empty", "")),
    Scenario("mariadb", "login_refused", "PyMySQL", by_pymysql("native", "wrong")),
    Scenario("mariadb", "login_tls", "mariadb", by_program("--ssl")),
    Scenario(
        "mariadb", "session_state", "mariadb", by_program(*PROGRAM_QUIETLY["mariadb"], "test")
    ),
    Scenario("mariadb", "prepared", "mysql-connector-python", by_connector(prepared=True)),
    Scenario("mariadb", "change_user", "mysql-connector-python", by_connector()),
    Scenario(
        "mysql", "login_full", "PyMySQL", by_pymysql("sha2", "sha2"), before=flush_privileges
    ),
    Scenario("mysql", "login_fast", "PyMySQL", by_pymysql("sha2", "sha2")),
    Scenario("mysql", "login_empty", "PyMySQL", by_pymysql("empty", "")),
    Scenario("mysql", "login_refused", "PyMySQL", by_pymysql("sha2", "wrong")),
    Scenario("mysql", "login_tls", "mysql", by_program("--ssl-mode=REQUIRED")),
    Scenario("mysql", "session_state", "mysql", by_program(*PROGRAM_QUIETLY["mysql"], "test")),
    Scenario(
        "mysql", "query_attributes", "mysql",
        by_program(*PROGRAM_QUIETLY["mysql"], "--commands", statements=ATTRIBUTES),
    ),
    Scenario("mysql", "prepared", "mysql-connector-python", by_connector(prepared=True)),
    Scenario("mysql", "change_user", "mysql-connector-python", by_connector()),
]  # fmt: skip


def main() -> None:
    for scenario in SCENARIOS:
        server = find_server(scenario.server)
        if scenario.before is not None:
            scenario.before(server)
        recorder = Recorder(server)
        scenario.run(server, recorder.port)
        recorder.thread.join()
        version = Greeting.parse(recorder.frames[0].payload).server_version.decode()
        facts = {
            "server": version,
            "client": scenario.client,
            "recorded": "python -m tests.captures.record",
        }
        # "5.5.5-10.11.19-MariaDB-..." -> "mariadb-10.11"
        number = version.removeprefix("5.5.5-").split("-")[0]
        folder = f"{scenario.server}-{'.'.join(number.split('.')[:2])}"
        path = HERE / "mysql" / folder / f"{scenario.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        conversation = Conversation(scenario.name, facts, recorder.frames)
        path.write_text(conversation.write(), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(HERE)}: {len(recorder.frames)} frames\n")


if __name__ == "__main__":
    main()
