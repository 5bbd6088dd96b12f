# SPDX-License-Identifier: Apache-2.0
"""Fixtures every test may use: the real servers of `ci/services`.

A server that does not answer fails the test, and says how to start it: a test that is
skipped because its server is down would be a test that never runs.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

import hproxy
from tests.support.server import Server, find_server

# Two busy cores say nothing about how long one example should take.
settings.register_profile("hproxy", deadline=None)
settings.load_profile("hproxy")


def pytest_report_header() -> str:
    # The debug build lives in a copy of the tree; show which of the two is under test.
    return f"hproxy: {hproxy.__version__} from {hproxy.__path__[0]}"


@pytest.fixture(scope="session")
def mariadb() -> Server:
    return running("mariadb")


@pytest.fixture(scope="session")
def mysql9() -> Server:
    return running("mysql")


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the databases in turn."""
    return running(request.param)


# What `ci/services up` does not start unless it is named.
ON_DEMAND = ("primary", "replica1", "replica2", "group", "galera")


def running(name: str) -> Server:
    found = find_server(name)
    if not found.answers():
        start = "ci/services up" + (" replication" if name in ON_DEMAND else "")
        pytest.fail(f"{name} does not answer on {found.address}; start it: {start}", pytrace=False)
    return found
