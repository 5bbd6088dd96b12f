# SPDX-License-Identifier: Apache-2.0
"""What is on record: statements, slow statements, and who came and went; each in its own files.

    statement answered ── its decision says `log` ──> eventslog_filename.NNNNNNNN
                      └── slower than long_query_time ──> slowlog_filename.NNNNNNNN
    login, refusal, end, change of user, admin statement ──> auditlog_filename.NNNNNNNN

Fields are those of ProxySQL's JSON logs. Format 1, its binary one, is written here as the text
its reader makes of it. No record holds a password: see `redact`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from hproxy.errors import ConfigError
from hproxy.telemetry.numbered_file import NumberedFile, Share
from hproxy.telemetry.redact import shown

__all__ = ["Journal", "JournalOptions", "Statement"]

MIB = 1 << 20
LONGEST = 65_536
"""Characters of a statement that are shown."""
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Files without a name are off; relative ones are in `folder`."""

    folder: Path = Path()
    eventslog_filename: str = ""
    eventslog_filesize: int = 100 * MIB
    eventslog_default_log: bool = False
    eventslog_format: int = 1
    slowlog_filename: str = ""
    slowlog_filesize: int = 100 * MIB
    long_query_time: float = 1.0
    """Seconds."""
    auditlog_filename: str = ""
    auditlog_filesize: int = 100 * MIB


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that was answered; times in microseconds."""

    thread_id: int
    event: str
    username: str
    schemaname: str
    client: str
    hostgroup_id: int
    server: str
    query: str
    digest: str
    duration_us: int
    rows_sent: int = 0
    rows_affected: int | None = None
    last_insert_id: int = 0
    errno: int = 0
    client_stmt_id: int | None = None


class Journal:
    """All three logs of a worker; `proxy_addr` is where it listens."""

    def __init__(
        self,
        trouble: Callable[[str, str, int], None] | None = None,
        share: Share = Share.ALONE,
    ) -> None:
        """`trouble(file, reason, lines)` is called when lines begin to be lost, in any thread.

        `share`: with other processes of the service."""
        self._share = share
        self.options = JournalOptions()
        self.proxy_addr = ""
        self._trouble = trouble
        self._events: NumberedFile | None = None
        self._slow: NumberedFile | None = None
        self._audit: NumberedFile | None = None

    @property
    def logging(self) -> bool:
        """Whether statements are logged that are to be."""
        return self._events is not None

    @property
    def telling_slow(self) -> bool:
        """Whether slow statements are logged, and not only counted."""
        return self._slow is not None

    @property
    def auditing(self) -> bool:
        return self._audit is not None

    @property
    def dropped(self) -> int:
        """Lines of all three that were lost."""
        return sum(each.dropped for each in self._files())

    def _files(self) -> list[NumberedFile]:
        return [file for file in (self._events, self._slow, self._audit) if file is not None]

    def configure(self, options: JournalOptions) -> None:
        """From now on.

        Raises ConfigError when a file cannot be opened; then all stays as it was."""
        made: list[NumberedFile] = []
        plan: dict[str, tuple[NumberedFile | None, NumberedFile | None]] = {}
        try:
            for name in ("events", "slow", "audit"):
                now: NumberedFile | None = getattr(self, f"_{name}")
                wanted = self._wanted(options, name, now)
                if wanted is not None and wanted is not now:
                    made.append(wanted)
                plan[name] = now, wanted
        except ConfigError:
            for file in made:
                file.close()
            raise
        for name, (now, wanted) in plan.items():
            setattr(self, f"_{name}", wanted)
            if now is not None and now is not wanted:
                now.close()
        self.options = options

    def _wanted(
        self, options: JournalOptions, name: str, now: NumberedFile | None
    ) -> NumberedFile | None:
        key = f"{name}log_filename"
        filename: str = getattr(options, key)
        limit: int = getattr(options, f"{name}log_filesize")
        if not filename:
            return None
        base = options.folder / filename
        if now is not None and now.base == base:
            now.file_bytes = limit
            return now
        text = name == "events" and options.eventslog_format == 1
        trouble = self._trouble

        def tell(reason: str, lines: int) -> None:
            if trouble is not None:
                trouble(str(base), reason, lines)

        try:
            return NumberedFile(base, limit, gap=_gap_text if text else _gap, trouble=tell,
                                share=self._share)  # fmt: skip
        except OSError as error:
            raise ConfigError(
                f"cannot be written: {error.strerror}",
                key=f"proxy.{key}",
                value=str(base),
                hint="the folder must exist, and hproxy may write to it",
            ) from error

    def reopen(self) -> None:
        """The next file of each, as PROXYSQL FLUSH LOGS and SIGUSR1 ask for."""
        for file in self._files():
            file.rotate()

    def close(self) -> None:
        """Write what is queued and end."""
        for file in self._files():
            file.close()
        self._events = self._slow = self._audit = None

    # -- records -------------------------------------------------------------------

    def statement(self, found: Statement, *, log: bool, slow: bool) -> None:
        """A statement was answered now. Never raises, never waits."""
        now = time.time_ns() // 1000
        if log and self._events is not None:
            text = self.options.eventslog_format == 1
            self._events.put(_as_text(found, now) if text else _as_json(found, now))
        if slow and self._slow is not None:
            self._slow.put(_as_json(found, now))

    def audit(
        self,
        event: str,
        *,
        thread_id: int,
        client_addr: str,
        username: str = "",
        schemaname: str = "",
        ssl: bool = False,
        extra_info: str = "",
        since: float | None = None,
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Somebody came, was refused, went, or did something.

        `since` is when they had come, on the monotonic clock, if they went."""
        if self._audit is None:
            return
        now = time.time_ns() // 1000
        record: dict[str, object] = {
            "timestamp": now // 1000,
            "time": _clock(now, 3),
            "event": event,
            "thread_id": thread_id,
            "username": username,
            "schemaname": schemaname,
            "client_addr": client_addr,
            "proxy_addr": self.proxy_addr,
            "ssl": ssl,
        }
        if extra_info:
            record["extra_info"] = extra_info
        if since is not None:
            lasted = time.monotonic() - since
            record["creation_time"] = _clock(now - round(lasted * 1e6), 3)
            record["duration"] = f"{lasted * 1000:.3f}ms"
        self._audit.put(_line(record | dict(more)))

    def admin_statement(
        self, query: str, *, username: str, client_addr: str, error: str = ""
    ) -> None:
        """Somebody ran `query` on the admin port; passwords in it are not told."""
        told = shown(query.encode("utf-8", "backslashreplace"))
        more = {"query": told[:LONGEST]} | ({"error": error} if error else {})
        self.audit(
            "Admin_Statement", thread_id=0, client_addr=client_addr, username=username, more=more
        )


def _clock(us: int, digits: int) -> str:
    stamp = datetime.fromtimestamp(us / 1e6).strftime("%Y-%m-%d %H:%M:%S")
    return f"{stamp}.{us % 1_000_000:06d}"[: 20 + digits]


def _line(record: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # lone surrogates
        safe = {key: _encodable(value) for key, value in record.items()}
        return orjson.dumps(safe, option=orjson.OPT_APPEND_NEWLINE)


def _encodable(value: Any) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _as_json(found: Statement, end: int) -> bytes:
    start = end - found.duration_us
    record: dict[str, object] = {
        "hostgroup_id": found.hostgroup_id,
        "thread_id": found.thread_id,
        "event": found.event,
        "username": found.username,
        "schemaname": found.schemaname,
        "client": found.client,
        "server": found.server,
        "rows_sent": found.rows_sent,
        "errno": found.errno,
        "query": found.query[:LONGEST],
        "starttime_timestamp_us": start,
        "starttime": _clock(start, 6),
        "endtime_timestamp_us": end,
        "endtime": _clock(end, 6),
        "duration_us": found.duration_us,
        "digest": found.digest,
    }
    if found.rows_affected is not None:
        record["rows_affected"] = found.rows_affected
        if found.last_insert_id:
            record["last_insert_id"] = found.last_insert_id
    if found.client_stmt_id is not None:
        record["client_stmt_id"] = found.client_stmt_id
    return _line(record)


def _as_text(found: Statement, end: int) -> bytes:
    """Two lines; whatever would break them is escaped."""
    query = _one_line(found.query[:LONGEST])
    head = (
        f'ProxySQL LOG QUERY: thread_id="{found.thread_id}" username="{_bare(found.username)}" '
        f'schemaname="{_bare(found.schemaname)}" client="{found.client}" '
        f'HID={found.hostgroup_id} server="{found.server}" '
        f'starttime="{_clock(end - found.duration_us, 6)}" endtime="{_clock(end, 6)}" '
        f"duration={found.duration_us}us rows_sent={found.rows_sent} "
    )
    if found.rows_affected is not None:
        head += f"rows_affected={found.rows_affected} "
    if found.errno:
        head += f"errno={found.errno} "
    return f'{head}digest="{found.digest}"\n{query}\n'.encode("utf-8", "backslashreplace")


def _one_line(text: str) -> str:
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def _bare(name: str) -> str:
    return _one_line(name).replace('"', '\\"')


def _gap(lost: int) -> bytes:
    return _line({"event": "lines dropped", "dropped": lost})


def _gap_text(lost: int) -> bytes:
    return b"%d statements were not logged\n" % lost
