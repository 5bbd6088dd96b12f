# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.socket_pair import Peer


@pytest.fixture(autouse=True)
def close_peers() -> Iterator[None]:
    """No far end outlives its test."""
    yield
    for peer in list(Peer.open):
        peer.close()
