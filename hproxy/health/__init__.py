# SPDX-License-Identifier: Apache-2.0
"""Monitors: who answers, who may write, who lags; in ProxySQL's semantics.

pure: values in, verdicts out
    model     rows we look at, changes we ask for       index     the same, found by address
    outcome   what became of a probe                    ping      silent too often
    read_only writer or reader                          lag       too far behind its source
    members   states of a cluster into its hostgroups   group_replication, galera  their answers
    schedule  what is due next                          journal   the tables of `monitor`
with a loop
    monitor   jobs come due, one at a time per server   link      the connection kept to one
    probing   one probe, with a deadline                names     local DNS cache
    checks, replication, clusters                       what is asked, and who is told
"""

from hproxy.health.journal import Journal
from hproxy.health.model import (
    Act,
    Add,
    Address,
    Change,
    ClusterHostgroups,
    Dial,
    ProbeConnection,
    Remove,
    ReplicationHostgroups,
    Server,
    Values,
    View,
)
from hproxy.health.monitor import Monitor
from hproxy.health.names import NameCache

__all__ = [
    "Act",
    "Add",
    "Address",
    "Change",
    "ClusterHostgroups",
    "Dial",
    "Journal",
    "Monitor",
    "NameCache",
    "ProbeConnection",
    "Remove",
    "ReplicationHostgroups",
    "Server",
    "Values",
    "View",
]
