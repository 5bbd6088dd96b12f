# SPDX-License-Identifier: Apache-2.0
"""The places settings come from, each read into a `Layer`: file, environment, flags.

A layer holds raw values by path and knows what to call the place of each ("proxy.toml:12",
"env HPROXY_LISTEN", "flag --listen"). Nothing is validated here but the syntax.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from hproxy.config.position import KeyPath, key_lines
from hproxy.config.proxysql.cnf import read_cnf, tree_of
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, ConfigFinding

__all__ = [
    "ENV_ALIASES",
    "FLAGS",
    "File",
    "Layer",
    "field_type",
    "is_cnf",
    "read_env",
    "read_file",
    "read_flags",
]

ENV_PREFIX = "HPROXY_"
# Short names for what containers set most; the long form HPROXY_SECTION__KEY always works.
ENV_ALIASES: dict[str, KeyPath] = {
    "HPROXY_LISTEN": ("server", "listen_addr"),
    "HPROXY_ADMIN": ("admin", "address"),
    "HPROXY_HTTP": ("http", "address"),
    "HPROXY_BACKEND": ("proxy", "backends"),
    "HPROXY_BACKENDS": ("proxy", "backends"),
    "HPROXY_AUTH": ("proxy", "auth"),
    "HPROXY_LOG_LEVEL": ("logging", "level"),
}
# The admin tables, whole, as a TOML array of tables.
ENV_TABLES: dict[str, KeyPath] = {
    f"{ENV_PREFIX}{name.upper()}": (name,)
    for name, info in Config.model_fields.items()
    if get_origin(info.annotation) is tuple
}
FLAGS: dict[str, KeyPath] = {
    "listen": ("server", "listen_addr"),
    "backend": ("proxy", "backends"),
    "auth": ("proxy", "auth"),
    "admin": ("admin", "address"),
    "http": ("http", "address"),
    "log-level": ("logging", "level"),
    "workers": ("server", "worker_threads"),
    "daemon": ("server", "daemon", "enabled"),
    "pid-file": ("server", "daemon", "pid_file"),
    "upgrade-sock": ("server", "daemon", "upgrade_sock"),
    "error-log": ("server", "daemon", "error_log"),
}
# A group or list of proxysql.cnf; TOML has no parentheses, and tables of rows are arrays there.
_CNF = re.compile(r"^\s*(?:mysql|admin)_\w+\s*[=:]\s*(?:[{]\s*(?:\n|#|//|/\*)|[(])", re.MULTILINE)
_TOML_AT = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


@dataclass(slots=True)
class Layer:
    """Values by path, later ones winning, and the name of the place each came from."""

    values: dict[KeyPath, object] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    findings: list[ConfigFinding] = field(default_factory=list)

    def put(self, path: KeyPath, value: object, place: str) -> None:
        self.values[path] = value
        self.places[path] = place


@dataclass(frozen=True, slots=True)
class File:
    """A parsed file: its tree, the place ("file:line") of every key, and its format."""

    tree: dict[str, Any]
    places: dict[KeyPath, str]
    cnf: bool = False  # a proxysql.cnf
    notes: tuple[ConfigFinding, ...] = ()  # what was left out


def read_file(path: Path) -> File:
    """The parsed file.

    A proxysql.cnf is read as the TOML that says the same.

    Raises ConfigError when it cannot be read or is neither: then nothing in it can be judged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refused(str(path), f"cannot be read: {reason}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(f"{path}:{line}", "is not UTF-8 text") from None
    if is_cnf(path, text):
        document = read_cnf(text, str(path))
        return File(tree_of(document), document.places, True, tuple(document.warnings))
    try:
        tree = tomllib.loads(text)
        lines = key_lines(text)
    except RecursionError:
        raise _refused(str(path), "is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and int() refusing thousands of digits
        raise _refused(*_syntax(path, text, str(error))) from None
    return File(tree, {key: f"{path}:{line}" for key, line in lines.items()})


def is_cnf(path: Path, text: str) -> bool:
    """Whether a file is in the format of proxysql.cnf, by its name or by how it begins a group."""
    if path.suffix.lower() in (".cnf", ".cfg", ".toml"):
        return path.suffix.lower() != ".toml"
    return _CNF.search(text) is not None


def _syntax(path: Path, text: str, message: str) -> tuple[str, str]:
    """Source and message of a TOML syntax error."""
    match = _TOML_AT.match(message)
    if match is None:
        return str(path), f"is not TOML: {message}"
    what, line, column = match.groups()
    if line is None:
        return f"{path}:{text.count(chr(10)) + 1}", f"is not TOML: {what} at the end of the file"
    return f"{path}:{line}", f"is not TOML: {what} at column {column}"


def _refused(source: str, message: str) -> ConfigError:
    return ConfigError(findings=[ConfigFinding(source=source, key="", message=message)])


def read_env(environ: Mapping[str, str]) -> Layer:
    """HPROXY_SECTION__KEY=value, HPROXY_TABLE__ROW__COLUMN=value and the short names.

    An empty value counts as not set: compose files pass variables on that nobody filled in.

    A name without `__` that is no short name is left alone unless it is nearly one: a container
    platform sets HPROXY_PORT, HPROXY_SERVICE_HOST and more for a service called hproxy."""
    layer = Layer()
    short = ENV_ALIASES | ENV_TABLES
    names = sorted(name for name in environ if name.startswith(ENV_PREFIX) and environ[name])
    for name in sorted(names, key=lambda name: "__" in name):  # the long form wins
        place = f"env {name}"
        if name in short:
            path = short[name]
        elif "__" in name:
            path = _spelled(_path(name.removeprefix(ENV_PREFIX).lower().split("__")))
        else:
            near = get_close_matches(name, short, n=1, cutoff=0.9)
            if near:
                layer.findings.append(
                    ConfigFinding(place, "", "unknown name", hint=f"did you mean {near[0]}?")
                )
            continue
        try:
            layer.put(path, _from_text(path, environ[name]), place)
        except ValueError:
            layer.findings.append(
                ConfigFinding(
                    place,
                    ".".join(map(str, path)),
                    "is not a TOML array of tables",
                    hint='like [{username = "app", password = "..."}]',
                )
            )
    return layer


def read_flags(flags: Mapping[str, object]) -> Layer:
    """Flags by name ("listen", "log_level") or by dotted key; None means not given."""
    layer = Layer()
    for name, value in flags.items():
        if value is None or value == ():
            continue
        name = name.removeprefix("--").replace("_", "-") if "." not in name else name
        if name in FLAGS:
            path, place = FLAGS[name], f"flag --{name}"
        else:
            path, place = _path(name.split(".")), f"flag {name}"
        if _is_text_list(path):
            value = _split(value if isinstance(value, list | tuple) else [value])
        layer.put(path, value, place)
    return layer


def _path(keys: Iterable[str]) -> KeyPath:
    """Keys as written; a number is the index of a row."""
    return tuple(int(key) if key.isdecimal() else key for key in keys)


def _spelled(path: KeyPath) -> KeyPath:
    """Columns as their table has them: `flagIN` of `flagin`."""
    if not path or isinstance(path[-1], int):
        return path
    model = field_type(path[:-1])
    names = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else ()
    return (*path[:-1], next((name for name in names if name.lower() == path[-1]), path[-1]))


def _from_text(path: KeyPath, text: str) -> object:
    """An environment value in the shape of its option; numbers are left to the model."""
    if _is_text_list(path):
        return _split([text])
    return tomllib.loads(f"x = {text}")["x"] if _is_rows(path) else text


def _split(items: Iterable[object]) -> list[object]:
    """Comma lists taken apart, for a flag or variable that holds several addresses."""
    parts: list[object] = []
    for item in items:
        if isinstance(item, str):
            parts.extend(part.strip() for part in item.split(",") if part.strip())
        else:
            parts.append(item)
    return parts


def _is_text_list(path: KeyPath) -> bool:
    return _element(path) is str


def _is_rows(path: KeyPath) -> bool:
    return isinstance(_element(path), type) and issubclass(_element(path), BaseModel)


def _element(path: KeyPath) -> Any:
    """What a list option holds; None for every other option."""
    kind = field_type(path)
    return plain(get_args(kind)[0]) if get_origin(kind) is tuple else None


def field_type(path: KeyPath) -> Any:  # a type form, for which there is no type yet
    """The declared type at `path`, without Optional and Annotated; None when there is no such."""
    model: Any = Config
    for key in path:
        if isinstance(key, int):
            if get_origin(model) is not tuple:
                return None
            model = plain(get_args(model)[0])
        elif isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            model = plain(model.model_fields[key].annotation)
        else:
            return None
    return model


def plain(kind: Any) -> Any:
    """`int` of `Annotated[int, ...] | None`."""
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return plain(next(arg for arg in get_args(kind) if arg is not type(None)))
    return kind
