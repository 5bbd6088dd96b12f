# SPDX-License-Identifier: Apache-2.0
"""What a service leaves to the one that takes over, beside its sockets: what it runs on.

    old head ── facts ──> old angel ── hand ──> new angel ── become ──> new head ── Estate.of
                                                                        `inheriting`: what it makes
    running   rows of every module as they run, saved or not            of them
    memory    rows of the memory layer: written, and not loaded yet
    file      what the configuration file said when it was read last
    servers   whose status is not that of their rows: set live, or found silent

Passwords are in it: it goes over the hand-over socket only. It has a number: who does not know
it, or is told nothing, starts on file and store, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hproxy import __version__
from hproxy.config import snapshot
from hproxy.config.proxysql.module import MODULES
from hproxy.config.schema import Config
from hproxy.config.store import Tables
from hproxy.errors import ConfigError, HandoverError

__all__ = ["FORMAT", "Estate"]

FORMAT = 1
"""Of the facts."""


@dataclass(frozen=True, slots=True)
class Estate:
    """Of one service."""

    running: Mapping[str, Tables]
    """By module."""
    memory: Mapping[str, Tables]
    """By module; one that is missing is as it runs."""
    file: Config | None = None
    """None: nobody knows."""
    servers: Sequence[Sequence[Any]] = ()
    """Those whose status is not that of their rows, as `verdicts.told` says them."""
    version: str = __version__
    """Whose it is."""

    @property
    def facts(self) -> dict[str, Any]:
        """As another process can be told."""
        return {
            "format": FORMAT,
            "version": self.version,
            "running": self.running,
            "memory": self.memory,
            "file": None if self.file is None else snapshot.dump(self.file),
            "servers": self.servers,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None) -> Self:
        """What another process told. Raises HandoverError for what cannot be understood."""
        if facts is None:
            raise HandoverError("it does not say what it runs on", code="estate")
        if facts.get("format") != FORMAT:
            raise HandoverError(
                "what it runs on is told in another format",
                code="estate",
                theirs=facts.get("format"),
                ours=FORMAT,
            )
        return cls(
            running=_known(facts["running"]),
            memory=_known(facts["memory"]),
            file=_file(facts["file"]),
            servers=facts["servers"],
            version=facts["version"],
        )


def _known(modules: Mapping[str, Tables]) -> dict[str, Tables]:
    return {name: modules[name] for name in MODULES if name in modules}


def _file(text: str | None) -> Config | None:
    """Another version may have read what we would not."""
    try:
        return None if text is None else snapshot.load(text)
    except ConfigError:
        return None
