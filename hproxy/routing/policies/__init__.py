# SPDX-License-Identifier: Apache-2.0
"""Ways to decide; one file each, and none imports another."""

from hproxy.routing.policies.query_rules import QueryRules
from hproxy.routing.policies.read_write_split import ReadWriteSplit
from hproxy.routing.policies.single import Single

__all__ = ["QueryRules", "ReadWriteSplit", "Single"]
