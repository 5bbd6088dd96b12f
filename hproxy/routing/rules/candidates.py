# SPDX-License-Identifier: Apache-2.0
"""Which rules can match a statement at all, of ten thousand, without a look at each.

    flagIN ──> Chain ── (username, schemaname, digest), each given or not ──> buckets
                            bucket: rules without match_digest, and
                                    those whose match_digest is found (all at once) ──> alive

What is alive is asked in order of rule_id; what depends on the text or on where the client comes
from is asked only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hproxy.routing.rules.model import Rule
from hproxy.routing.rules.pattern import SET_FROM, Pattern, PatternFilter

__all__ = ["Alive", "Candidates"]

MOST_KEPT = 1024
Shape = tuple[bool, bool, bool]
Key = tuple[bytes | None, bytes | None, int | None]


@dataclass(slots=True)
class Bucket:
    """Rules with the same username, schemaname and digest."""

    plain: list[int] = field(default_factory=list)
    searched: list[int] = field(default_factory=list)
    """Those with match_digest."""
    filter: PatternFilter | None = None


@dataclass(slots=True)
class Alive:
    """Rules that can match a digest, in their order."""

    positions: list[int]
    by_text: list[int]
    """Those of them that look at the text."""
    filter: PatternFilter | None
    """For these, if they are many."""


@dataclass(slots=True)
class Chain:
    """The rules of one flagIN."""

    buckets: dict[Key, Bucket] = field(default_factory=dict)
    shapes: set[Shape] = field(default_factory=set)


class Candidates:
    """An index over rules in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._chains: dict[int, Chain] = {}
        self._kept: dict[tuple[int, bytes, bytes, bytes], Alive] = {}
        for position, rule in enumerate(rules):
            chain = self._chains.setdefault(rule.flag_in, Chain())
            key = rule.username, rule.schemaname, rule.digest
            chain.shapes.add((key[0] is not None, key[1] is not None, key[2] is not None))
            bucket = chain.buckets.setdefault(key, Bucket())
            (bucket.plain if rule.match_digest is None else bucket.searched).append(position)

    def alive(
        self, flag: int, user: bytes, schema: bytes, digest: int, digest_text: bytes
    ) -> Alive | None:
        """None where no rule has this flagIN."""
        chain = self._chains.get(flag)
        if chain is None:
            return None
        kept = flag, user, schema, digest_text
        found = self._kept.get(kept)
        if found is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[kept] = self._find(chain, user, schema, digest, digest_text)
        return found

    def _find(
        self, chain: Chain, user: bytes, schema: bytes, digest: int, digest_text: bytes
    ) -> Alive:
        positions: list[int] = []
        for by_user, by_schema, by_digest in chain.shapes:
            bucket = chain.buckets.get(
                (
                    user if by_user else None,
                    schema if by_schema else None,
                    digest if by_digest else None,
                )
            )
            if bucket is not None:
                positions += bucket.plain
                positions += self._searched(bucket, digest_text)
        positions.sort()
        by_text = [at for at in positions if self._rules[at].match_pattern is not None]
        many = len(by_text) >= SET_FROM
        return Alive(positions, by_text, self._filter_of(by_text) if many else None)

    def _searched(self, bucket: Bucket, digest_text: bytes) -> list[int]:
        rules = self._rules
        if not bucket.searched:
            return []
        if bucket.filter is None:
            bucket.filter = PatternFilter(
                [_present(rules[at].match_digest) for at in bucket.searched]
            )
        found = bucket.filter.found_in(digest_text)
        return [
            at for index, at in enumerate(bucket.searched) if (index in found) != rules[at].negate
        ]

    def _filter_of(self, positions: Sequence[int]) -> PatternFilter:
        return PatternFilter([_present(self._rules[at].match_pattern) for at in positions])


def _present(pattern: Pattern | None) -> Pattern:
    assert pattern is not None
    return pattern
