# SPDX-License-Identifier: Apache-2.0
"""A service takes over from another: nobody is refused, and a failure changes nothing.

callers ── connect, SELECT, leave, again ──> old ── QUIT ──> new
                                              └ new one refused: old goes on, head and all
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support.embedded import threaded
from tests.support.proxy import Proxy

CALLERS = 4


@contextmanager
def calling(proxy: Proxy) -> Iterator[list[str]]:
    """Clients that come and go meanwhile; what went wrong for them."""
    stop, wrong, served = threading.Event(), [], [0] * CALLERS

    def call(number: int) -> None:
        while not stop.wait(0.005):
            try:
                client = pymysql.connect(
                    host=proxy.host, port=proxy.port, user="demo", password="demo", read_timeout=15
                )
                with client, client.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    assert cursor.fetchall() == ((1,),)
                served[number] += 1
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert min(served) > 5


def ledger(proxy: Proxy) -> int:
    """Which one its workers count in."""
    for entry in Path(f"/proc/{proxy.pid}/fd").iterdir():
        if entry.readlink().name.startswith("memfd:hproxy-ledger"):
            return entry.stat().st_ino
    raise AssertionError("it has none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("upgrade")


@pytest.fixture(scope="module")
def sections(folder: Path) -> Iterator[dict[str, Any]]:
    with threaded() as server:
        yield {
            "server": {
                "listen_addr": "127.0.0.1:0",
                "data_dir": str(folder / "data"),
                "worker_threads": 1,
            },
            "proxy": {"backends": [f"127.0.0.1:{server.port}"]},
            "server.daemon": {"pid_file": str(folder / "pid")},
        }


@pytest.fixture(scope="module")
def old(folder: Path, sections: dict[str, Any]) -> Iterator[Proxy]:
    with Proxy(folder, sections, single=False) as proxy:
        yield proxy


def test_one_that_cannot_start_changes_nothing(
    folder: Path, sections: dict[str, Any], old: Proxy
) -> None:
    with calling(old) as wrong:
        broken = {**sections, "admin": {"address": f"{old.host}:{old.port}"}}
        flags = ("--upgrade", "--reload")
        new = Proxy(folder / "new", broken, flags, single=False, waits=True)
        old.signal(signal.SIGQUIT)
        told = old.wait_for_log("not handed over: the service goes on")
        assert "cannot listen" in told["reason"]
        new.wait_for_log("cannot start")
        new.wait_until(lambda: not new.running, "the new one is gone")
        new.kill()
        assert wrong == []
    assert (folder / "pid").read_text() == f"{old.pid}\n"


def test_the_next_one_takes_over_and_nobody_is_refused(
    folder: Path, sections: dict[str, Any], old: Proxy
) -> None:
    """The last test: the old one is gone after it."""
    staying = pymysql.connect(host=old.host, port=old.port, user="demo", password="demo")
    with staying.cursor() as cursor:
        cursor.execute("BEGIN")
    with calling(old) as wrong, Proxy(folder, sections, ("-u",), single=False, waits=True) as new:
        old.signal(signal.SIGQUIT)
        new.served()
        assert new.port == old.port
        old.wait_for_log("handed over")
        assert ledger(old) == ledger(new)  # limits are for both while the old one drains
        assert (folder / "pid").read_text() == f"{new.pid}\n"
        with staying.cursor() as cursor:
            cursor.execute("SELECT 2")
            assert cursor.fetchall() == ((2,),)
            cursor.execute("COMMIT")
        staying.close()
        old.wait_until(lambda: not old.running, "the old one is gone")
        with pymysql.connect(host=new.host, port=new.port, user="demo", password="demo"):
            pass
        assert wrong == []
    assert not old.faults()
