# SPDX-License-Identifier: Apache-2.0
"""Load the configuration: defaults < file < environment < flags, and every mistake at once.

file ──tomllib──> tree ─┐
environ ──> layer ──────┼─> one tree ──pydantic──> Config
flags ────> layer ──────┘        │ refused: findings; what is wrong is cut out and the
                                 rest validated again, so that later checks report too
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hproxy.config.finding import dotted, findings_of
from hproxy.config.position import KeyPath
from hproxy.config.proxysql.binding import fold_variables
from hproxy.config.schema import Config
from hproxy.config.source import Layer, field_type, read_env, read_file, read_flags
from hproxy.errors import ConfigError, ConfigFinding

__all__ = ["load_config"]


def load_config(
    path: str | Path | None, flags: Mapping[str, object], environ: Mapping[str, str]
) -> Config:
    """One Config out of all sources; `flags` by name ("listen") or dotted key, None = not given.

    A proxysql.cnf, and whoever names an admin port, may be without backends and users: they can
    be added there.

    Raises ConfigError with every finding."""
    file = None if path is None else Path(path)
    tree: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    findings: list[ConfigFinding] = []
    cnf = False
    notes: tuple[ConfigFinding, ...] = ()
    if file is not None:
        read = read_file(file)
        tree, places, cnf, notes = read.tree, read.places, read.cnf, read.notes
        _anchor_paths(tree, file.absolute().parent)
        findings += fold_variables(tree, places, str(file))
    if cnf:  # ProxySQL knows no other way; users may all be added later
        tree.setdefault("proxy", {}).setdefault("auth", "table")
    for layer in (read_env(environ), read_flags(flags)):
        findings += layer.findings
        findings += _overlay(tree, places, layer)
        findings += fold_variables(tree, places, "", layer.values)
    validation = _Validation(tree, places, str(file) if file else "", live=cnf)
    config = validation.run()
    findings += validation.findings
    if config is not None:
        findings += _file_findings(config, validation)
    if config is None or findings:
        raise ConfigError(findings=_ordered(findings))
    return config.noted(notes) if notes else config


class _Validation:
    """The merged tree, where its values came from, and what the model says to it."""

    def __init__(
        self, tree: dict[str, Any], places: dict[KeyPath, str], file: str, *, live: bool
    ) -> None:
        self.tree = tree
        self.places = places
        self.file = file
        self.context = {"live": live}
        self.findings: list[ConfigFinding] = []

    def run(self) -> Config | None:
        """The Config, or None with `findings` filled.

        Checks over several keys do not run while one of them is refused. So what was refused
        is cut out and the rest looked at again, as long as that shows something new; what then
        only complains about a cut is not told."""
        cut: set[KeyPath] = set()
        while True:
            try:
                config = Config.model_validate(self.tree, context=self.context)
            except ValidationError as error:
                wrong = self._note(error, cut)
            else:
                return None if cut else config
            if not wrong:
                return None
            for path in wrong:
                _cut(self.tree, path)
            cut |= wrong

    def place(self, path: KeyPath) -> str:
        """Name of the place that set `path`, or of the nearest thing around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.file

    def _note(self, error: ValidationError, cut: set[KeyPath]) -> set[KeyPath]:
        """Add the findings that are news; returns the paths they are about."""
        known = {(finding.key, finding.message) for finding in self.findings}
        wrong: set[KeyPath] = set()
        for about, finding in findings_of(error, self.place):
            if (finding.key, finding.message) in known or _overlap(about, cut):
                continue
            self.findings.append(finding)
            wrong.update(about)
        return wrong


def _overlap(about: tuple[KeyPath, ...], cut: set[KeyPath]) -> bool:
    """Whether any path is one of those cut out, holds one, or lies within one."""
    return any(a[: len(b)] == b or b[: len(a)] == a for a in about for b in cut)


def _cut(tree: Any, path: KeyPath) -> None:
    """Remove the value at `path`; an element of a list takes the whole list with it, because
    the indexes of the others must go on meaning the same."""
    end = next((depth for depth, key in enumerate(path) if isinstance(key, int)), len(path))
    *outer, last = path[:end]
    for key in outer:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        tree.pop(last, None)


def _overlay(
    tree: dict[str, Any], places: dict[KeyPath, str], layer: Layer
) -> Iterator[ConfigFinding]:
    """Put a layer's values over the tree; yields those for which there is no room."""
    for path, value in layer.values.items():
        place = layer.places[path]
        if not _put(tree, path, _anchored(value, Path.cwd()) if _is_path(path) else value):
            yield ConfigFinding(place, dotted(path), "there is no such row or section to set")
            continue
        for inner in [known for known in places if known[: len(path)] == path]:
            del places[inner]
        places[path] = place


def _put(tree: dict[str, Any], path: KeyPath, value: object) -> bool:
    """Set the value at `path`, making the tables on the way; rows must be there already."""
    node: Any = tree
    for depth, key in enumerate(path):
        if isinstance(key, int):
            if not isinstance(node, list) or key >= len(node):
                return False
        elif not isinstance(node, dict):
            return False
        if depth == len(path) - 1:
            node[key] = value
        else:
            node = node[key] if isinstance(key, int) else node.setdefault(key, {})
    return True


def _is_path(path: KeyPath) -> bool:
    return field_type(path) is Path


def _anchored(value: object, base: Path) -> object:
    """An absolute path: `~` expanded, a relative one taken from `base`."""
    if not isinstance(value, str) or not value:
        return value
    try:
        return str(base / Path(value).expanduser())
    except RuntimeError:  # no such user, or no home
        return value


def _anchor_paths(tree: dict[str, Any], base: Path, prefix: KeyPath = ()) -> None:
    """Relative paths in a file start at its folder, wherever the program was started."""
    for key, value in tree.items():
        path = (*prefix, key)
        if isinstance(value, dict):
            _anchor_paths(value, base, path)
        elif _is_path(path):
            tree[key] = _anchored(value, base)


def _file_findings(config: Config, validation: _Validation) -> list[ConfigFinding]:
    """Certificates, keys and tokens that are named must be there and readable."""
    findings = []
    named = [("tls", *option) for option in config.tls] + [
        ("http", *option) for option in config.http
    ]
    for section, name, value in named:
        if not isinstance(value, Path):
            continue
        if not value.exists():
            message = "does not exist"
        elif value.is_dir() and name not in ("ca", "backend_ca"):
            message = "is a folder"
        elif not os.access(value, os.R_OK):
            message = "cannot be read by this user"
        else:
            continue
        path = (section, name)
        place = validation.place(path)
        findings.append(ConfigFinding(place, dotted(path), message, f'"{value}"'))
    return findings


def _ordered(findings: list[ConfigFinding]) -> list[ConfigFinding]:
    """By line in the file, then the environment's, then those of flags."""

    def rank(finding: ConfigFinding) -> tuple[int, int]:
        for place, prefix in enumerate(("env ", "flag "), start=1):
            if finding.source.startswith(prefix):
                return place, 0
        line = finding.source.rpartition(":")[2]
        return 0, int(line) if line.isdecimal() else 0

    return sorted(findings, key=rank)
