# SPDX-License-Identifier: Apache-2.0
"""Peers that run on the same configuration, without anybody telling each of them.

decision.py   whose configuration is the newer one; pure
peer.py       one row of proxysql_servers: its connection, what it said last
cluster.py    all of them, and what is pulled from whom
"""

from hproxy.control.cluster.cluster import TABLES, Cluster

__all__ = ["TABLES", "Cluster"]
