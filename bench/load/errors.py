# SPDX-License-Identifier: Apache-2.0
"""The one error a benchmark raises for what its user can put right."""


class BenchError(Exception):
    """Something outside the benchmark is missing or refused; the text says what to do."""
