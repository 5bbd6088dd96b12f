# SPDX-License-Identifier: Apache-2.0
"""All rules at once, and the walk through them.

    flagIN 0, or what the statement before has left
      └ the next rule that matches ── its outcome over the verdict ── apply ──> done
          └ flagOUT? the walk goes on behind it with that flagIN; from the first rule again as
            long as mysql-query_processor_iterations lasts
      └ none is left ── no rule applied ──> fast routing (username, schemaname, flagIN)
    and in the end what the statement's first comment asks for

Patterns see the text as the rules before have left it; the digest is always the client's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import randrange
from typing import Any

from hproxy.routing.rules.candidates import Alive, Candidates
from hproxy.routing.rules.comment import read_hints
from hproxy.routing.rules.model import BadRule, Rule
from hproxy.routing.rules.pattern import PCRE, RE2
from hproxy.routing.rules.verdict import Question, Verdict

__all__ = ["RuleSet", "Step"]

Step = tuple[str, str]
"""(what, detail) of an explanation."""


class RuleSet:
    """Rules that can be asked; made by `compile`."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        fast_routes: Mapping[tuple[bytes, bytes, int], int] | None = None,
        bad: Iterable[BadRule] = (),
        iterations: int = 0,
    ) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.rule_id))
        self.fast_routes = dict(fast_routes or {})
        self.bad = tuple(bad)
        """Rows that were left out, and why."""
        self.iterations = iterations
        self._candidates = Candidates(self.rules)
        addresses = {r.client_addr for r in self.rules if r.client_addr is not None}
        self._exact_clients = {a for a in addresses if "%" not in a}
        starts = {a[: a.find("%")] for a in addresses if "%" in a}
        self._client_starts = {
            size: {s for s in starts if len(s) == size} for size in sorted(map(len, starts))
        }
        self._gtid_sources = frozenset(
            r.outcome["gtid_from_hostgroup"]
            for r in self.rules
            if "gtid_from_hostgroup" in r.outcome
        )
        self._proxy_addresses = {r.proxy_addr for r in self.rules if r.proxy_addr is not None}
        self._proxy_ports = {r.proxy_port for r in self.rules if r.proxy_port is not None}

    @classmethod
    def compile(
        cls,
        rows: Iterable[Mapping[str, Any]],
        fast_routing_rows: Iterable[Mapping[str, Any]] = (),
        engine: int = RE2,
        iterations: int = 0,
    ) -> RuleSet:
        """Rows of mysql_query_rules that are active, and of mysql_query_rules_fast_routing.

        Never raises: `bad` says which rows cannot be used. `engine` is RE2 or PCRE."""
        if engine not in (RE2, PCRE):
            raise ValueError(f"no such engine: {engine}")
        rules: dict[int, Rule] = {}
        bad: list[BadRule] = []
        for row in rows:
            read = Rule.read(row, engine)
            if isinstance(read, BadRule):
                bad.append(read)
            elif read.rule_id in rules:
                bad.append(BadRule(read.rule_id, "rule_id", "another rule has it, too"))
            elif int(row.get("active", 0) or 0):
                rules[read.rule_id] = read
        routes: dict[tuple[bytes, bytes, int], int] = {}
        for row in fast_routing_rows:
            try:
                hostgroup = int(row["destination_hostgroup"])
                flag = int(row.get("flagIN", 0) or 0)
                if hostgroup < 0 or flag < 0:
                    raise ValueError
                key = str(row["username"]).encode(), str(row["schemaname"]).encode(), flag
            except (KeyError, TypeError, ValueError):
                bad.append(BadRule(None, "mysql_query_rules_fast_routing", f"cannot be: {row!r}"))
                continue
            routes[key] = hostgroup
        return cls(rules.values(), routes, bad, iterations)

    def __len__(self) -> int:
        return len(self.rules)

    # -- what answers depend on ------------------------------------------------------

    @property
    def gtid_sources(self) -> frozenset[int]:
        """Hostgroups whose writes some rule waits for."""
        return self._gtid_sources

    @property
    def asks_client(self) -> bool:
        """Whether some rule looks at the address of the client."""
        return bool(self._exact_clients or self._client_starts)

    @property
    def asks_proxy(self) -> bool:
        """Whether some rule looks at the address the client has connected to."""
        return bool(self._proxy_addresses or self._proxy_ports)

    @property
    def asks_origin(self) -> bool:
        """One of these two."""
        return self.asks_client or self.asks_proxy

    def client_class(self, client: str) -> object:
        """Clients of one class are judged alike; hashable."""
        starts = tuple(
            client[:size] for size, known in self._client_starts.items() if client[:size] in known
        )
        return client if client in self._exact_clients else "", starts

    def proxy_class(self, address: str, port: int) -> object:
        """The same for where clients have connected to."""
        return (
            address if address in self._proxy_addresses else "",
            port if port in self._proxy_ports else -1,
        )

    # -- the walk --------------------------------------------------------------------

    def judge(
        self,
        question: Question,
        *,
        draw: Callable[[int], int] = randrange,
        trace: Callable[[str, str], None] | None = None,
    ) -> Verdict:
        """What is to be done with a statement. `draw(n)` is a number below n."""
        verdict = Verdict()
        matched: list[int] = []
        flag = self._walk(question, verdict, matched, draw, trace)
        verdict.rules = tuple(matched)
        if flag is not None and self.fast_routes:
            hostgroup = self.fast_routes.get((question.user, question.schema, flag))
            if hostgroup is not None:
                verdict.destination_hostgroup = hostgroup
                verdict.fast_routed = True
                if trace:
                    trace("fast routing", f"hostgroup {hostgroup} for flagIN {flag}")
        hints, verdict.hinted = read_hints(question.comment)
        for name, value in hints.items():
            setattr(verdict, name, value)
            if trace:
                trace("comment", f"{name} = {value}")
        return verdict

    def _walk(
        self,
        question: Question,
        verdict: Verdict,
        matched: list[int],
        draw: Callable[[int], int],
        trace: Callable[[str, str], None] | None,
    ) -> int | None:
        """The flagIN in the end, None when a rule applied."""
        flag, behind, again = question.flag, -1, self.iterations
        text = question.text
        while True:
            alive = self._candidates.alive(
                flag, question.user, question.schema, question.digest, question.digest_text
            )
            rule = None
            for at in self._behind(alive, behind, text, verdict):
                candidate = self.rules[at]
                if not candidate.admits(question.client, question.proxy_addr, question.proxy_port):
                    continue
                if candidate.match_pattern is not None:
                    verdict.by_text = True
                    if candidate.match_pattern.found_in(text) == candidate.negate:
                        continue
                rule, behind = candidate, at
                break
            if rule is None:
                return flag
            matched.append(rule.rule_id)
            if trace:
                trace(f"rule {rule.rule_id}", _told(rule))
            for name, value in rule.outcome.items():
                setattr(verdict, name, value)
            if rule.rewrite is not None:
                text = verdict.text = rule.rewrite(text)
            out = self._flag_out(rule, verdict, draw)
            if rule.apply:
                return None
            if out is not None:
                flag = out
                if again:
                    again -= 1
                    behind = -1

    def _behind(
        self, alive: Alive | None, behind: int, text: bytes, verdict: Verdict
    ) -> Iterator[int]:
        """Positions behind `behind` of rules that may match, in order."""
        if alive is None:
            return
        positions = alive.positions
        if alive.filter is None:
            yield from positions[bisect_right(positions, behind) :]
            return
        # Many patterns: all of them are looked for at once. Where the first of them stands, the
        # text begins to matter.
        first = bisect_right(alive.by_text, behind)
        start = alive.by_text[first] if first < len(alive.by_text) else None
        low = bisect_right(positions, behind)
        if start is None:
            yield from positions[low:]
            return
        high = bisect_left(positions, start)
        yield from positions[low:high]
        verdict.by_text = True
        found = alive.filter.found_in(text)
        passing = {
            at
            for index, at in enumerate(alive.by_text)
            if (index in found) != self.rules[at].negate
        }
        for at in positions[high:]:
            if at in passing or self.rules[at].match_pattern is None:
                yield at

    @staticmethod
    def _flag_out(rule: Rule, verdict: Verdict, draw: Callable[[int], int]) -> int | None:
        out = None
        if rule.weighted:
            verdict.by_chance = True
            point = draw(sum(weight for _, weight in rule.weighted))
            for flag, weight in rule.weighted:
                point -= weight
                if point < 0:
                    out = flag
                    break
        return rule.flag_out if rule.flag_out is not None else out


def _told(rule: Rule) -> str:
    """Why it matched and what it says, for people."""
    conditions = [f"flagIN {rule.flag_in}"]
    for name, value in (
        ("username", rule.username),
        ("schemaname", rule.schemaname),
        ("client_addr", rule.client_addr),
        ("proxy_addr", rule.proxy_addr),
        ("proxy_port", rule.proxy_port),
        ("digest", None if rule.digest is None else f"0x{rule.digest:016X}"),
        ("match_digest", rule.match_digest.source if rule.match_digest else None),
        ("match_pattern", rule.match_pattern.source if rule.match_pattern else None),
    ):
        if value is not None:
            shown = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            negated = "not " if rule.negate and name.startswith("match") else ""
            conditions.append(f"{negated}{name} {shown}")
    outcome = [f"{name} = {value}" for name, value in rule.outcome.items()]
    if rule.rewrite is not None:
        outcome.append("the text is rewritten")
    if rule.weighted:
        outcome.append(f"flagOUT one of {[flag for flag, _ in rule.weighted]}")
    if rule.flag_out is not None:
        outcome.append(f"flagOUT = {rule.flag_out}")
    if rule.apply:
        outcome.append("apply")
    return f"matched by {', '.join(conditions)}: {', '.join(outcome) or 'nothing'}"
