# SPDX-License-Identifier: Apache-2.0
"""Samples in a file: written, rolled up, expired; and files that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from hproxy.telemetry.history import DAY, HOUR, Batch, History
from tests.support.worker import Journal

START = 1_700_000_000 // DAY * DAY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data/hproxy_stats.db"


@pytest.fixture
def log() -> Journal:
    return Journal()


@pytest.fixture
def history(path: Path, log: Journal) -> Iterator[History]:
    made = History(path, log)
    yield made
    made.close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    database = apsw.Connection(str(path))
    try:
        return list(database.execute(sql))
    finally:
        database.close()


def cpu(at: int, user: int = 1, system: int = 2) -> Batch:
    return Batch(at, {"system_cpu": [(at, user, system)]})


def memory(at: int, size: int) -> Batch:
    return Batch(at, {"system_memory": [(at, *([size] * 6))]})


def test_nothing_is_opened_before_there_is_something_to_write(history: History, path: Path) -> None:
    assert history.flush(1)
    assert not path.exists()


def test_a_sample_is_a_row(history: History, path: Path) -> None:
    assert history.put(cpu(START))
    assert history.flush(5)
    assert rows(path, "SELECT * FROM system_cpu") == [(START, 1, 2)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert (history.written, history.dropped, history.last_error) == (1, 0, "")


def test_a_finished_hour_and_day_become_a_row(history: History, path: Path) -> None:
    for minute in range(0, 26 * 60, 30):
        history.put(cpu(START + minute * 60, user=minute))
        history.put(memory(START + minute * 60, size=minute))
        assert history.flush(10)
    hours = rows(path, "SELECT * FROM system_cpu_hour ORDER BY timestamp")
    assert len(hours) == 25, "the last one is not over"
    assert hours[:2] == [(START, 30, 2), (START + HOUR, 90, 2)], "the last value of a counter"
    means = rows(path, "SELECT timestamp, resident FROM system_memory_hour ORDER BY 1 LIMIT 2")
    assert means == [(START, 15), (START + HOUR, 75)], "the mean of what goes up and down"
    assert rows(path, "SELECT * FROM system_cpu_day") == [(START, 23 * 60 + 30, 2)]


def test_what_is_too_old_is_forgotten(history: History, path: Path) -> None:
    history.put(cpu(START))
    history.put(cpu(START + 8 * DAY))
    history.put(cpu(START + 366 * DAY))
    assert history.flush(5)
    assert rows(path, "SELECT timestamp FROM system_cpu") == [(START + 366 * DAY,)]
    assert rows(path, "SELECT timestamp FROM system_cpu_hour") == [(START + 8 * DAY,)]
    days = rows(path, "SELECT timestamp FROM system_cpu_day ORDER BY 1")
    assert days == [(START,), (START + 8 * DAY,)]


def test_status_variables_are_kept_by_number(history: History, path: Path) -> None:
    history.put(Batch(START, {}, {"Questions": "5", "Slow_queries": "0"}))
    history.put(Batch(START + 60, {}, {"Questions": "7", "Stmt_Cached": "1"}))
    assert history.flush(5)
    found = rows(
        path,
        "SELECT timestamp, variable_name, variable_value FROM history_mysql_status_variables"
        " JOIN history_mysql_status_variables_lookup USING (variable_id) ORDER BY 1, 2",
    )
    assert found == [
        (START, "Questions", "5"),
        (START, "Slow_queries", "0"),
        (START + 60, "Questions", "7"),
        (START + 60, "Stmt_Cached", "1"),
    ]
    assert rows(path, "SELECT COUNT(*) FROM history_mysql_status_variables_lookup") == [(3,)]


def test_a_locked_file_costs_samples_and_nothing_else(
    history: History, path: Path, log: Journal
) -> None:
    history.put(cpu(START))
    assert history.flush(5)
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    history.put(cpu(START + 60))
    history.put(cpu(START + 120))
    assert history.flush(10)
    assert (history.written, history.dropped) == (1, 2)
    assert len(log.told("history not written")) == 1, "once, not every minute"
    other.execute("ROLLBACK")
    other.close()
    history.put(cpu(START + 180))
    assert history.flush(5)
    assert (history.written, history.last_error) == (2, "")


def test_a_full_disk_costs_samples_and_nothing_else(path: Path, log: Journal) -> None:
    history = History(Path("/dev/full/hproxy_stats.db"), log)
    history.put(cpu(START))
    assert history.flush(5)
    assert (history.written, history.dropped) == (0, 1)
    assert history.last_error
    history.close()


def test_a_file_that_is_no_database(path: Path, log: Journal) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    history = History(path, log)
    history.put(cpu(START))
    assert history.flush(5)
    assert (history.written, history.dropped) == (0, 1)
    history.close()
    assert path.read_bytes().startswith(b"this is no database")


def test_more_than_can_wait_is_dropped(history: History, path: Path) -> None:
    history.put(cpu(START))
    assert history.flush(5)
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    taken = [history.put(cpu(START + minute)) for minute in range(200)]
    assert taken.count(False) >= 100
    assert history.dropped >= 100
    other.execute("ROLLBACK")
    other.close()
