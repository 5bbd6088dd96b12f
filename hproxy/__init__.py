# SPDX-License-Identifier: Apache-2.0
"""hproxy: a database proxy for MySQL/MariaDB, Redis Cluster and MongoDB."""

__version__ = "0.1.0"

__all__ = ["__version__"]
