# SPDX-License-Identifier: Apache-2.0
"""Backends, hostgroups and their health; pure."""

from hproxy.topology.backend import Backend, Health, Status
from hproxy.topology.hostgroup import HostgroupAttributes, HostgroupTable
from hproxy.topology.topology import Replacement, StatusListener, Topology

__all__ = [
    "Backend",
    "Health",
    "HostgroupAttributes",
    "HostgroupTable",
    "Replacement",
    "Status",
    "StatusListener",
    "Topology",
]
