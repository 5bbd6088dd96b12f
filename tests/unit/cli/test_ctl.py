# SPDX-License-Identifier: Apache-2.0
"""Every command has its help, and all that the issue of operators names is there."""

from __future__ import annotations

import pytest

from hproxy.cli.ctl import ctl
from tests.unit.cli.conftest import Asking


@pytest.mark.parametrize("name", sorted(ctl.commands))
def test_help(asking: Asking, name: str) -> None:
    result = asking("ctl", name, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert ctl.commands[name].get_short_help_str()


def test_what_must_be_there() -> None:
    wanted = "show status drain reload upgrade kill backends users rules digests pins sessions"
    assert set(wanted.split()) <= set(ctl.commands)


def test_examples_are_commands(asking: Asking) -> None:
    assert "hproxy ctl drain --deadline 30" in asking("ctl", "--help").stdout
