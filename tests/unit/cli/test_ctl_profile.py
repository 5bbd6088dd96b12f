# SPDX-License-Identifier: Apache-2.0
"""Profiles are asked for, waited for and fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from hproxy.cli import ctl_profile
from tests.support.fake_api import FakeApi
from tests.unit.cli.conftest import Asking

FILE = "mp_cpu_1.svg"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctl_profile, "LOOK_SEC", 0.01)


def state(*files: str, recording: bool = False, error: str = "") -> dict[str, object]:
    now = {"file": FILE} if recording else None
    return {"recording": now, "files": list(files), "last_error": error}


def test_cpu(api: FakeApi, asking: Asking, tmp_path: Path) -> None:
    states = iter([state(recording=True), state(recording=True), state(FILE)])
    api.answers |= {
        "POST /profile/cpu": (202, {"file": FILE}),
        "GET /profile": lambda: next(states),
        f"GET /profile/files/{FILE}": b"<svg/>",
    }
    file = tmp_path / "out.svg"
    result = asking("ctl", "profile", "cpu", "--seconds", 1, "--target", "worker:0", "-o", file)
    assert (result.exit_code, result.stdout) == (0, f"wrote {file}\n"), result.output
    assert file.read_text() == "<svg/>"
    wanted = {"seconds": 1, "target": "worker:0", "format": "svg", "native": False}
    assert api.asked[0][2] == wanted


def test_cpu_that_fails(api: FakeApi, asking: Asking) -> None:
    api.answers |= {
        "POST /profile/cpu": (202, {"file": FILE}),
        "GET /profile": state(error="py-spy: not permitted"),
    }
    result = asking("ctl", "profile", "cpu")
    assert (result.exit_code, result.stderr) == (1, "hproxy: py-spy: not permitted\n")


def test_texts(api: FakeApi, asking: Asking) -> None:
    api.answers |= {"GET /profile/heap": b"a heap\n", "GET /profile/stacks": b"some stacks\n"}
    assert asking("ctl", "profile", "heap").stdout == "a heap\n"
    assert asking("ctl", "profile", "stacks").stdout == "some stacks\n"


def test_tracing(api: FakeApi, asking: Asking) -> None:
    api.answers["PUT /profile/tracing"] = {"message": "traced"}
    assert asking("ctl", "profile", "tracing", "on", "--frames", 4).stdout == "traced\n"
    assert api.asked[-1][2] == {"on": True, "frames": 4}


def test_list_stop_and_get(api: FakeApi, asking: Asking, tmp_path: Path) -> None:
    api.answers |= {
        "GET /profile": state("a.svg", recording=True),
        "POST /profile/stop": {"stopped": True},
        "GET /profile/files/a.svg": b"<svg/>",
    }
    assert asking("ctl", "profile", "list").stdout == f"a.svg\nrecording {FILE}\n"
    assert asking("ctl", "profile", "stop").stdout == "stopped\n"
    assert asking("ctl", "profile", "get", "a.svg").stdout == "<svg/>"
    asking("ctl", "profile", "get", "a.svg", "-o", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "<svg/>"
