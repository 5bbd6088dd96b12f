# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl show X`, and each X as a command of its own: what is.

A kind is a row of KINDS: where it is, what is shown of it and in which order. `--json` shows all
of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hproxy.cli.remote import EXIT_REFUSED, Remote, remote
from hproxy.control.client import segment

__all__ = ["COMMANDS", "duration"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One list of the API."""

    about: str
    columns: Mapping[str, str]
    """Title: key."""
    path: str = ""


def same(*names: str) -> dict[str, str]:
    """Columns that are called what they are."""
    return {name: name for name in names}


KINDS = {
    "sessions": Kind(
        "Who is connected, and what they do.",
        {
            **{"id": "SessionID", "user": "user", "schema": "db", "client": "client"},
            **{"hostgroup": "hostgroup", "backend": "backend", "command": "command"},
            **{"ms": "time_ms", "statement": "info"},
        },
    ),
    "backends": Kind(
        "Servers as members of hostgroups.",
        same(
            *("hostgroup", "address", "status", "weight", "used", "free", "connects"),
            *("connect_errors", "queries", "latency_us"),
        ),
    ),
    "hostgroups": Kind(
        "Groups of servers.",
        same("hostgroup", "role", "backends", "online", "used", "free", "queries", "waiters"),
    ),
    "users": Kind(
        "Accounts, and their sessions.",
        same(
            *("username", "active", "default_hostgroup", "default_schema", "max_connections"),
            *("sessions", "comment"),
        ),
    ),
    "rules": Kind(
        "Query rules, and how often each matched.",
        {
            **same("rule_id", "active", "username", "match_digest", "match_pattern"),
            **{"to": "destination_hostgroup", **same("apply", "hits", "comment")},
        },
    ),
    "digests": Kind(
        "What each kind of statement cost, the costliest first.",
        {
            **{"hostgroup": "hostgroup", "user": "username", "schema": "schemaname"},
            **{"count": "count_star", "total ms": "sum_ms", "mean ms": "mean_ms"},
            **{"max ms": "max_ms", "digest": "digest", "statement": "digest_text"},
        },
    ),
    "pins": Kind(
        "What holds sessions to their backends, and what would free them.",
        {
            **{"session": "session", "user": "user", "reason": "reason", "since s": "since_s"},
            **{"backend": "backend", "statement": "statement", "hint": "hint"},
        },
    ),
    "variables": Kind("mysql-* and admin-*, as they act.", same("name", "value", "default")),
    "history": Kind(
        "Versions of the configuration, the newest first.",
        {},
        path="/config/history",
    ),
}


def show(client: Remote, name: str, wanted: Mapping[str, object]) -> None:
    """A kind, or any table of the admin port."""
    kind = KINDS.get(name) or Kind("", {}, path=f"/tables/{segment(name)}")
    answer = client.client.get(kind.path or f"/{name}", **wanted)
    rows = [_told(row) for row in answer["items"]]
    columns = kind.columns or ({key: key for key in rows[0]} if rows else {})
    client.show(answer, rows, columns)
    if not client.as_json and answer["total"] > len(rows):
        click.echo(f"({len(rows)} of {answer['total']}; --limit shows more)", err=True)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, and what people would rather read than several columns of it."""
    found = dict(row)
    if "srv_host" in row:
        found["backend"] = place(row["srv_host"], row.get("srv_port"))
    if "cli_host" in row:
        found["client"] = place(row["cli_host"], row.get("cli_port"))
    if "sum_time" in row and "count_star" in row:
        found["sum_ms"], found["max_ms"] = row["sum_time"] / 1000, row["max_time"] / 1000
        found["mean_ms"] = row["sum_time"] / 1000 / max(1, row["count_star"])
    return found


def place(host: Any, port: Any) -> str | None:
    """An address from its columns."""
    if not host:
        return None
    return str(host) if str(host).startswith("/") or not port else f"{host}:{port}"


def duration(seconds: float) -> str:
    """As people say it."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def _query(where: Sequence[str], limit: int | None, sort: str | None) -> dict[str, object]:
    wanted: dict[str, object] = {"limit": limit, "sort": sort}
    for text in where:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE", param_hint="--where")
        wanted[name] = value
    return wanted


def _listing(command: Any) -> Any:
    for option in (
        click.option("--sort", metavar="COLUMN", help="By a column; -COLUMN: largest first."),
        click.option("--limit", type=click.IntRange(1), metavar="N", help="So many rows at most."),
        click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only such rows."),
    ):
        command = option(command)
    return command


@click.command("show", short_help="Any of the lists below, or any table of the admin port.")
@click.argument("name", metavar="NAME")
@_listing
@remote
def show_any(
    client: Remote, name: str, where: Sequence[str], limit: int | None, sort: str | None
) -> None:
    """Show a list (sessions, backends, ...) or any table that the admin port reads from the
    running proxy: runtime_*, stats_*, those of monitors. `show variables PREFIX` is
    `variables PREFIX`."""
    if name == "status":
        _status(client, check=False)
        return
    show(client, name, _query(where, limit, sort))


def _of_kind(name: str, kind: Kind) -> click.Command:
    @click.command(name, short_help=kind.about, help=kind.about)
    @_listing
    @remote
    def command(client: Remote, where: Sequence[str], limit: int | None, sort: str | None) -> None:
        show(client, name, _query(where, limit, sort))

    return command


@click.command(short_help="mysql-* and admin-*, as they act.")
@click.argument("prefix", default="")
@remote
def variables(client: Remote, prefix: str) -> None:
    """Variables as they act: all, those that begin with PREFIX, or one."""
    show(client, "variables", {"prefix": prefix})


@click.command(short_help="Whether it serves, since when, and its processes.")
@click.option("--check", is_flag=True, help="Exit 1 unless it takes new clients.")
@remote
def status(client: Remote, check: bool) -> None:
    """Whether it serves, since when, and its processes."""
    _status(client, check=check)


PROCESSES = {
    **same("role", "slot", "pid", "state"),
    **{"since": "since", "restarts": "restarts", "beat s": "beat_age_sec", "MiB": "rss_mib"},
}


def _status(client: Remote, *, check: bool) -> None:
    told = client.client.get("/status")
    if client.as_json:
        client.json(told)
    else:
        click.echo(headline(told))
        rows = [
            {
                **row,
                "slot": row["slot"] if row["role"] == "worker" else None,
                "since": duration(row.get("since_sec") or 0),
                "rss_mib": (row.get("rss_kib") or 0) / 1024,
            }
            for row in told.get("processes", ())
        ]
        client.show(told, rows, PROCESSES)
    if check and not told["ready"]:
        sys.exit(EXIT_REFUSED)


def headline(told: Mapping[str, Any]) -> str:
    """The state of a service in a line."""
    reasons = ", ".join(told.get("reasons", ()))
    state = "ready" if told["ready"] else f"not ready ({reasons})" if reasons else "not ready"
    return (
        f"hproxy {told['version']}  {state}  up {duration(told['uptime_sec'])}  "
        f"{told['sessions']} sessions  configuration {told['config_version']}"
    )


@click.command(short_help="Where a statement would go, and why.")
@click.argument("sql")
@click.option("--user", default="", metavar="NAME", help="Account whose session sends it.")
@click.option("--schema", default="", metavar="NAME", help="Instead of the account's own.")
@remote
def explain(client: Remote, sql: str, user: str, schema: str) -> None:
    """Where a statement would go in the running proxy, step by step, and why; nothing is run."""
    answer = client.client.send("POST", "/explain", {"sql": sql, "user": user, "schema": schema})
    width = max((len(step) for step, _ in answer["items"]), default=0)
    client.said(answer, *(f"{step:<{width}}  {detail}" for step, detail in answer["items"]))


@click.command(short_help="One session, and what holds it.")
@click.argument("number", type=int)
@remote
def session(client: Remote, number: int) -> None:
    """One session, and what holds it to its backend."""
    told = client.client.get(f"/sessions/{number}")
    pins = told.pop("pins", [])
    width = max(len(name) for name in told)
    lines = [f"{name:<{width}}  {'-' if value is None else value}" for name, value in told.items()]
    lines += [f"pinned by {pin['reason']} for {pin['since_s']} s: {pin['hint']}" for pin in pins]
    client.said(told | {"pins": pins}, *lines)


COMMANDS: tuple[click.Command, ...] = (
    show_any,
    status,
    *(_of_kind(name, kind) for name, kind in KINDS.items() if name != "variables"),
    variables,
    session,
    explain,
)
