# SPDX-License-Identifier: Apache-2.0
"""Who may do what, how much may be sent, and what is said to those who may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api import READER, TOKEN, Api, api


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), max_body_kib=4, timeout_sec=0.5) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("GET", "/healthz/ready", None, 200),
        ("HEAD", "/healthz/live", None, 200),
        ("GET", "/metrics", None, 200),
        ("GET", "/", None, 200),
        ("GET", "/api/v1/openapi.json", None, 200),
        ("GET", "/api/v1/status", None, 401),
        ("GET", "/api/v1/status", "x", 401),
        ("GET", "/api/v1/status", READER, 200),
        ("GET", "/api/v1/status", TOKEN, 200),
        ("POST", "/api/v1/explain", READER, 422),
        ("POST", "/api/v1/pause", None, 401),
        ("POST", "/api/v1/pause", READER, 403),
        ("POST", "/api/v1/pause", TOKEN, 200),
        ("DELETE", "/healthz/ready", None, 401),
        ("POST", "/metrics", READER, 403),
        ("GET", "/no/such/path", None, 401),
        ("GET", "/no/such/path", READER, 403),
        ("GET", "/no/such/path", TOKEN, 404),
        ("GET", "/healthz/../api/v1/status", None, 404),
        ("GET", "//api/v1/status", None, 401),
        ("GET", "/healthz%2f..%2fapi%2fv1%2fstatus", None, 404),
        ("GET", "/API/V1/status", None, 401),
        ("POST", "/api/v1/explain/", READER, 403),
        ("DELETE", "/api/v1/status", TOKEN, 405),
        ("GET", "/api/v1/tables/stats_mysql_errors_reset", READER, 403),
        ("GET", "/api/v1/tables/STATS_mysql_errors_RESET", READER, 403),
        ("GET", "/api/v1/tables/stats_mysql_errors_reset", TOKEN, 200),
    ],
)  # fmt: skip
def test_who_may(served: Api, method: str, path: str, token: str | None, status: int) -> None:
    answer = served(method, path, token=token)
    assert answer.status == status, answer.body
    assert answer.headers["cache-control"] == "no-store"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_metrics_can_want_a_token(tmp_path: Path) -> None:
    with api(tmp_path, metrics_token=True) as served:
        assert served("GET", "/metrics", token=None).status == 401
        assert served("GET", "/metrics", token=READER).status == 200


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    with api(tmp_path) as served:
        statuses = [served("GET", "/api/v1/status", token=f"guess{n}").status for n in range(61)]
        assert statuses == [401] * 60 + [429]
        refused = served("GET", "/api/v1/status")
        assert (refused.status, refused.code) == (429, "admin.blocked")
        assert refused.headers["retry-after"] == "60"
        assert served("GET", "/healthz/ready", token=None).status == 200
        assert "guess1" not in str(served.log.entries)


@pytest.mark.parametrize("size", [4096, 4097, 1 << 20])
def test_bodies_have_an_end(served: Api, size: int) -> None:
    body = b'{"sql": "' + b"x" * (size - 11) + b'"}'
    answer = served("POST", "/api/v1/explain", body)
    assert (answer.status, len(body)) == (200 if size <= 4096 else 413, size)


def test_a_body_of_unknown_length_has_an_end(served: Api) -> None:
    with served.connect() as sock:
        sock.sendall(
            b"POST /api/v1/explain HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
            b"authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
        )
        sock.sendall((b"400\r\n" + b"x" * 1024 + b"\r\n") * 5)
        assert received(sock).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come(served: Api) -> None:
    with served.connect() as sock:
        sock.sendall(
            b"POST /api/v1/explain HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
            b"authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n{"
        )
        answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer


def test_whoever_may_not_send_a_body_is_told_before_it_is_read(served: Api) -> None:
    with served.connect() as sock:
        sock.sendall(b"PUT /api/v1/users/a HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n{")
        assert received(sock).startswith(b"HTTP/1.1 401 ")


def test_what_fails_is_told_to_the_log_and_not_to_the_client(tmp_path: Path) -> None:
    heard = []
    with api(tmp_path) as served:
        served.port.broken = True
        served.call(lambda: served.loop.set_exception_handler(lambda _, c: heard.append(c)))
        answer = served("GET", "/api/v1/status")
        assert (answer.status, answer.code) == (500, "internal")
        assert b"not an error of ours" not in answer.body
    assert [str(context["exception"]) for context in heard] == ["not an error of ours"]
    assert heard[0]["message"] == "GET /api/v1/status failed"


def received(sock: object) -> bytes:
    """All that comes until the other side ends."""
    found = b""
    while part := sock.recv(65_536):  # type: ignore[attr-defined]
        found += part
    return found
