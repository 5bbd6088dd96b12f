# SPDX-License-Identifier: Apache-2.0
"""/metrics of a service of two workers: phases of statements and processes, summed and exact."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.test_http import OPEN, Api
from tests.support.operated import Operated, sections, server_row
from tests.support.process import eventually
from tests.support.server import Server

CLIENTS, READS = 6, 5
SLEEP_S = 0.05


class Scraped:
    """What Prometheus would read."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        found = [s.value for s in self._samples if s.name == name and matches(s.labels, labels)]
        assert found, f"no {name} {labels}"
        return float(sum(found))


def matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, mariadb: Server) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("metrics")
    made = sections(folder, server_row(mariadb, max_connections=2), http=OPEN)
    with Operated(folder, made, ("--workers", "2"), single=False) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def api(service: Operated) -> Api:
    return Api(service)


def scrape(api: Api) -> Scraped:
    status, text = api("GET", "/metrics", token="")
    assert status == 200
    return Scraped(text)


def test_phases_of_all_workers(service: Operated, api: Api) -> None:
    where = {"hostgroup": "0"}
    phase, answer = "hproxy_phase_duration_seconds", "hproxy_query_duration_seconds"
    before = scrape(api)
    with ExitStack() as stack:
        clients = [stack.enter_context(service.client()) for _ in range(CLIENTS)]
        for client in clients:
            for _ in range(READS):
                client("SELECT 4711")
            client(f"SELECT SLEEP({SLEEP_S})")
        # Known to the workers at once; what the head shows of them is asked for each time.
        after = scrape(api)
        node = {"proxy_com": "ComQuery"}
        count = after(f"{answer}_count", **where) - before(f"{answer}_count", **where)
        assert count >= CLIENTS * (READS + 1)
        for name in ("first_byte", "total"):
            labels = {**where, "phase": name}
            assert after(f"{phase}_count", **labels) == after(f"{answer}_count", **where)
            took = after(f"{phase}_sum", **labels) - before(f"{phase}_sum", **labels)
            assert took >= CLIENTS * SLEEP_S
        assert after(f"{phase}_count", **where, phase="queue") == after(
            "proxysql_connpool_acquisitions_total", **where
        )
        assert after(f"{phase}_count", **where, phase="connect") >= 1
        assert after("proxy_com_latency_sum", **node) >= 1000 * CLIENTS * SLEEP_S
        assert after("proxy_curr_connections") == CLIENTS


def test_processes(service: Operated, api: Api) -> None:
    now = scrape(api)
    for who in ({"role": "head", "slot": "0"}, *({"role": "worker", "slot": s} for s in "01")):
        assert now("hproxy_process_resident_bytes", **who) > 1 << 20
        assert now("hproxy_process_fds", **who) > 3
        assert now("hproxy_process_restarts_total", **who) == 0
    assert now("process_resident_memory_bytes") == now("hproxy_process_resident_bytes")
    processes = api.get("status")["processes"]
    (pid,) = [row["pid"] for row in processes if (row["role"], row["slot"]) == ("worker", 1)]
    os.kill(pid, signal.SIGKILL)
    who = {"role": "worker", "slot": "1"}

    def restarted() -> bool:
        try:
            return scrape(api)("hproxy_process_restarts_total", **who) == 1
        except AssertionError:
            return False  # it is away: nobody measures it

    eventually(restarted, "the new one is there", 20.0)
