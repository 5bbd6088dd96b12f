# SPDX-License-Identifier: Apache-2.0
"""Backends, hostgroups and their health; pure."""

from hproxy.topology.backend import Backend, Health, Status
from hproxy.topology.topology import Topology

__all__ = ["Backend", "Health", "Status", "Topology"]
