# SPDX-License-Identifier: Apache-2.0
"""A configuration as text for another process of the service, which gets an equal one of it.

    head: Config ── dump ──> angel keeps the text ──> load: Config of a worker that starts later

Secrets are in it: it goes over socket pairs only, never to a disk or a log. Only what was given is
written, so that what follows from a thing not being given follows there too.
"""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from hproxy.config.schema import Config
from hproxy.errors import ConfigError

__all__ = ["dump", "load"]


def dump(config: Config) -> str:
    """All options that were given, as JSON."""
    return config.model_dump_json(exclude_unset=True)


def load(text: str) -> Config:
    """The configuration `dump` was given. Raises ConfigError: another version wrote it."""
    try:
        # It was checked when it was given: what a change may not say any more, it may have said.
        return Config.model_validate(orjson.loads(text), context={"live": True})
    except (ValidationError, orjson.JSONDecodeError) as error:
        raise ConfigError(
            f"the configuration of another process cannot be read: {error}",
            hint="are both of the same version?",
        ) from None
