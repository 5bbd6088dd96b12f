# SPDX-License-Identifier: Apache-2.0
"""Changes: rows, variables and whole modules, each at once to what runs and to memory.

    ?dry_run=true    show what would change, and whether it would be refused
    ?save=true       and to disk, as SAVE <module> TO DISK would

Answered by {"changes": [...], "warnings": [...], "version": n, "saved": ...}. PUT says a whole row:
what it leaves out has its default; PATCH changes columns of one that is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends
from starlette.requests import Request

from hproxy.config.address import AddressError, parse_backend
from hproxy.config.proxysql.module import MODULES, module_of
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.control import edit
from hproxy.control.answer import Json
from hproxy.control.health import Given
from hproxy.control.model import Context, Edit, Outcome
from hproxy.control.order import caller_of, told_of
from hproxy.control.read import module_named
from hproxy.control.view import hidden
from hproxy.errors import AdminError

__all__ = ["router"]

router = APIRouter(tags=["change"])
TOLD_CHARACTERS = 2048
Values = Annotated[dict[str, Any], Body()]
STATUSES = ("ONLINE", "OFFLINE_SOFT", "OFFLINE_HARD", "SHUNNED")


@dataclass(frozen=True, slots=True)
class How:
    """The arguments every change takes."""

    dry_run: bool = False
    save: bool = False


def how(dry_run: bool = False, save: bool = False) -> How:
    """Of a request."""
    return How(dry_run, save)


Wanted = Annotated[How, Depends(how)]


async def _changed(
    given: Context, request: Request, wanted: How, module: str, change: Edit, told: Any = None
) -> Json:
    caller = caller_of(request)
    text = None if told is None else json.dumps(told, separators=(",", ":"))[:TOLD_CHARACTERS]
    outcome = await given.door.change(
        caller.user, caller.host, module, change, told_of(request, text),
        dry_run=wanted.dry_run, save=wanted.save,
    )  # fmt: skip
    return answer(outcome)


def answer(outcome: Outcome) -> Json:
    """What came of it."""
    return Json(
        {
            "changes": outcome.changes,
            "warnings": outcome.warnings,
            "version": outcome.version,
            "saved": outcome.saved,
        }
    )


def _rows(table: str, path: str, key_of: Any) -> None:
    """PUT, PATCH and DELETE of one row, whose key `key_of` makes of the path."""
    module = module_of(table).name

    async def put(given: Given, request: Request, wanted: Wanted, values: Values) -> Json:
        change = edit.put(table, key_of(request.path_params), values)
        return await _changed(given, request, wanted, module, change, hidden(table, values))

    async def patch(given: Given, request: Request, wanted: Wanted, values: Values) -> Json:
        change = edit.patch(table, key_of(request.path_params), values)
        return await _changed(given, request, wanted, module, change, hidden(table, values))

    async def delete(given: Given, request: Request, wanted: Wanted) -> Json:
        change = edit.remove(table, key_of(request.path_params))
        return await _changed(given, request, wanted, module, change)

    for method, handler, about in (
        ("PUT", put, "A row with this key, instead of the one there was."),
        ("PATCH", patch, "Some columns of the row with this key."),
        ("DELETE", delete, "No row with this key."),
    ):
        router.add_api_route(
            path, handler, methods=[method], name=f"{method.lower()} {table}",
            summary=f"{method.capitalize()} a row of {table}", description=about,
            openapi_extra={"parameters": _parameters(path)},
        )  # fmt: skip


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [
        part[1:].partition("}")[0].partition(":")[0] for part in path.split("/") if "{" in part
    ]
    text = {"type": "string"}
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in names]


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise AdminError(f"{name} must be a whole number", code="request")
    return int(text)


def _backend(parameters: dict[str, Any]) -> dict[str, Any]:
    host, port = _place(parameters["address"])
    return {
        "hostgroup_id": _whole(parameters["hostgroup"], "the hostgroup"),
        "hostname": host,
        "port": port,
    }


def _place(text: str) -> tuple[str, int]:
    try:
        found = parse_backend(f"/{text}" if text.startswith(("run/", "tmp/", "var/")) else text)
    except AddressError as error:
        raise AdminError(f"the address {error}", code="address", hint=error.hint) from None
    return (found.path, 0) if found.path else (found.host, found.port)


BACKEND = "/backends/{hostgroup}/{address:path}"


@router.post(f"{BACKEND}/status")
async def set_status(
    given: Given,
    request: Request,
    wanted: Wanted,
    hostgroup: str,
    address: str,
    status: Annotated[str, Body(embed=True)],
) -> Json:
    """ONLINE, OFFLINE_SOFT (transactions end where they began), OFFLINE_HARD (cut), SHUNNED; in
    every hostgroup it is in when the hostgroup is "all"."""
    name = status.strip().upper()
    if name not in STATUSES:
        raise AdminError("no such status", code="status", hint=f"one of {', '.join(STATUSES)}")
    host, port = _place(address)
    number = None if hostgroup == "all" else _whole(hostgroup, "the hostgroup")
    key: dict[str, Any] = {"hostname": host, "port": port}
    if number is not None:
        key["hostgroup_id"] = number
    change = edit.patch("mysql_servers", key, {"status": name})
    made = await _changed(given, request, wanted, "mysql_servers", change, {"status": name})
    if not wanted.dry_run:
        # What traffic or a monitor has made of it meanwhile is not in the rows.
        await given.port.setting_status(number, address, name)
    return made


_rows("mysql_servers", BACKEND, _backend)
# A name may have a "/" in it.
_rows("mysql_users", "/users/{username:path}", lambda path: {"username": path["username"]})
_rows(
    "mysql_query_rules", "/rules/{rule_id}",
    lambda path: {"rule_id": _whole(path["rule_id"], "the rule")},
)  # fmt: skip


@router.put("/variables/{name}")
async def put_variable(
    given: Given,
    request: Request,
    wanted: Wanted,
    name: str,
    value: Annotated[str | int | float | bool, Body(embed=True)],
) -> Json:
    """A value of a variable."""
    if name not in VARIABLES:
        raise AdminError(f"there is no variable {name!r}", code="row")
    module = module_of("global_variables", name).name
    told = hidden("global_variables", {"variable_name": name, "variable_value": value})
    change = edit.assign({name: value})
    shown = {"value": told["variable_value"]}
    return await _changed(given, request, wanted, module, change, shown)


@router.post("/config/rollback")
async def rollback(
    given: Given, request: Request, version: Annotated[int, Body(embed=True, ge=1)]
) -> Json:
    """What ran at a version of the history runs again."""
    if version not in (row[0] for row in given.door.own("hproxy_config_history") or ()):
        raise AdminError(f"there is no version {version}", code="row")
    caller = caller_of(request)
    text = f"ROLLBACK CONFIG TO {version}"
    return answer(await given.door.statement(caller.user, caller.host, text))


@router.post("/config/{module}/load")
async def load(
    given: Given,
    request: Request,
    module: str,
    source: Annotated[Literal["memory", "disk", "config"], Body(alias="from", embed=True)],
) -> Json:
    """What is edited in memory, was saved, or is in the configuration file, acts from now on."""
    spelling = MODULES[module_named(module)].spelling
    moves = [] if source == "memory" else [f"LOAD {spelling} FROM {source.upper()}"]
    return await _moved(given, request, *moves, f"LOAD {spelling} TO RUNTIME")


@router.post("/config/{module}/save")
async def save(
    given: Given,
    request: Request,
    module: str,
    source: Annotated[Literal["runtime", "memory"], Body(alias="from", embed=True)] = "runtime",
) -> Json:
    """What acts, or what is edited in memory, to disk."""
    spelling = MODULES[module_named(module)].spelling
    moves = [] if source == "memory" else [f"SAVE {spelling} FROM RUNTIME"]
    return await _moved(given, request, *moves, f"SAVE {spelling} TO DISK")


async def _moved(given: Context, request: Request, *statements: str) -> Json:
    caller = caller_of(request)
    warnings: list[str] = []
    version = 0
    for text in statements:
        outcome = await given.door.statement(caller.user, caller.host, text)
        warnings += outcome.warnings
        version = outcome.version
    return Json({"done": list(statements), "warnings": warnings, "version": version})


@router.put("/config/{module}")
async def put_module(
    given: Given, request: Request, wanted: Wanted, module: str, tables: Values
) -> Json:
    """Whole tables of a module instead of those that run; tables that are not given stay. Of a
    module of variables: {"global_variables": {name: value}}, and others stay."""
    change = edit.replace(module_named(module), tables)
    return await _changed(given, request, wanted, module, change)
