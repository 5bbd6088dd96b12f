# SPDX-License-Identifier: Apache-2.0
"""What a worker needs of its machine: a folder for its state, and descriptors."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path
from typing import Any

from hproxy.config.schema import Config
from hproxy.errors import ConfigError

__all__ = ["check_descriptors", "state_folder"]

DESCRIPTORS_PER_CLIENT = 2
SPARE_DESCRIPTORS = 64


def state_folder(config: Config, log: Any) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """The data directory; a temporary one, to be cleaned up, when the default cannot be written.

    Raises ConfigError when a folder was named that cannot be written."""
    folder = config.server.state_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder, None
    except OSError as error:
        if config.server.data_dir is not None:
            raise ConfigError(
                f"cannot write: {error.strerror}",
                key="server.data_dir",
                value=str(folder),
                hint="name a folder hproxy may write to",
            ) from error
        temporary = tempfile.TemporaryDirectory(prefix="hproxy-")
        log.warning(
            "keys are not kept over a restart: the data directory cannot be written",
            folder=str(folder),
            reason=error.strerror,
            hint="set server.data_dir",
        )
        return Path(temporary.name), temporary


def check_descriptors(config: Config, log: Any) -> None:
    """Raise the soft limit as far as allowed, and say so when it is too low."""
    wanted = config.server.max_connections * DESCRIPTORS_PER_CLIENT + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reach), hard))
        soft = max(soft, reach)
    if soft < wanted:
        log.warning(
            "too few file descriptors for server.max_connections",
            limit=soft,
            wanted=wanted,
            hint="raise RLIMIT_NOFILE (ulimit -n)",
        )
