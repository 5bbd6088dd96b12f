# SPDX-License-Identifier: Apache-2.0
"""What the console refuses, in ProxySQL's number and words: 1045/28000 "ProxySQL Admin Error: ...".

A lock that another session holds is 1205; a statement that was ended is 1317, or 3024 when its
time was up.
"""

from __future__ import annotations

import apsw

from hproxy.errors import AdminError, ConfigError

__all__ = ["expired", "interrupted", "locked", "of_config", "of_sqlite", "refuse"]

PREFIX = "ProxySQL Admin Error: "


def refuse(reason: str, number: int = 1045, sqlstate: bytes = b"28000") -> AdminError:
    """A statement that is not run, and why."""
    return AdminError(PREFIX + reason, number=number, sqlstate=sqlstate)


def interrupted() -> AdminError:
    """Somebody ended it."""
    return AdminError("Query execution was interrupted", number=1317, sqlstate=b"70100")


def locked() -> AdminError:
    """Another session is writing, for longer than one waits."""
    return AdminError("database is locked", number=1205, sqlstate=b"HY000")


def expired(budget_sec: float) -> AdminError:
    """It took longer than one may."""
    return AdminError(
        f"Query execution was interrupted, it ran for longer than {budget_sec:g} seconds",
        number=3024,
        sqlstate=b"HY000",
    )


def of_config(error: ConfigError) -> AdminError:
    """A configuration that cannot stand, every mistake of it."""
    if not error.findings:
        return refuse(str(error))
    return refuse("; ".join(str(finding) for finding in error.findings))


def of_sqlite(error: apsw.Error) -> AdminError:
    """What SQLite complains of."""
    if isinstance(error, apsw.InterruptError):
        return interrupted()
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return locked()
    if isinstance(error, apsw.NoMemError):
        return refuse("out of memory: it takes more than all statements may have together")
    return refuse(str(error) or type(error).__name__)
