# SPDX-License-Identifier: Apache-2.0
"""Backend connections that sessions share: what a pool may do."""

from hproxy.pool.settings import PoolSettings

__all__ = ["PoolSettings"]
