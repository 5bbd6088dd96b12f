# SPDX-License-Identifier: Apache-2.0
"""The schema written out for people: the manual page (Markdown) and the template (TOML)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hproxy.config.option import apply_of, detail_of, unit_of
from hproxy.config.position import KeyPath
from hproxy.config.schema import Config
from hproxy.config.source import ENV_ALIASES, plain

__all__ = ["Option", "Section", "manual", "sections", "template"]

# What a template shows for keys that have no default.
EXAMPLES: dict[str, object] = {
    "auth": "relay",
    "backup_writer_hostgroup": 11,
    "destination_hostgroup": 20,
    "digest": "0x1D4B33E3A1DD2A4F",
    "domain_name": ".example.com",
    "filename": "/usr/local/bin/check",
    "fingerprint": "s&1c",
    "id": 1,
    "interval_ms": 10_000,
    "match_digest": "^SELECT",
    "method": "GET",
    "offline_hostgroup": 30,
    "rule_id": 1,
    "schemaname": "app",
    "script": "/usr/local/bin/answer",
    "timeout_ms": 1000,
    "uri": "check",
    "default_schema": "app",
    "hostgroup_id": 10,
    "hostname": "10.0.0.1",
    "reader_hostgroup": 20,
    "session_mode": "session",
    "username": "app",
    "worker_threads": 4,
    "writer_hostgroup": 10,
}
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Option:
    """One key, as the schema declares it."""

    path: KeyPath
    kind: str
    default: object  # None = none
    required: bool
    limits: str
    apply: str
    acts: bool
    mode: str
    doc: str

    @property
    def name(self) -> str:
        return str(self.path[-1])

    @property
    def env(self) -> str:
        return "HPROXY_" + "__".join(str(key).upper() for key in self.path)


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the file: `[server]`, or `[[mysql_users]]` when `rows`."""

    path: KeyPath
    rows: bool
    doc: str
    options: tuple[Option, ...]

    @property
    def header(self) -> str:
        name = ".".join(map(str, self.path))
        return f"[[{name}]]" if self.rows else f"[{name}]"


def sections() -> Iterator[Section]:
    """Every section of the schema, in its order, nested ones behind their parent.

    Tables of variables have a page of their own."""
    for name, info in Config.model_fields.items():
        if get_origin(plain(info.annotation)) is not dict:
            yield from _section(info, (name,))


def _section(info: FieldInfo, path: KeyPath) -> Iterator[Section]:
    kind = plain(info.annotation)
    rows = get_origin(kind) is tuple
    model: type[BaseModel] = plain(get_args(kind)[0]) if rows else kind
    nested = {name: field for name, field in model.model_fields.items() if _is_section(field)}
    options = tuple(
        _option(model, name, (*path, name)) for name in model.model_fields if name not in nested
    )
    doc = (model.__doc__ or "").strip().partition(": ")[2]
    yield Section(path, rows, doc[:1].upper() + doc[1:], options)
    for name, field in nested.items():
        yield from _section(field, (*path, name))


def _is_section(info: FieldInfo) -> bool:
    kind = plain(info.annotation)
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _option(model: type[BaseModel], name: str, path: KeyPath) -> Option:
    info = model.model_fields[name]
    detail = detail_of(model, name)
    return Option(
        path=path,
        kind=_kind(plain(info.annotation)),
        default=None if info.is_required() else info.default,
        required=info.is_required(),
        limits=_limits(info, unit_of(model, name)),
        apply=apply_of(model, name),
        acts=detail.get("acts", True),
        mode=detail.get("mode", ""),
        doc=info.description or "",
    )


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f'"{value}"' for value in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {_kind(plain(get_args(kind)[0]))}"
    names = {bool: "true or false", int: "whole number", float: "number", Path: "path"}
    return names.get(kind, "text")


def _limits(info: FieldInfo, unit: str) -> str:
    """`1 to 10 milliseconds`, from the constraints of the field."""
    bounds = {
        name: getattr(item, name)
        for item in info.metadata
        for name in ("ge", "gt", "le")
        if hasattr(item, name)
    }
    if not bounds:
        return unit
    low = f"above {bounds['gt']} up" if "gt" in bounds else str(bounds["ge"])
    return f"{low} to {bounds['le']} {unit}".rstrip()


def toml_value(value: object) -> str:
    """A default in TOML's spelling."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    return f"{value}" if isinstance(value, int | float) else f'"{value}"'


def template() -> str:
    """A file with every option of MySQL mode commented out at its default.

    Two lines are live, so that it loads as it stands and shows where to begin."""
    lines = [
        "# hproxy configuration, MySQL mode. A commented key shows its default.",
        "# Order, later wins: defaults, this file, HPROXY_SECTION__KEY variables, flags.",
    ]
    for section in sections():
        options = [option for option in section.options if option.mode in ("", "mysql")]
        # A live [[table]] header would be a row, and [server.daemon] a request for it.
        idle = section.rows or len(section.path) > 1
        mark = "# " if idle else ""
        lines += ["", *_comment(section.doc), f"{mark}{section.header}"]
        for option in options:
            lines += ["", *_comment(_remark(option)), _assignment(option)]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2)]


def _remark(option: Option) -> str:
    facts = [option.kind, option.limits, option.apply]
    if not option.acts:
        facts.append("accepted, acts in a later version")
    return f"{option.doc} ({'; '.join(fact for fact in facts if fact)})"


def _assignment(option: Option) -> str:
    live = {"mode": "mysql", "backends": ("127.0.0.1:3306",)}
    if option.path[0] == "proxy" and option.name in live:
        return f"{option.name} = {toml_value(live[option.name])}"
    if option.default is None:
        return f"# {option.name} = {toml_value(EXAMPLES.get(option.name, '...'))}"
    return f"# {option.name} = {toml_value(option.default)}"


MANUAL_HEAD = """\
# Configuration

<!-- Generated from hproxy/config by `python -m ci.config_docs`; change the schema instead. -->

One TOML file, `HPROXY_*` environment variables and flags say the same things; later wins:
defaults, file, environment, flags. `hproxy config -m mysql` writes a commented file to start
from, `hproxy check -c FILE` reports every mistake at once with file, line, key and hint.

The file may be a `proxysql.cnf` as well, told by its ending or by how it begins; it is read as the
TOML that says the same. It, and whatever names an `admin.address`, may be without servers and
users, which the admin port can add.
ProxySQL's [variables](variables.md) stand in `[mysql_variables]` and `[admin_variables]`.

- **Applies** says which options a running proxy can take over (*live*) and which need a restart.
  *Later* marks a key that is accepted, so that a file may already hold it, but takes effect in a
  later version; the log names such keys at the start.
- **Environment**: every key has a variable, `HPROXY_SECTION__KEY` with two underscores between
  section and key. Lists are separated by commas; `HPROXY_MYSQL_SERVERS`, `HPROXY_MYSQL_USERS` and
  the other tables of rows take a TOML array of tables, as in
  `HPROXY_MYSQL_USERS='[{username = "app", password = "secret"}]'`; a column of a row in the file
  can be set by its number, `HPROXY_MYSQL_USERS__0__PASSWORD`. An empty variable counts as not
  set. Short names:
  @ALIASES@.
  `HPROXY_CONFIG` names the file.
- **Flags** of `hproxy run`: `--listen`, `--backend` (repeatable, or separated by commas),
  `--auth`, `--admin`, `--log-level`; `--initial` sets aside what was saved on the
  [admin port](admin.md), which goes over the file.
- **Addresses** are `HOST:PORT`, `[IPv6]:PORT`, `:PORT` (every interface) or the path of a Unix
  socket. A backend without a port is on 3306.
- **Paths** that are relative start at the file's folder (in variables and flags: at the working
  directory). `~` is the home folder.
"""


def manual() -> str:
    """docs/operations/config.md."""
    aliases = ", ".join(f"`{name}`" for name in sorted(ENV_ALIASES))
    parts = [MANUAL_HEAD.replace("@ALIASES@", aliases)]
    for section in sections():
        parts.append(f"## {section.header}\n\n{section.doc}\n")
        rows = ["| key | type | default | applies | meaning |", "|---|---|---|---|---|"]
        rows += [_row(option) for option in section.options]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(option: Option) -> str:
    kind = option.kind + (f", {option.limits}" if option.limits else "")
    default = "required" if option.required else ""
    if option.default is not None:
        default = f"`{toml_value(option.default)}`"
    applies = option.apply if option.acts else "later"
    doc = option.doc if option.mode in ("", "mysql") else f"({option.mode} mode) {option.doc}"
    cells = (f"`{option.name}`", kind, default, applies, doc)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
