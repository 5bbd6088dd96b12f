# SPDX-License-Identifier: Apache-2.0
"""Requests and routes are values: equal by content, usable as keys of a cache."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from hproxy.routing import CompiledRoute, Request, Route


def test_requests_with_the_same_content_are_one_key() -> None:
    first, second = Request(True, 1, b"ann", b"shop"), Request(True, 1, b"ann", b"shop")
    assert {first: "cached"}[second] == "cached"
    assert first != Request(False, 1, b"ann", b"shop")


def test_answers_cannot_be_changed() -> None:
    for answer in (Route(1, "why"), CompiledRoute(1, 2, "why")):
        with pytest.raises(FrozenInstanceError):
            answer.reason = "because"  # type: ignore[misc]
