# SPDX-License-Identifier: Apache-2.0
"""`api`: a service that answers as told; `asking`: a command that asks it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hproxy.cli.main import main
from tests.support.fake_api import TOKEN, FakeApi, listed

Asking = Callable[..., Result]

STATUS: dict[str, Any] = {
    "ready": True,
    "reasons": [],
    "started": True,
    "draining": False,
    "paused": False,
    "version": "9.9",
    "config_version": 4,
    "uptime_sec": 3725.0,
    "sessions": 12,
    "processes": [
        {
            **{"role": "worker", "slot": 0, "pid": 4711, "state": "running", "since_sec": 61.0},
            **{"restarts": 1, "beat_age_sec": 0.1, "rss_kib": 51200},
        }
    ],
}
BACKEND: dict[str, Any] = {
    **{"hostgroup": 1, "address": "db:3306", "host": "db", "port": 3306, "status": "ONLINE"},
    **{"weight": 1, "used": 2, "free": 3, "connects": 4, "connect_errors": 0, "queries": 100},
    **{"latency_us": 250},
}
DIGEST: dict[str, Any] = {
    **{"hostgroup": 1, "schemaname": "shop", "username": "app", "client_address": ""},
    **{"digest": "0xAB", "digest_text": "SELECT  *\nFROM t\x1b[2J WHERE id = ?"},
    **{"count_star": 10, "sum_time": 20_000, "min_time": 1, "max_time": 9_000},
}
PIN: dict[str, Any] = {
    **{"session": 7, "user": "app", "db": "shop", "hostgroup": 1, "srv_host": "db"},
    **{"srv_port": 3306, "reason": "TRANSACTION", "since": "...", "since_s": 34},
    **{"statement": "BEGIN", "hint": "COMMIT"},
}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    answers = {
        "GET /status": STATUS,
        "GET /backends": listed(BACKEND),
        "GET /digests": listed(DIGEST),
        "GET /pins": listed(PIN),
        "GET /tables/stats_mysql_global": listed(
            {"Variable_Name": "Questions", "Variable_Value": "100"},
            {"Variable_Name": "mysql_version", "Variable_Value": "8.0"},
        ),
    }
    with FakeApi(answers) as made:
        yield made


@pytest.fixture
def asking(api: FakeApi) -> Asking:
    def run(*arguments: object, stdin: str | None = None, **environ: str) -> Result:
        bare: dict[str, str | None] = {n: None for n in os.environ if n.startswith("HPROXY_")}
        given = {"HPROXY_URL": api.url, "HPROXY_TOKEN": TOKEN} | environ
        texts = [str(argument) for argument in arguments]
        return CliRunner(env=bare | given).invoke(main, texts, input=stdin)

    return run
