# SPDX-License-Identifier: Apache-2.0
"""Records of statements, slow statements and clients: fields, forms, files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hproxy.errors import ConfigError
from hproxy.telemetry.journal import Journal, JournalOptions, Statement

FOUND = Statement(
    thread_id=7,
    event="COM_QUERY",
    username="bob",
    schemaname="shop",
    client="192.0.2.7:5000",
    hostgroup_id=1,
    server="db:3306",
    query="SELECT 1",
    digest="0x00000000DEADBEEF",
    duration_us=1500,
    rows_sent=1,
)


def records(folder: Path, name: str) -> list[dict[str, object]]:
    text = b"".join(path.read_bytes() for path in sorted(folder.glob(f"{name}.*")))
    return [json.loads(line) for line in text.splitlines()]


def test_off() -> None:
    journal = Journal()
    assert (journal.logging, journal.telling_slow, journal.auditing) == (False, False, False)
    journal.statement(FOUND, log=True, slow=True)
    journal.audit("MySQL_Client_Quit", thread_id=1, client_addr="a:1")
    journal.reopen()
    journal.close()


def test_statements(tmp_path: Path) -> None:
    journal = Journal()
    journal.configure(
        JournalOptions(
            tmp_path, eventslog_filename="q", eventslog_format=2, slowlog_filename="slow"
        )
    )
    journal.statement(FOUND, log=True, slow=False)
    changed = replace(
        FOUND, rows_sent=0, rows_affected=3, last_insert_id=9, errno=1062, client_stmt_id=4
    )
    journal.statement(changed, log=True, slow=True)
    journal.statement(FOUND, log=False, slow=False)
    journal.close()
    first, second = records(tmp_path, "q")
    assert first["duration_us"] == 1500
    assert first["endtime_timestamp_us"] - first["starttime_timestamp_us"] == 1500  # type: ignore[operator]
    assert str(first["starttime"])[-7] == "."
    assert "rows_affected" not in first
    assert second | {"rows_affected": 3, "last_insert_id": 9, "errno": 1062} == second
    assert second["client_stmt_id"] == 4
    assert records(tmp_path, "slow") == [second]


def test_text(tmp_path: Path) -> None:
    journal = Journal()
    journal.configure(JournalOptions(tmp_path, eventslog_filename="q"))
    forged = 'x"\nProxySQL LOG QUERY: \u2028 \x1b[31m é'
    journal.statement(replace(FOUND, query=forged, username='b"ob'), log=True, slow=False)
    journal.close()
    head, query = (tmp_path / "q.00000001").read_text().splitlines()
    assert head.startswith('ProxySQL LOG QUERY: thread_id="7" username="b\\"ob" schemaname="shop"')
    assert 'HID=1 server="db:3306"' in head
    assert head.endswith('duration=1500us rows_sent=1 digest="0x00000000DEADBEEF"')
    assert query == 'x"\\nProxySQL LOG QUERY: \\u2028 \\x1b[31m é'


def test_who_came_and_went(tmp_path: Path) -> None:
    journal = Journal()
    journal.proxy_addr = "0.0.0.0:6033"
    journal.configure(JournalOptions(auditlog_filename=str(tmp_path / "a")))
    journal.audit("MySQL_Client_Connect_ERR", thread_id=1, client_addr="a:1", extra_info="why")
    journal.audit("MySQL_Client_Close", thread_id=1, client_addr="a:1", since=0.0, ssl=True)
    journal.admin_statement("SET x=?", username="admin", client_addr="b:2", error="no")
    secret = "UPDATE mysql_users SET password='hunter2'"
    journal.admin_statement(secret, username="admin", client_addr="b:2")
    journal.audit("MySQL_Client_Quit", thread_id=1, client_addr="a:1", username="\ud800")
    journal.close()
    refused, closed, ran, hidden, odd = records(tmp_path, "a")
    assert hidden["query"] == "UPDATE mysql_users SET password=?"
    assert refused["extra_info"] == "why"
    assert refused["proxy_addr"] == "0.0.0.0:6033"
    assert closed["ssl"] is True
    assert str(closed["duration"]).endswith("ms")
    assert (ran["event"], ran["query"], ran["error"]) == ("Admin_Statement", "SET x=?", "no")
    assert odd["username"] == "\\ud800"


def test_changes_while_running(tmp_path: Path) -> None:
    journal = Journal()
    options = JournalOptions(tmp_path, eventslog_filename="q", eventslog_format=2)
    journal.configure(options)
    with pytest.raises(ConfigError, match="cannot be written"):
        journal.configure(replace(options, eventslog_filename="new", auditlog_filename="no/where"))
    assert journal.options is options
    journal.statement(FOUND, log=True, slow=False)
    journal.configure(replace(options, eventslog_filesize=5))
    journal.configure(replace(options, eventslog_filename=""))
    assert not journal.logging
    assert len(records(tmp_path, "q")) == 1
    assert journal.dropped == 0
