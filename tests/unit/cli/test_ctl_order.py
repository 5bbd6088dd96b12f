# SPDX-License-Identifier: Apache-2.0
"""Orders are told once, waited for where that is meant, and their refusals shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from hproxy.cli import ctl_order
from tests.support.fake_api import FakeApi
from tests.unit.cli.conftest import STATUS, Asking


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (("reload",), "/reload", None),
        (("upgrade",), "/upgrade", None),
        (("upgrade", "--reload"), "/upgrade", {"reload": True}),
        (("pause",), "/pause", None),
        (("resume",), "/resume", None),
        (("restart",), "/restart", None),
        (("shutdown",), "/shutdown", None),
        (("kill", "7"), "/sessions/7/kill", {"what": "connection"}),
        (("kill", "7", "--query"), "/sessions/7/kill", {"what": "query"}),
        (("flush", "logs"), "/logs/flush", None),
        (("flush", "hosts"), "/hosts/flush", None),
    ],
)
def test_told_once(
    api: FakeApi, asking: Asking, words: tuple[str, ...], path: str, body: object
) -> None:
    api.answers[f"POST {path}"] = {"done": words[0], "message": "as you say"}
    result = asking("ctl", *words)
    assert (result.exit_code, result.stdout) == (0, "as you say\n"), result.output
    assert api.asked == [("POST", f"/api/v1{path}", body)]


def test_an_order_without_words(api: FakeApi, asking: Asking) -> None:
    api.answers["POST /reload"] = {"done": "reload", "message": ""}
    assert asking("ctl", "reload").stdout == "reloaded\n"
    assert json.loads(asking("ctl", "reload", "--json").stdout)["done"] == "reload"


def test_a_refusal_is_1_and_says_why(api: FakeApi, asking: Asking) -> None:
    finding = {"where": "h.toml:3", "key": "proxy.mode", "message": "is wrong"}
    error = {"code": "config", "message": "configuration refused", "findings": [finding]}
    api.answers["POST /reload"] = (422, {"error": error})
    result = asking("ctl", "reload")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "hproxy: configuration refused\n  h.toml:3: proxy.mode: is wrong\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctl_order, "LOOK_SEC", 0.01)
    monkeypatch.setattr(ctl_order, "SPARE_SEC", 0.1)


def draining(*sessions: int) -> Iterator[dict[str, object]]:
    for left in sessions:
        yield STATUS | {"draining": True, "ready": False, "sessions": left}


@pytest.mark.usefixtures("quick")
def test_drain_waits_until_nobody_is_left(api: FakeApi, asking: Asking) -> None:
    left = draining(3, 1, 0)
    api.answers |= {"POST /drain": {"message": ""}, "GET /status": lambda: next(left)}
    result = asking("ctl", "drain", "--deadline", "20")
    assert (result.exit_code, result.stdout) == (0, "drained\n")
    assert api.asked[0] == ("POST", "/api/v1/drain", {"deadline_sec": 20.0})
    assert len(api.asked) == 4


@pytest.mark.usefixtures("quick")
def test_drain_ends_when_the_service_is_gone(api: FakeApi, asking: Asking) -> None:
    def gone() -> object:
        api.hang_up()
        return {}

    api.answers |= {"POST /drain": {"message": ""}, "GET /status": gone}
    assert asking("ctl", "drain").stdout == "drained\n"


@pytest.mark.usefixtures("quick")
def test_drain_tells_who_is_left(api: FakeApi, asking: Asking) -> None:
    api.answers |= {
        "POST /drain": {"message": ""},
        "GET /status": STATUS | {"draining": True, "sessions": 2},
    }
    result = asking("ctl", "drain", "--deadline", "0.1")
    assert result.exit_code == 1
    assert result.stderr == "hproxy: 2 sessions are left after the deadline\n"


def test_drain_without_waiting(api: FakeApi, asking: Asking) -> None:
    api.answers["POST /drain"] = {"message": "no new clients"}
    assert asking("ctl", "drain", "--no-wait").stdout == "no new clients\n"
    assert len(api.asked) == 1


def test_drain_without_waiting_for_a_service_that_does(
    api: FakeApi, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctl_order, "BEGUN_SEC", 0.1)

    told = threading.Event()

    def slow() -> object:
        assert told.wait(10)
        return {"message": "0 left"}

    api.answers["POST /drain"] = slow
    try:
        assert asking("ctl", "drain", "--no-wait").stdout == "draining\n"
    finally:
        told.set()


@pytest.mark.parametrize(
    "words", [("kill", "x"), ("flush", "all"), ("drain", "--deadline", "-1"), ("fly",)]
)
def test_wrong_command_lines_are_2(api: FakeApi, asking: Asking, words: tuple[str, ...]) -> None:
    assert asking("ctl", *words).exit_code == 2
    assert api.asked == []
