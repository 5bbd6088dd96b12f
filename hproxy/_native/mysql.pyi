# SPDX-License-Identifier: Apache-2.0
"""Where a MySQL command ends and where its response ends, seen from frame heads."""

from typing import final

from typing_extensions import Buffer

@final
class ResponseScanner:
    """Follows one response of a backend without decoding rows.

    Spec: MySQL "Command Phase", MariaDB "Clientserver Protocol: Result Set Packets".
    """

    deprecate_eof: bool
    """CLIENT_DEPRECATE_EOF was agreed with the backend."""
    def __init__(self, deprecate_eof: bool = False) -> None: ...
    def start(self, command: int) -> None:
        """Await the response to the command byte `command` (COM_QUERY is 3)."""
    def scan(self, data: Buffer) -> int:
        """Take bytes of the response; return how many belong to it.

        Stops at the end of the response, at a LOCAL INFILE request and at a fault.
        """
    def file_sent(self, next_sequence: int) -> None:
        """The client's file ended; the server's verdict follows with this sequence id."""
    @property
    def done(self) -> bool: ...
    @property
    def wants_file(self) -> bool:
        """The server asked for a LOCAL INFILE."""
    @property
    def fault(self) -> str | None:
        """Why the stream is broken, as a clause; None while it is not."""
    @property
    def fault_code(self) -> int: ...
    @property
    def status(self) -> int:
        """The last SERVER_STATUS flags seen."""
    @property
    def warnings(self) -> int: ...
    @property
    def rows(self) -> int:
        """Rows of this response so far."""
    @property
    def error(self) -> int:
        """The error number this response ended with; 0 without."""
    @property
    def errored(self) -> bool: ...
    @property
    def warned(self) -> bool:
        """Whether a statement of this response left warnings, though another came after it."""
    @property
    def matched(self) -> int:
        """Rows an UPDATE has found, -1 where its OK does not tell."""
    @property
    def affected(self) -> int:
        """Rows changed by the last statement; -1: it had rows."""
    @property
    def rowset(self) -> bool:
        """There were rows, or could have been."""
    @property
    def rows_last(self) -> int:
        """Rows of the last result that had some."""
    @property
    def insert_id(self) -> int:
        """The last one not 0 in this response."""

@final
class CommandFramer:
    """Follows the frames of one packet that a client sends (continuations included)."""

    def start(self, sequence: int = 0) -> None:
        """Await a packet whose first frame carries `sequence`."""
    def scan(self, data: Buffer) -> tuple[int, bool]:
        """(bytes that belong to the packet, whether it is complete)."""
    @property
    def fault(self) -> str | None: ...
    @property
    def fault_code(self) -> int: ...

def fault_text(code: int) -> str: ...
def reply_kind(command: int) -> int:
    """How the command byte is answered: the number of `Reply` in mysql.pxd."""
