# SPDX-License-Identifier: Apache-2.0
"""Commands that name a prepared statement."""

from typing_extensions import disjoint_base

from hproxy._native.mysql_outcome import Outcome
from hproxy._native.statements import ClientStatements

@disjoint_base
class Prepared(Outcome):
    fast_lane: bool
    """Without it the driver is shown every statement."""
    @property
    def salt(self) -> int:
        """What decisions rest on besides the text, mixed into digests."""
    @property
    def flag_in(self) -> int:
        """flagIN of the next statement."""
    def prepare_statements(self) -> ClientStatements:
        """The table of prepared statements, made at the first one."""
