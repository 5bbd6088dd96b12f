# SPDX-License-Identifier: Apache-2.0
"""Requests reach the service over TCP, TLS and Unix sockets; every failure is one kind of error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hproxy.control.client import Client, Target, explained, segment
from hproxy.errors import AdminError
from tests.support.fake_api import TOKEN, FakeApi, listed


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi({"GET /status": {"ready": True}}) as made:
        yield made


def client(api: FakeApi, token: str = TOKEN, timeout_sec: float = 5) -> Client:
    return Client(Target.parse(api.url), token, timeout_sec=timeout_sec)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://proxy:7000", Target("proxy", 7000)),
        ("https://proxy", Target("proxy", 6080, secure=True)),
        ("proxy:7000/", Target("proxy", 7000)),
        ("http://[::1]:7000", Target("::1", 7000)),
        ("unix:/run/h.sock", Target(path="/run/h.sock")),
        ("unix:///run/h.sock", Target(path="/run/h.sock")),
        ("/run/h.sock", Target(path="/run/h.sock")),
    ],
)
def test_addresses(url: str, target: Target) -> None:
    assert Target.parse(url) == target
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port", "http://x/api", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(AdminError, match="is no address"):
        Target.parse(url)


def test_one_connection_for_many_requests(api: FakeApi) -> None:
    with client(api) as made:
        for _ in range(3):
            assert made.get("/status") == {"ready": True}
    assert len(api.connections) == 1


def test_over_a_unix_socket(tmp_path: Path) -> None:
    answers = {"GET /users": listed({"username": "app"})}
    with FakeApi(answers, tmp_path / "s") as api, client(api) as made:
        assert made.items("/users") == [{"username": "app"}]


def test_bodies_and_queries(api: FakeApi) -> None:
    api.answers[f"PUT /users/{segment('a/b c')}"] = {"version": 2}
    with client(api) as made:
        answer = made.send("PUT", f"/users/{segment('a/b c')}", {"x": 1}, save=True, dry_run=None)
    assert answer == {"version": 2}
    assert api.asked == [("PUT", "/api/v1/users/a%2Fb%20c?save=true", {"x": 1})]


def test_a_connection_that_went_stale_is_made_anew_for_reading(api: FakeApi) -> None:
    with client(api) as made:
        made.get("/status")
        api.hang_up()
        assert made.get("/status") == {"ready": True}


def test_what_changes_something_is_not_said_twice(api: FakeApi) -> None:
    api.answers["POST /reload"] = {"done": "reload"}
    with client(api) as made:
        made.get("/status")
        api.hang_up()
        with pytest.raises(AdminError) as caught:
            made.send("POST", "/reload")
        assert caught.value.full_code == "admin.unreachable"
        assert made.send("POST", "/reload") == {"done": "reload"}


def test_a_service_that_closes_after_each_answer(api: FakeApi) -> None:
    api.keep_alive = False
    with client(api) as made:
        assert made.get("/status") == made.get("/status")
    assert len(api.asked) == 2


def test_refused(api: FakeApi) -> None:
    finding = {"where": "h.toml:3", "key": "proxy.mode", "message": "is wrong", "value": "x",
               "hint": "mysql"}  # fmt: skip
    error = {"code": "config", "message": "refused", "hint": "look", "findings": [finding]}
    api.answers["POST /reload"] = (422, {"error": error})
    with client(api) as made, pytest.raises(AdminError) as caught:
        made.send("POST", "/reload")
    assert caught.value.facts["status"] == 422
    assert caught.value.facts["remote"] == "config"
    told = "refused (look)\n  h.toml:3: proxy.mode: is wrong, got x (mysql)"
    assert explained(caught.value) == told


def test_without_a_token(api: FakeApi) -> None:
    with client(api, token="") as made, pytest.raises(AdminError) as caught:
        made.get("/status")
    assert explained(caught.value) == "a token is needed (give one)"


def test_an_error_that_is_not_ours(api: FakeApi) -> None:
    api.answers["GET /status"] = (502, b"<html>")
    with client(api) as made, pytest.raises(AdminError, match="Bad Gateway"):
        made.get("/status")


def test_an_answer_that_is_no_json(api: FakeApi) -> None:
    api.answers["GET /status"] = b"<html>"
    with client(api) as made, pytest.raises(AdminError, match="is no JSON"):
        made.get("/status")


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        with pytest.raises(AdminError) as caught:
            Client(Target.parse(url)).get("/status")
        assert caught.value.full_code == "admin.unreachable"
        assert url in str(caught.value)


def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(AdminError, match="no answer in time"):
            Client(Target.parse(url), timeout_sec=0.1).get("/status")


def test_what_is_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Client(Target("127.0.0.1", server.getsockname()[1]), timeout_sec=2)

        def greet() -> None:
            other, _ = server.accept()
            other.sendall(b"\x4a\x00\x00\x00\x0a8.0.11\x00\r\n\r\n")
            other.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(AdminError) as caught:
            made.get("/status")
        thread.join()
        assert caught.value.full_code == "admin.unreachable"
