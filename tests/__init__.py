# SPDX-License-Identifier: Apache-2.0
"""Tests; `make test` runs them all, `make quicktest` those that need no server."""
