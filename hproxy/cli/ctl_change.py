# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl put`, `set`, `set-status`, `rollback`, ...: changes, checked as the admin port does.

--dry-run   show what would change, and whether it would be refused
--save      keep it over a restart, as SAVE ... TO DISK does
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hproxy.cli.remote import Remote, cell, remote
from hproxy.control.client import segment

__all__ = ["COMMANDS"]

KINDS = click.Choice(["backends", "users", "rules"])
STATUSES = click.Choice(["ONLINE", "OFFLINE_SOFT", "OFFLINE_HARD", "SHUNNED"], case_sensitive=False)


def _how(command: Any) -> Any:
    command = click.option("--save", is_flag=True, help="Keep it over a restart.")(command)
    return click.option("--dry-run", is_flag=True, help="Only show what would change.")(command)


def _changed(
    client: Remote, method: str, path: str, body: Any, *, dry_run: bool, save: bool
) -> None:
    query = {"dry_run": dry_run or None, "save": save or None}
    answer = client.client.send(method, path, body, **query)
    lines = [_line(change) for change in answer["changes"]] or ["nothing is different"]
    lines += [f"warning: {text}" for text in answer["warnings"]]
    lines.append(
        "not done: a dry run"
        if dry_run
        else f"version {answer['version']}{', saved' if answer['saved'] else ''}"
    )
    client.said(answer, *lines)


def _line(change: Mapping[str, Any]) -> str:
    """One change: what of which row was, and is."""
    column, old, new = (change.get(name) for name in ("column", "old", "new"))
    place = f"{change.get('table')} {change.get('key')}: {change.get('change')}"
    if column:
        return f"{place} {column}, {cell(old)} -> {cell(new)}"
    return f"{place}{'' if new is None else f' {cell(new)}'}"


def _path(kind: str, key: str) -> str:
    """A backend's key is HOSTGROUP/ADDRESS."""
    if kind == "backends":
        hostgroup, slash, address = key.partition("/")
        if not slash or not hostgroup.isdigit():
            raise click.BadParameter(f"{key!r} is not HOSTGROUP/ADDRESS", param_hint="KEY")
        return f"/backends/{hostgroup}/{segment(address.removeprefix('/'))}"
    return f"/{kind}/{segment(key)}"


def _values(pairs: Sequence[str]) -> dict[str, Any]:
    """COLUMN=VALUE; numbers are numbers, @FILE is what the file holds, @- what stdin does."""
    found: dict[str, Any] = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE", param_hint="COLUMN=VALUE")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    if text.startswith("@"):
        return _content(text[1:]).rstrip("\n")
    if text.lower() == "null":
        return None
    return (
        int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else text
    )


def _content(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{name} cannot be read: {error.strerror}") from None


@click.command(short_help="A whole row: KIND KEY COLUMN=VALUE...")
@click.argument("kind", type=KINDS)
@click.argument("key")
@click.argument("pairs", nargs=-1, metavar="[COLUMN=VALUE]...")
@_how
@remote
def put(
    client: Remote, kind: str, key: str, pairs: Sequence[str], dry_run: bool, save: bool
) -> None:
    """A row of backends, users or rules: what is left out has its default.

    KEY is HOSTGROUP/HOST:PORT, the user's name or the rule's number. A VALUE of @FILE is what the
    file holds, of @- what stdin does: passwords need not be in the command line.
    """
    _changed(client, "PUT", _path(kind, key), _values(pairs), dry_run=dry_run, save=save)


@click.command(short_help="Some columns of a row: KIND KEY COLUMN=VALUE...")
@click.argument("kind", type=KINDS)
@click.argument("key")
@click.argument("pairs", nargs=-1, required=True, metavar="COLUMN=VALUE...")
@_how
@remote
def edit(
    client: Remote, kind: str, key: str, pairs: Sequence[str], dry_run: bool, save: bool
) -> None:
    """Some columns of a row that is there; KEY and VALUE as for `put`."""
    _changed(client, "PATCH", _path(kind, key), _values(pairs), dry_run=dry_run, save=save)


@click.command(short_help="No such row any more: KIND KEY.")
@click.argument("kind", type=KINDS)
@click.argument("key")
@_how
@remote
def delete(client: Remote, kind: str, key: str, dry_run: bool, save: bool) -> None:
    """Take a row away; KEY as for `put`."""
    _changed(client, "DELETE", _path(kind, key), None, dry_run=dry_run, save=save)


@click.command("set-status", short_help="ONLINE, OFFLINE_SOFT, OFFLINE_HARD or SHUNNED.")
@click.argument("address")
@click.argument("status", type=STATUSES, metavar="STATUS")
@click.option("--hostgroup", type=click.IntRange(0), metavar="N", help="Else wherever it is.")
@_how
@remote
def set_status(
    client: Remote, address: str, status: str, hostgroup: int | None, dry_run: bool, save: bool
) -> None:
    """Set the status of a backend: OFFLINE_SOFT lets transactions end, OFFLINE_HARD cuts."""
    where = "all" if hostgroup is None else str(hostgroup)
    path = f"/backends/{where}/{segment(address.removeprefix('/'))}/status"
    _changed(client, "POST", path, {"status": status.upper()}, dry_run=dry_run, save=save)


@click.command("set", short_help="A variable: NAME VALUE.")
@click.argument("name")
@click.argument("value")
@_how
@remote
def set_variable(client: Remote, name: str, value: str, dry_run: bool, save: bool) -> None:
    """Set a variable, mysql-* or admin-*; `ctl variables` tells them."""
    path = f"/variables/{segment(name)}"
    _changed(client, "PUT", path, {"value": value}, dry_run=dry_run, save=save)


@click.command(short_help="The tables of a module: what acts, is edited or saved.")
@click.argument("module")
@click.option(
    "--layer", type=click.Choice(["runtime", "memory", "disk"]), default="runtime",
    show_default=True,
)  # fmt: skip
@remote
def config(client: Remote, module: str, layer: str) -> None:
    """The tables of MODULE (mysql_servers, mysql_users, ...), as `apply` takes them: JSON."""
    client.json(client.client.get(f"/config/{segment(module)}", layer=layer))


@click.command(short_help="Whole tables of a module, from a JSON file.")
@click.argument("module")
@click.argument("file")
@_how
@remote
def apply(client: Remote, module: str, file: str, dry_run: bool, save: bool) -> None:
    """Run with the tables in FILE (- is stdin) instead of those of MODULE. Tables that it does not
    have stay."""
    try:
        tables = json.loads(_content(file))
    except ValueError as error:
        raise click.BadParameter(f"{file} is no JSON: {error}") from None
    _changed(client, "PUT", f"/config/{segment(module)}", tables, dry_run=dry_run, save=save)


@click.command(short_help="What ran at a version of the history runs again.")
@click.argument("version", type=click.IntRange(1))
@remote
def rollback(client: Remote, version: int) -> None:
    """Make what ran at VERSION run again; `ctl history` tells versions."""
    _changed(client, "POST", "/config/rollback", {"version": version}, dry_run=False, save=False)


COMMANDS: tuple[click.Command, ...] = (
    set_status,
    set_variable,
    put,
    edit,
    delete,
    config,
    apply,
    rollback,
)
