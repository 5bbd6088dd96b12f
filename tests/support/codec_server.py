# SPDX-License-Identifier: Apache-2.0
"""A server for one real client, made of the MySQL codecs alone: judges what they write.

Knows one account; answers each query with the result the test hands in, and each prepared
statement with a row of its own parameters.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from hproxy.protocols.mysql.auth import (
    FAST_AUTH_OK,
    FULL_AUTH_NEEDED,
    PLUGINS,
    Outcome,
    Secret,
    decrypt_password,
    generate_rsa_key,
    new_scramble,
    public_pem,
)
from hproxy.protocols.mysql.constants import Capability, Command, ErrorNumber
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
)
from hproxy.protocols.mysql.parameters import Query, parse_execute, parse_query
from hproxy.protocols.mysql.results import (
    Column,
    Value,
    binary_resultset,
    column,
    err,
    ok,
    prepare_ok,
    text_resultset,
)
from hproxy.protocols.mysql.wire import join, try_packet

__all__ = ["CodecServer", "Result"]

TIMEOUT_S = 10.0
OFFERED = (
    Capability.LONG_PASSWORD
    | Capability.FOUND_ROWS
    | Capability.LONG_FLAG
    | Capability.CONNECT_WITH_DB
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.SESSION_TRACK
)
RSA_KEY = generate_rsa_key()


class Result(NamedTuple):
    """What a query yields."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]


class CodecServer:
    """Serves one connection in a thread; `port` is where."""

    def __init__(
        self,
        results: Mapping[bytes, Result],
        *,
        secret: str = "secret",
        plugin: bytes = b"caching_sha2_password",
        account_plugin: bytes | None = None,
        offered: Capability = OFFERED,
    ) -> None:
        self.results = results
        self.secret = Secret.parse(secret)
        self.greeted = PLUGINS[plugin]
        self.plugin = PLUGINS[account_plugin or plugin]
        self.offered = offered
        self.response: HandshakeResponse | None = None
        self.queries: list[Query] = []
        self.executions: list[tuple[Value, ...]] = []
        self.agreed = Capability(0)
        self.sequence = 0
        self.inbox = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> CodecServer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes an accept nobody answered.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S).close()
        self.thread.join(TIMEOUT_S)
        self.listener.close()
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        try:
            self.peer, _ = self.listener.accept()
            self.listener.close()
            self.peer.settimeout(TIMEOUT_S)
            with self.peer:
                if self.login():
                    self.serve()
        except (ConnectionError, EOFError):
            pass  # the client left
        except BaseException as error:
            self.failure = error

    def read(self) -> bytes:
        while (packet := try_packet(self.inbox)) is None:
            data = self.peer.recv(1 << 16)
            if not data:
                raise EOFError
            self.inbox += data
        del self.inbox[: packet.end]
        self.sequence = packet.sequence + 1
        return packet.payload

    def write(self, *payloads: bytes) -> None:
        data, self.sequence = join(payloads, self.sequence)
        self.peer.sendall(data)

    # -- login -----------------------------------------------------------------

    def login(self) -> bool:
        scramble = new_scramble(self.greeted.scramble_bytes)
        greeting = Greeting(b"8.0.0-hproxy", 1, scramble, self.offered, plugin=self.greeted.name)
        self.write(greeting.build())
        self.response = response = HandshakeResponse.parse(self.read())
        self.agreed = response.capabilities & self.offered
        answer = response.auth_response
        if response.plugin != self.plugin.name or self.plugin is not self.greeted:
            scramble = new_scramble(self.plugin.scramble_bytes)
            closed = scramble + (b"\0" if len(scramble) == 20 else b"")
            self.write(AuthSwitchRequest(self.plugin.name, closed).build())
            answer = self.read()
        verdict = self.plugin.verify(self.secret, answer, scramble, None)
        if verdict.outcome is Outcome.FULL_NEEDED:
            verdict = self.secret.verify_password(self.ask_password(scramble))
        elif verdict.accepted and self.plugin.name == b"caching_sha2_password" and answer:
            self.write(AuthMoreData(FAST_AUTH_OK).build())
        if verdict.accepted:
            self.write(ok(capabilities=self.agreed))
        else:
            self.write(err(ErrorNumber.ACCESS_DENIED, "Access denied"))
        return verdict.accepted

    def ask_password(self, scramble: bytes) -> bytes:
        self.write(AuthMoreData(FULL_AUTH_NEEDED).build())
        assert self.read() == b"\x02"
        self.write(AuthMoreData(public_pem(RSA_KEY)).build())
        password = decrypt_password(RSA_KEY, self.read(), scramble)
        assert password is not None
        return password

    # -- commands --------------------------------------------------------------

    def serve(self) -> None:
        statements: list[int] = []
        types: dict[int, tuple[int, ...]] = {}
        while (payload := self.read())[0] != Command.QUIT:
            command = payload[0]
            if command == Command.QUERY:
                self.answer(parse_query(payload, self.agreed))
            elif command == Command.STMT_PREPARE:
                count = payload.count(b"?")
                statements.append(count)
                columns = [column(f"p{i}") for i in range(count)]
                self.write(*prepare_ok(len(statements), count, columns, self.agreed))
            elif command == Command.STMT_EXECUTE:
                number = int.from_bytes(payload[1:5], "little")
                count = statements[number - 1]
                done = parse_execute(payload, count, self.agreed, types=types.get(number, ()))
                types[number] = done.types
                self.executions.append(done.values)
                columns = [
                    column(f"p{i}", bytes if value is None else type(value))
                    for i, value in enumerate(done.values)
                ]
                self.write(*binary_resultset(columns, [done.values], self.agreed))
            elif command == Command.STMT_CLOSE:
                pass
            elif command in (Command.PING, Command.INIT_DB, Command.STMT_RESET):
                self.write(ok(capabilities=self.agreed))
            else:
                self.write(err(ErrorNumber.UNKNOWN_COM, f"unknown command {command}"))

    def answer(self, query: Query) -> None:
        self.queries.append(query)
        if query.sql in self.results:
            result = self.results[query.sql]
            self.write(*text_resultset(result.columns, result.rows, self.agreed))
        elif query.sql.upper().startswith((b"SET", b"USE", b"COMMIT", b"ROLLBACK")):
            self.write(ok(3, 7, info="done", capabilities=self.agreed))
        else:
            self.write(err(ErrorNumber.PARSE, "what?"))
