# SPDX-License-Identifier: Apache-2.0
"""A MySQL server of our own, and what it can serve."""

from hproxy.admin.server import Server

__all__ = ["Server"]
