# SPDX-License-Identifier: Apache-2.0
"""Where the configuration came from, as another process is told."""

from __future__ import annotations

import json
from pathlib import Path

from hproxy.config.load import load_config
from hproxy.process.origin import Origin


def test_a_file_is_read_by_another_process_as_here(tmp_path: Path) -> None:
    path = tmp_path / "hproxy.toml"
    path.write_text('[proxy]\nmode = "mysql"\nbackends = ["127.0.0.1:3306"]\n')
    # As click gives them: what was not said is None, or empty where it may be said often.
    origin = Origin(path, {"listen": None, "backend": (), "log_level": "debug"})
    there = Origin.of(json.loads(json.dumps(origin.facts)))
    assert there == Origin(path, {"log_level": "debug"})
    here = load_config(origin.path, origin.flags, {})
    assert load_config(there.path, there.flags, {}) == here
    assert here.proxy.backends
    assert Origin.of(Origin().facts) == Origin()
