# SPDX-License-Identifier: Apache-2.0
"""A small SQLite-backed database for the demo and for tests."""

from hproxy.admin.embedded.database import EmbeddedDatabase

__all__ = ["EmbeddedDatabase"]
