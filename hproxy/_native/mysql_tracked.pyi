# SPDX-License-Identifier: Apache-2.0
"""Session state in an OK."""

from typing_extensions import disjoint_base

from hproxy._native.mysql_leasing import Leasing

@disjoint_base
class Tracked(Leasing):
    watched: bool
    """The driver is told when this statement is answered."""
    shows_state: bool
    """The client has turned session tracking of its own on."""
    shows_in_eof: bool
    """It turned on what sets the flag of session state behind rows, too."""
    shows_transactions: bool
    """It is told of transactions whatever it turned on."""
    def transaction_view(self, state: bytes | None, again: bool, status: int) -> bytes | None:
        """What a client that asked for nothing is told of transactions: an entry of session state,
        b"" for the flag alone, None for nothing.

        `state`: the letters in an OK, if they changed; `again`: a statement began one."""
