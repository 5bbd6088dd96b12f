# SPDX-License-Identifier: Apache-2.0
"""What is: sessions, backends, hostgroups, users, rules, variables, digests, pins, versions.

Every list takes the arguments of `view` (a column's value, sort, limit, offset) and answers
{"items": [...], "total": n}. Passwords are never shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from starlette.requests import Request

from hproxy.config.address import Address
from hproxy.config.proxysql.catalogue import find
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.values import MASK
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.control.answer import Json
from hproxy.control.edit import printable
from hproxy.control.health import Given
from hproxy.control.model import Context, Role
from hproxy.control.view import hidden, named, page
from hproxy.errors import AdminError

__all__ = ["Module", "module_named", "router"]

router = APIRouter(tags=["read"])
DIGESTS = "100"
SESSIONS = "1000"


@router.get("/status")
async def status(given: Given) -> Json:
    """Whether it serves, since when, and its processes."""
    return Json(await given.port.status())


@router.get("/sessions")
async def sessions(given: Given, request: Request) -> Json:
    """Who is connected and what they do: stats_mysql_processlist."""
    rows = await table_rows(given, "stats_mysql_processlist")
    return await _paged(request, rows, limit=SESSIONS)


@router.get("/sessions/{number}")
async def session(given: Given, number: int) -> Json:
    """One of them, and what holds it to its backend."""
    rows = await table_rows(given, "stats_mysql_processlist")
    found = next((row for row in rows if row["SessionID"] == number), None)
    if found is None:
        raise AdminError(f"there is no session {number}", code="session")
    pinned = await table_rows(given, "stats_hproxy_pins")
    return Json(found | {"pins": [pin for pin in pinned if pin["session"] == number]})


@router.get("/backends")
async def backends(given: Given, request: Request) -> Json:
    """Servers as members of hostgroups: as configured, and how they are."""
    return await _paged(request, await backend_rows(given))


async def backend_rows(given: Context) -> list[dict[str, Any]]:
    """A row for each."""
    tables = await asyncio.to_thread(given.port.rows, "mysql_servers")
    configured = {
        (row["hostgroup_id"], row["hostname"], row["port"]): row for row in tables["mysql_servers"]
    }
    found = []
    for row in await table_rows(given, "stats_mysql_connection_pool"):
        key = (row["hostgroup"], row["srv_host"], row["srv_port"])
        wanted = configured.pop(key, {})
        found.append(_backend(key, wanted, row))
    return found + [_backend(key, row, {}) for key, row in configured.items()]


def _backend(
    key: tuple[int, str, int], wanted: Mapping[str, Any], row: Mapping[str, Any]
) -> dict[str, Any]:
    hostgroup, host, port = key
    path = host if host.startswith("/") else None
    return {
        "hostgroup": hostgroup,
        "address": str(Address("" if path else host, port, path)),
        "host": host,
        "port": port,
        "status": row.get("status", wanted.get("status", "")),
        "configured_status": wanted.get("status"),
        "weight": wanted.get("weight"),
        "max_connections": wanted.get("max_connections"),
        "max_replication_lag": wanted.get("max_replication_lag"),
        "use_ssl": wanted.get("use_ssl"),
        "comment": wanted.get("comment"),
        "used": row.get("ConnUsed", 0),
        "free": row.get("ConnFree", 0),
        "connects": row.get("ConnOK", 0),
        "connect_errors": row.get("ConnERR", 0),
        "queries": row.get("Queries", 0),
        "bytes_sent": row.get("Bytes_data_sent", 0),
        "bytes_received": row.get("Bytes_data_recv", 0),
        "latency_us": row.get("Latency_us", 0),
    }


@router.get("/hostgroups")
async def hostgroups(given: Given, request: Request) -> Json:
    """Groups of servers: how many, how many serve, and who waits for a connection."""
    found: dict[int, Any] = {}
    for row in await backend_rows(given):
        group = found.setdefault(row["hostgroup"], _hostgroup(row["hostgroup"]))
        group["backends"] += 1
        group["online"] += row["status"] == "ONLINE"
        for name in ("used", "free", "queries"):
            group[name] += row[name]
    for row in await table_rows(given, "stats_mysql_hostgroup_connection_pool"):
        group = found.setdefault(row["hostgroup"], _hostgroup(row["hostgroup"]))
        group |= {name: value for name, value in row.items() if name != "hostgroup"}
    tables = await asyncio.to_thread(given.port.rows, "mysql_servers")
    for pair in tables["mysql_replication_hostgroups"]:
        for role in ("writer", "reader"):
            if pair[f"{role}_hostgroup"] in found:
                found[pair[f"{role}_hostgroup"]]["role"] = role
    return await _paged(request, [found[number] for number in sorted(found)])


def _hostgroup(number: int) -> dict[str, Any]:
    zeros = ("backends", "online", "used", "free", "queries", "acquisitions_total", "waits_total",
             "wait_time_us_total", "waiters")  # fmt: skip
    return {"hostgroup": number, "role": "", **dict.fromkeys(zeros, 0)}


@router.get("/users")
async def users(given: Given, request: Request) -> Json:
    """Accounts that act, and their sessions."""
    tables = await asyncio.to_thread(given.port.rows, "mysql_users")
    counts = {row["username"]: row for row in await table_rows(given, "stats_mysql_users")}
    found = [
        hidden("mysql_users", row)
        | {"sessions": counts.get(row["username"], {}).get("frontend_connections", 0)}
        for row in tables["mysql_users"]
    ]
    return await _paged(request, found)


@router.get("/rules")
async def rules(given: Given, request: Request) -> Json:
    """Query rules that act, and how often each matched."""
    tables = await asyncio.to_thread(given.port.rows, "mysql_query_rules")
    hits = {
        row["rule_id"]: row["hits"] for row in await table_rows(given, "stats_mysql_query_rules")
    }
    found = [
        dict(row) | {"hits": hits.get(row["rule_id"], 0)} for row in tables["mysql_query_rules"]
    ]
    return await _paged(request, found)


@router.get("/variables")
async def variables(given: Given, request: Request, prefix: str = "") -> Json:
    """Variables as they act."""
    found = [_variable(name, text) for name, text in given.port.variables.items(prefix)]
    return await _paged(request, found, leave=("prefix",))


@router.get("/variables/{name}")
async def variable(given: Given, name: str) -> Json:
    """One of them."""
    if name not in VARIABLES:
        raise AdminError(f"there is no variable {name!r}", code="row")
    return Json(_variable(name, given.port.variables.text(name)))


def _variable(name: str, text: str) -> dict[str, Any]:
    known = VARIABLES[name]
    return {
        "name": name,
        "value": MASK if known.secret and text else text,
        "default": MASK if known.secret else known.default,
        "acts": known.acts,
    }


@router.get("/digests")
async def digests(given: Given, request: Request) -> Json:
    """What each kind of statement cost; those that took most time first."""
    rows = await table_rows(given, "stats_mysql_query_digest")
    return await _paged(request, rows, sort="-sum_time", limit=DIGESTS)


@router.get("/pins")
async def pins(given: Given, request: Request) -> Json:
    """What holds sessions to their backends, and what would free them."""
    return await _paged(request, await table_rows(given, "stats_hproxy_pins"), sort="-since_s")


@router.get("/tables/{name}")
async def table(given: Given, request: Request, name: str) -> Json:
    """Any table of the admin port that is read from the running proxy: runtime_*, stats_*, and
    those of monitors. One that ends in _reset begins anew, for which a full token is needed."""
    caller = request.scope["caller"]
    if name.lower().endswith("_reset") and caller.role is not Role.OPERATOR:
        raise AdminError("this token may only read", code="forbidden")
    return await _paged(request, await table_rows(given, name))


@router.get("/config/history")
async def history(given: Given, request: Request) -> Json:
    """Versions of the configuration, the newest first: who changed what."""
    rows = await table_rows(given, "hproxy_config_history")
    return await _paged(request, rows, sort="-version", limit=DIGESTS)


@router.get("/config/history/{version}")
async def version(given: Given, version: int) -> Json:
    """One of them."""
    for row in await table_rows(given, "hproxy_config_history"):
        if row["version"] == version:
            return Json(row)
    raise AdminError(f"there is no version {version}", code="row")


Module = Annotated[str, "the name of a module, as mysql_servers"]
Layer = Annotated[Literal["runtime", "memory", "disk"], Query()]


@router.get("/config/{module}")
async def config(given: Given, module: Module, layer: Layer = "runtime") -> Json:
    """The tables of a module: what acts, is edited, or is saved."""
    tables = await given.door.rows(module_named(module), layer)
    return Json({name: [hidden(name, row) for row in rows] for name, rows in tables.items()})


@router.post("/explain")
async def explain(
    given: Given,
    sql: Annotated[str, Body()],
    user: Annotated[str, Body()] = "",
    database: Annotated[str, Body(alias="schema")] = "",
) -> Json:
    """Where a statement would go, step by step, and why. Nothing is run."""
    if not all(map(printable, (sql, user, database))):
        raise AdminError("must be UTF-8 without NUL", code="request")
    steps = await given.port.explaining(sql, user, database)
    return Json({"items": [list(step) for step in steps], "total": len(steps)})


def module_named(name: str) -> str:
    """A module that there is. Raises AdminError."""
    if name not in MODULES:
        raise AdminError(f"there is no module {name!r}", code="row", hint=", ".join(MODULES))
    return name


async def table_rows(given: Context, name: str) -> list[dict[str, Any]]:
    """A table's rows by name, without secrets. Raises AdminError for one that is none."""
    try:
        made = find(name)
    except KeyError:
        raise AdminError(f"there is no table {name!r}", code="table") from None
    own = given.door.own(made.name)
    rows: Iterable[Sequence[Any]] = await given.port.reading(made.name) if own is None else own
    found = await asyncio.to_thread(named, made.names, list(rows))
    if made.name.startswith("runtime_"):
        return [hidden(made.name, row) for row in found]
    return found


async def _paged(
    request: Request, rows: Sequence[Mapping[str, Any]], leave: Sequence[str] = (), **defaults: str
) -> Json:
    wanted = {name: value for name, value in request.query_params.items() if name not in leave}
    found = await asyncio.to_thread(page, rows, wanted, **defaults)
    return Json(found)
