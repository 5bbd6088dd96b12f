# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl reload`, `upgrade` and `drain` of a service of processes: one life, in this order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from tests.integration.test_ctl import Service, started
from tests.support.embedded import threaded


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with threaded() as server:
        proxy = started(tmp_path_factory.mktemp("ctl"), "workers", server.port)
        proxy.wait_for_log("http api open")
        made = Service(proxy, "workers", server.port)
        try:
            yield made
        finally:
            made.close()
            # After an upgrade it is another angel, and no child of ours.
            for row in made.json("status")["processes"]:
                if row["role"] == "angel":
                    os.kill(row["pid"], signal.SIGTERM)
            proxy.kill()


def asked(client: Any, sql: str = "SELECT 1") -> Any:
    with client.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_a_file_that_is_right_and_one_that_is_wrong(service: Service) -> None:
    config = service.proxy.config
    good = config.read_text()
    config.write_text(good + '[[mysql_users]]\nusername = "other"\npassword = "secret"\n')
    client = service.client()
    service.ctl("reload")
    assert asked(service.client("other", "secret")) == ((1,),)
    config.write_text(good.replace('auth = "table"', 'auth = "magic"'))
    assert "proxy.auth" in service.refused("reload")
    assert "not upgraded" in service.refused("upgrade")
    assert " ready " in service.ctl("status", "--check")
    assert asked(client) == ((1,),)
    assert asked(service.client("other", "secret")) == ((1,),)
    config.write_text(good)


def test_upgrade(service: Service) -> None:
    before = {row["pid"] for row in service.json("status")["processes"]}
    client = service.client()
    asked(client, "SET @kept = 41")
    service.ctl("upgrade")
    told = service.until("status", holds=lambda told: told["ready"])
    after = {row["pid"] for row in told["processes"]}
    assert not before & after
    assert asked(client, "SELECT @kept + 1")[0][0] == 42
    assert asked(service.client()) == ((1,),)


def test_drain(service: Service) -> None:
    idle, busy = service.client(), service.client()
    asked(busy, "BEGIN")
    service.ctl("drain", "--deadline", 10, "--no-wait")
    service.until("status", holds=lambda told: told["draining"] and told["sessions"] == 1)
    assert "draining" in service.run("ctl", "-c", service.proxy.config, "status").stdout
    asked(busy, "COMMIT")
    assert service.ctl("drain", "--deadline", 10) == "drained\n"
    with pytest.raises(pymysql.err.OperationalError):
        asked(idle)
