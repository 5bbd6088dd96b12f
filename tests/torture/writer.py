# SPDX-License-Identifier: Apache-2.0
"""One session's endless script. The same seed and number write the same, whoever else plays."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from random import Random

from hproxy.protocols.mysql.constants import Capability
from tests.support.recording_client import COMMON, Login
from tests.torture import phrases_data, phrases_prepared, phrases_state
from tests.torture.pen import Pen, q
from tests.torture.step import Command, Execute, Prepare, Step
from tests.torture.variables import SettableVariable

__all__ = ["CAPABILITIES", "Writer", "login_of"]

# What sessions may agree on with the server beyond the usual.
CAPABILITIES = {
    "DEPRECATE_EOF": Capability.DEPRECATE_EOF,
    "SESSION_TRACK": Capability.SESSION_TRACK,
    "MULTI_STATEMENTS": Capability.MULTI_STATEMENTS,
    "FOUND_ROWS": Capability.FOUND_ROWS,
    "IGNORE_SPACE": Capability.IGNORE_SPACE,
    "QUERY_ATTRIBUTES": Capability.QUERY_ATTRIBUTES,
}
USUAL = COMMON & ~Capability.MULTI_STATEMENTS
CHARSETS = (45, 45, 33, 8, 28, 63)

Maker = Callable[[Pen], list[Step]]
PHRASES: dict[Maker, int] = {
    **phrases_state.PHRASES,
    **phrases_data.PHRASES,
    **phrases_prepared.PHRASES,
}
MAKERS = list(PHRASES)
WEIGHTS = list(PHRASES.values())


def login_of(seed: int, session: int, family: str, only: frozenset[str] | None) -> Login:
    """How a session logs in: what it agrees on is drawn, or exactly `only`."""
    rng = Random(f"login {seed} {session}")
    capabilities = USUAL
    for name, capability in CAPABILITIES.items():
        likely = 0.15 if name in ("FOUND_ROWS", "IGNORE_SPACE") else 0.5
        drawn = rng.random() < likely
        if name == "QUERY_ATTRIBUTES" and family == "mariadb":
            continue
        if drawn if only is None else name in only:
            capabilities |= capability
    charset = rng.choice(CHARSETS)
    return Login(database="{db}1", capabilities=capabilities, charset=charset)


# May tie the session to its connection until a reset (docs: pins): stored code, what it is called
# through, the next transaction's form, variables nobody can read back, tables with triggers.
BINDING = re.compile(
    rb"(?i)\b[pf]_\w+\(|\bEXECUTE\b|\bTRANSACTION\b|insert_id|rand_seed|profiling|gtid_next|\bROLE\b"
    rb"|\bINTO w\d"
)


# After it FOUND_ROWS() is known to its connection alone: what stored code, one of several
# statements or a cursor has found; in MariaDB also an aggregate that was read from an index.
FINDS_UNSEEN = re.compile(rb"(?i)\b[pf]_\w+\(|\bEXECUTE\b|;|\bMAX\(|\bEXPLAIN\b|\bINTO w\d")
FINDS = re.compile(rb"(?i)^\(?(SELECT|SHOW)\b")


# Without autocommit MariaDB takes what making a temporary table has left for a transaction, until
# the next table is read, which may be our question for a user variable.
UNSURE = re.compile(rb"(?i)autocommit\s*:?=\s*(0|OFF)|p_autocommit\(0")


class Writer:
    """Writes phrase after phrase; `next` gives a step."""

    def __init__(
        self,
        seed: int,
        session: int,
        family: str,
        login: Login,
        variables: tuple[SettableVariable, ...],
        readable: tuple[str, ...],
    ) -> None:
        self.pen = Pen(
            rng=Random(f"script {seed} {session}"),
            session=session,
            family=family,
            capabilities=login.capabilities,
            variables=variables,
            readable=readable,
        )
        self.unsettled = 0
        """Steps since it gave up everything."""
        self.pending: deque[Step] = deque()
        self.prepared: dict[int, bytes] = {}
        """Texts by slot."""
        self.sure = False
        """A table was just read."""
        self.unseen = False
        """FOUND_ROWS() tells now what only the connection knows."""

    @property
    def between_phrases(self) -> bool:
        return not self.pending

    def next(self) -> Step:
        """The next step of the script."""
        while True:
            step = self._next()
            texts = [getattr(step, "sql", b""), *getattr(step, "statements", ())]
            if isinstance(step, Execute):
                texts.append(self.prepared.get(step.slot, b"") + b";" * step.flags)
            elif isinstance(step, Prepare):
                self.prepared[step.slot] = step.sql
            if self.unseen and any(b"FOUND_ROWS()" in text for text in texts):
                continue
            for text in texts:
                if FINDS_UNSEEN.search(text):
                    self.unseen = True
                elif FINDS.search(text) and not isinstance(step, Prepare):
                    self.unseen = False
            return step

    def _next(self) -> Step:
        if not self.pending:
            maker = self.pen.rng.choices(MAKERS, WEIGHTS)[0]
            self.pending.extend(maker(self.pen))
        elif self.pen.chance(0.04):
            # A question between the steps of a phrase, where none was expected.
            return phrases_state.probe(self.pen)[0]
        step = self.pending.popleft()
        if self.pen.mariadb and UNSURE.search(getattr(step, "sql", b"")) and not self.sure:
            self.sure = True
            self.pending.appendleft(step)
            return q(f"SELECT 1 FROM {self.pen.table()} LIMIT 1")
        self.sure = False
        self.unsettled += 1
        texts = (getattr(step, "sql", b""), *getattr(step, "statements", ()))
        if any(map(BINDING.search, texts)):
            self.pen.sticky.add("session")
        return step

    def settle(self) -> None:
        """What comes next gives up everything that needs a connection of its own."""
        pen = self.pen
        self.unsettled = 0
        pen.sticky.clear()
        self.pending.clear()
        if pen.chance(0.5):
            pen.slots.clear()
            self.pending.extend([Command(b"\x1f"), q("USE {db}1"), q("DO 0")])
            return
        n = f"{pen.session:02}"
        self.pending.extend(phrases_prepared.close_all(pen))
        self.pending.extend(
            q(sql)
            for sql in (
                "ROLLBACK",
                "SET autocommit = 1",
                "UNLOCK TABLES",
                "DO RELEASE_ALL_LOCKS()",
                f"DROP TEMPORARY TABLE IF EXISTS tmp{n}, tmp{n}b, t{n}, e{n}, routine_temporary",
                "DO 0",
            )
        )
