# SPDX-License-Identifier: Apache-2.0
"""The process that serves: signals, the exit status, and what cannot start."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hproxy.errors import ConfigError, ConfigFinding
from hproxy.process import single
from tests.support.fake_backend import FakeBackend
from tests.support.process import eventually
from tests.support.rude_client import RudeClient
from tests.support.worker import HERE, Journal, configuration


class Witness:
    """Sees the worker's journal from another thread, and signals the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journal = Journal()
        self.failures: list[BaseException] = []
        monkeypatch.setattr("hproxy.telemetry.log.get_logger", lambda _: self.journal)

    def told(self, event: str) -> bool:
        return bool(self.journal.told(event))

    @property
    def port(self) -> int:
        eventually(lambda: self.told("serving"), "serving")
        address: str = self.journal.told("serving")[0]["address"]
        return int(address.rpartition(":")[2])

    def serve(self, config: Any, act: Callable[[], None]) -> int:
        """Serve in this thread while `act` runs in another; the exit status."""

        def guarded() -> None:
            try:
                act()
            except BaseException as error:
                self.failures.append(error)
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=guarded)
        thread.start()
        status = single.serve(config)
        thread.join()
        assert self.failures == []
        return status


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    handlers = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    }
    yield Witness(monkeypatch)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends(witness: Witness, tmp_path: Path, number: int) -> None:
    def act() -> None:
        with RudeClient(HERE, witness.port).log_in() as client:
            assert client.query("SELECT 1") == [b"\x04fine"]
            os.kill(os.getpid(), number)
            assert client.ending().number in (0, 1053)

    with FakeBackend() as backend:
        assert witness.serve(configuration(tmp_path, backend.address), act) == 0
    assert witness.journal.told("stopped") == [{"cut_off": 0}]
    assert witness.journal.told("starting")


def test_a_second_signal_does_not_wait(witness: Witness, tmp_path: Path) -> None:
    def act() -> None:
        with RudeClient(HERE, witness.port).log_in() as client:
            client.send_query("hold")
            eventually(lambda: held.is_set(), "the query is at the backend")
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(lambda: witness.told("draining"), "draining")
            os.kill(os.getpid(), signal.SIGTERM)
            assert client.ending().number == 1053

    held = threading.Event()

    def script(connection: Any) -> None:
        connection.log_in()
        connection.read_packet()
        held.set()
        connection.silence()

    with FakeBackend(script) as backend:
        assert witness.serve(configuration(tmp_path, backend.address), act) == 0
    assert witness.journal.told("stopped") == [{"cut_off": 1}]


def test_other_signals_do_not_end_it(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reopened = threading.Event()
    monkeypatch.setattr("hproxy.telemetry.log.reopen", reopened.set)

    def act() -> None:
        assert witness.port
        os.kill(os.getpid(), signal.SIGHUP)
        eventually(lambda: witness.told("reloaded"), "told")
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(reopened.is_set, "logs reopened")
        os.kill(os.getpid(), signal.SIGTERM)

    assert witness.serve(configuration(tmp_path, f"{HERE}:1"), act) == 0


def test_the_start_tells_what_is_doubtful(witness: Witness, tmp_path: Path) -> None:
    account = {"username": "ann", "password": "pw", "default_hostgroup": 7}
    config = configuration(tmp_path, "127.0.0.1:1", mysql_users=[account])
    config = config.noted([ConfigFinding("old.cnf:3", "ldap", "is not known here")])

    def act() -> None:
        eventually(lambda: witness.told("serving"), "serving")
        os.kill(os.getpid(), signal.SIGTERM)

    assert witness.serve(config, act) == 0
    told = witness.journal.told("configuration is doubtful")
    assert [facts["about"] for facts in told] == ["ldap", "mysql_users[0].default_hostgroup"]


def test_what_cannot_start_says_why(witness: Witness, tmp_path: Path) -> None:
    with socket.create_server((HERE, 0)) as other:
        listen = {"listen_addr": f"{HERE}:{other.getsockname()[1]}"}
        with pytest.raises(ConfigError):
            single.serve(configuration(tmp_path, f"{HERE}:1", server=listen))
    (told,) = witness.journal.told("cannot start")
    assert told["code"] == "config"
    assert "cannot listen" in told["reason"]
