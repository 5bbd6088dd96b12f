# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the native tests."""

from __future__ import annotations

from tests.support.chopper import chop

__all__ = ["chop"]
