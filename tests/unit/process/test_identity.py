# SPDX-License-Identifier: Apache-2.0
"""Users and groups by name and number, and that root is given up for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hproxy.errors import ConfigError
from hproxy.process.identity import Identity


def refused_to_others() -> bool:
    """Whether this is not root; then, that it cannot become another."""
    if os.geteuid() == 0:
        return False
    with pytest.raises(ConfigError, match="only root can run as another"):
        Identity.of("nobody", None)
    return True


def test_nothing_asked_for_is_nothing() -> None:
    assert Identity.of(None, None) is None


@pytest.mark.parametrize(
    ("user", "group", "key"),
    [("no-such-user", None, "user"), (None, "no-such-group", "group")],
)
def test_a_name_that_is_not_there_is_refused(user: str | None, group: str | None, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"server\.daemon\.{key}: there is no such {key}"):
        Identity.of(user, group)


def test_a_user_brings_its_group_and_home() -> None:
    if refused_to_others():
        return
    nobody = Identity.of("nobody", None)
    assert nobody is not None
    assert nobody.changes
    assert nobody == Identity.of(str(nobody.uid), None)
    assert Identity.of("nobody", "daemon") != nobody


def test_root_cannot_come_back_and_folders_are_the_users(tmp_path: Path) -> None:
    if refused_to_others():
        return
    script = """
import os, sys; from pathlib import Path; from hproxy.process.identity import Identity
who = Identity.of("nobody", None); state = Path(sys.argv[1], "state")
state.mkdir(); (state / "key").touch(); log = state.parent / "log"
who.own(state, [log])
for path in (state, state / "key", log): assert path.stat().st_uid == who.uid, path
who.become()
assert os.getresuid() == (who.uid,) * 3 and os.getresgid() == (who.gid,) * 3
assert 0 not in os.getgroups(), os.getgroups()
try: os.setuid(0)
except PermissionError: print("gone for good")
try: Identity.of("root", None)
except Exception as error: print(error)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert answer.stdout.startswith("gone for good\n"), answer.stderr
    assert "only root can run as another" in answer.stdout
