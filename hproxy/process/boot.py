# SPDX-License-Identifier: Apache-2.0
"""What a process starts on: the file, and over it what operators have saved.

    store: a module that was saved there ── its rows ──> instead of those of the file
           any other ────────────────────── the file's
    upgrade: what the service before ran on ──> instead of both
    --initial: the store is set aside, and the file counts

A store that cannot be used ends the start: what was saved must not be forgotten silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import with_rows
from hproxy.config.schema import Config
from hproxy.config.store import Store, set_aside, store_path
from hproxy.errors import ConfigError, HandoverError
from hproxy.process.estate import Estate
from hproxy.process.inheriting import Inherited, inherit

__all__ = ["inherited", "open_store", "restored"]


def open_store(config: Config, log: Any, *, initial: bool = False) -> Store | None:
    """The saved configuration; None where operators have no port to save with, or no place.

    Raises ConfigError for one that cannot be used."""
    if not config.operated:
        return None
    path = store_path(config.admin.store, config.server.state_dir)
    try:
        if initial and path.exists():
            log.warning("the saved configuration is set aside", file=str(set_aside(path)))
        return Store.open(path)
    except ConfigError as error:
        if path.exists() or config.admin.store is not None:
            raise
        if config.server.data_dir is not None:
            raise ConfigError(
                f"cannot keep the saved configuration: {error}",
                key="server.data_dir",
                value=str(config.server.data_dir),
                hint="name a folder hproxy may write to",
            ) from error
        log.warning(
            "nothing can be saved: the data directory cannot be written",
            file=str(path),
            reason=str(error),
            hint="set server.data_dir",
        )
        return None


def restored(config: Config, store: Store | None, log: Any) -> Config:
    """`config` with the modules that were saved. Raises ConfigError."""
    if store is None:
        return config
    saved = [name for name in MODULES if name in store.saved]
    for name in saved:
        config = with_rows(config, name, store.load(name))
    if saved:
        log.info("configuration saved earlier is used", modules=saved, file=str(store.path))
    return config


def inherited(
    config: Config, store: Store | None, facts: Mapping[str, Any] | None, log: Any, *, reload: bool
) -> Inherited:
    """What the service before ran on, over `config`, which file and flags say; what was saved
    where that cannot be understood. Raises ConfigError."""
    stored = restored(config, store, log)
    try:
        estate = Estate.of(facts)
    except HandoverError as error:
        note = f"what the service before ran on is not known, file and store count: {error}"
        found = Inherited(stored, notes=(note,))
    else:
        saved = () if store is None else store.saved
        found = inherit(estate, stored, config, saved, reload=reload)
        log.info("what ran goes on", version=estate.version, unlike_stored=list(found.origins))
    return found
