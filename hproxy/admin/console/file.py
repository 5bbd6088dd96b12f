# SPDX-License-Identifier: Apache-2.0
"""The configuration file as the console sees it: rows when it is read, proxysql.cnf when written.

LOAD ... FROM CONFIG   the file as it is now: of a proxysql.cnf what it names, of a TOML all
SELECT CONFIG FILE     the memory layer as a proxysql.cnf, which hproxy reads as well
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hproxy.admin.console.layer import Tables
from hproxy.config.load import load_config
from hproxy.config.proxysql.cnf import read_cnf, write_cnf
from hproxy.config.proxysql.rows import rows_of
from hproxy.config.source import is_cnf
from hproxy.errors import ConfigError

__all__ = ["File"]


@dataclass(frozen=True, slots=True)
class File:
    """Implements `ConfigFile`; `path` is None when hproxy was started without a file.

    `flags` and `environ` are what it was started with, for a TOML: they come after the file."""

    path: Path | None
    flags: Mapping[str, object] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Tables:
        """Its rows. Raises ConfigError."""
        path = self.path
        if path is None:
            raise ConfigError("hproxy was started without a configuration file")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8: {error.reason}") from error
        if is_cnf(path, text):
            return read_cnf(text, str(path)).tables
        return rows_of(load_config(path, self.flags, self.environ))

    def text(self, tables: Tables) -> str:
        """These rows as a proxysql.cnf."""
        return write_cnf(tables)
