# SPDX-License-Identifier: Apache-2.0
"""One row of mysql_query_rules: the 35 columns of ProxySQL, checked.

    conditions   username schemaname flagIN client_addr proxy_addr proxy_port digest
                 match_digest match_pattern negate_match_pattern re_modifiers
    outcome      flagOUT replace_pattern destination_hostgroup cache_ttl cache_empty_result
                 cache_timeout reconnect timeout retries delay next_query_flagIN mirror_flagOUT
                 mirror_hostgroup error_msg OK_msg sticky_conn multiplex gtid_from_hostgroup log
    the walk     rule_id active apply attributes ({"flagOUTs": [{"id": 3, "weight": 1}, ...]})
    for people   comment

A condition that is NULL or '' holds for everything, an outcome that is NULL changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hproxy.routing.rules.pattern import Pattern, PatternRefused, read_modifiers

__all__ = ["COLUMNS", "OUTCOMES", "BadRule", "Rule"]

MAX_UINT32 = 2**32 - 1
MAX_INT32 = 2**31 - 1

# Numbers by column, with what they may be.
NUMBERS: dict[str, tuple[int, int]] = {
    "rule_id": (0, MAX_INT32),
    "active": (0, 1),
    "flagIN": (0, MAX_UINT32),
    "proxy_port": (0, 65535),
    "negate_match_pattern": (0, 1),
    "flagOUT": (0, MAX_UINT32),
    "destination_hostgroup": (0, MAX_INT32),
    "cache_ttl": (1, MAX_UINT32),
    "cache_empty_result": (0, 1),
    "cache_timeout": (0, MAX_UINT32),
    "reconnect": (0, 1),
    "timeout": (0, MAX_UINT32),
    "retries": (0, 1000),
    "delay": (0, MAX_UINT32),
    "next_query_flagIN": (0, MAX_UINT32),
    "mirror_flagOUT": (0, MAX_UINT32),
    "mirror_hostgroup": (0, MAX_INT32),
    "sticky_conn": (0, 1),
    "multiplex": (0, 2),
    "gtid_from_hostgroup": (0, MAX_INT32),
    "log": (0, 1),
    "apply": (0, 1),
}
TEXTS = (
    "username", "schemaname", "client_addr", "proxy_addr", "digest", "match_digest",
    "match_pattern", "re_modifiers", "replace_pattern", "error_msg", "OK_msg", "attributes",
    "comment",
)  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "active": 0, "flagIN": 0, "negate_match_pattern": 0, "re_modifiers": "CASELESS", "apply": 0,
    "attributes": "",
}  # fmt: skip
OUTCOMES = (
    "reconnect", "timeout", "retries", "delay", "next_query_flagIN", "mirror_flagOUT",
    "mirror_hostgroup", "error_msg", "OK_msg", "cache_ttl", "cache_empty_result", "cache_timeout",
    "sticky_conn", "multiplex", "gtid_from_hostgroup", "log", "destination_hostgroup",
)  # fmt: skip
"""Columns that the verdict takes over from a rule that matches, the last one's value."""
COLUMNS = (
    "rule_id", "active", "username", "schemaname", "flagIN", "client_addr", "proxy_addr",
    "proxy_port", "digest", "match_digest", "match_pattern", "negate_match_pattern",
    "re_modifiers", "flagOUT", "replace_pattern", "destination_hostgroup", "cache_ttl",
    "cache_empty_result", "cache_timeout", "reconnect", "timeout", "retries", "delay",
    "next_query_flagIN", "mirror_flagOUT", "mirror_hostgroup", "error_msg", "OK_msg",
    "sticky_conn", "multiplex", "gtid_from_hostgroup", "log", "apply", "attributes", "comment",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadRule:
    """What is wrong with a row."""

    rule_id: int | None
    column: str
    reason: str

    def __str__(self) -> str:
        return f"rule {self.rule_id}: {self.column}: {self.reason}"


class RuleRefused(ValueError):
    """Internal: (column, reason)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row that can be asked. Texts are bytes, as sessions have them."""

    rule_id: int
    username: bytes | None
    schemaname: bytes | None
    flag_in: int
    client_addr: str | None
    proxy_addr: str | None
    proxy_port: int | None
    digest: int | None
    match_digest: Pattern | None
    match_pattern: Pattern | None
    negate: bool
    rewrite: Callable[[bytes], bytes] | None
    flag_out: int | None
    weighted: tuple[tuple[int, int], ...]
    """(flagOUT, weight), drawn anew for each statement."""
    outcome: Mapping[str, Any]
    """Columns of OUTCOMES that are not NULL."""
    apply: bool

    @classmethod
    def read(cls, row: Mapping[str, Any], engine: int) -> Rule | BadRule:
        """A row with ProxySQL's columns; those that are left out have their defaults."""
        number = row.get("rule_id")
        try:
            return cls._read(row, engine)
        except RuleRefused as refused:
            column, reason = refused.args
            return BadRule(number if isinstance(number, int) else None, column, reason)

    @classmethod
    def _read(cls, row: Mapping[str, Any], engine: int) -> Rule:
        for name in row:
            if name not in COLUMNS:
                raise RuleRefused(name, "no such column")
        values: dict[str, Any] = {
            name: _number(name, row.get(name, DEFAULTS.get(name))) for name in NUMBERS
        }
        values |= {name: _string(name, row.get(name, DEFAULTS.get(name))) for name in TEXTS}
        if values["rule_id"] is None:
            raise RuleRefused("rule_id", "is missing")
        try:
            modifiers = read_modifiers(values["re_modifiers"] or "")
        except PatternRefused as refused:
            raise RuleRefused("re_modifiers", str(refused)) from None
        caseless = "CASELESS" in modifiers
        patterns = {
            name: _pattern(name, values[name], caseless, engine)
            for name in ("match_digest", "match_pattern")
        }
        return cls(
            rule_id=values["rule_id"],
            username=_bytes(values["username"]),
            schemaname=_bytes(values["schemaname"]),
            flag_in=values["flagIN"] or 0,
            client_addr=values["client_addr"] or None,
            proxy_addr=values["proxy_addr"] or None,
            proxy_port=values["proxy_port"],
            digest=_digest(values["digest"]),
            match_digest=patterns["match_digest"],
            match_pattern=patterns["match_pattern"],
            negate=bool(values["negate_match_pattern"]),
            rewrite=_rewriter(values, patterns["match_pattern"], "GLOBAL" in modifiers),
            flag_out=values["flagOUT"],
            weighted=_weighted(values["attributes"] or ""),
            outcome={name: values[name] for name in OUTCOMES if values[name] is not None},
            apply=bool(values["apply"]),
        )

    def admits(self, client: str, proxy_addr: str, proxy_port: int) -> bool:
        """Whether where the client comes from, and arrived, is what the rule is for."""
        wanted = self.client_addr
        if wanted is not None:
            wild = wanted.find("%")
            if (wild < 0 and client != wanted) or not client.startswith(wanted[: max(wild, 0)]):
                return False
        if self.proxy_addr is not None and proxy_addr != self.proxy_addr:
            return False
        return self.proxy_port is None or proxy_port == self.proxy_port


def _number(name: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise RuleRefused(name, f"must be a number, not {value!r}") from None
    low, high = NUMBERS[name]
    if not low <= number <= high:
        raise RuleRefused(name, f"must be {low} to {high}, not {number}")
    return int(number)


def _string(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if name == "attributes" and isinstance(value, dict):
        return json.dumps(value)
    raise RuleRefused(name, f"must be a text, not {value!r}")


def _bytes(text: str | None) -> bytes | None:
    return text.encode() if text else None


def _digest(text: str | None) -> int | None:
    if not text:
        return None
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise RuleRefused("digest", "must be 0x and up to 16 hexadecimal digits")
    return number


def _pattern(name: str, text: str | None, caseless: bool, engine: int) -> Pattern | None:
    if text is None:
        return None
    try:
        return Pattern(text.encode(), caseless, engine, one_line=name == "match_digest")
    except PatternRefused as refused:
        raise RuleRefused(name, str(refused)) from None


def _rewriter(
    values: Mapping[str, Any], pattern: Pattern | None, everywhere: bool
) -> Callable[[bytes], bytes] | None:
    text = values["replace_pattern"]
    if text is None:
        return None
    if pattern is None:
        raise RuleRefused("replace_pattern", "needs match_pattern")
    if values["negate_match_pattern"]:
        raise RuleRefused("replace_pattern", "has nothing to replace where the pattern is negated")
    try:
        return pattern.rewriter(text.encode(), everywhere)
    except PatternRefused as refused:
        raise RuleRefused("replace_pattern", str(refused)) from None


def _weighted(text: str) -> tuple[tuple[int, int], ...]:
    """`{"flagOUTs": [{"id": 3, "weight": 1}]}`; `flagOUT` is taken for `id` as well."""
    if not text:
        return ()
    try:
        attributes = json.loads(text)
    except ValueError:
        attributes = None
    if not isinstance(attributes, dict):
        raise RuleRefused("attributes", "must be a JSON object or empty")
    items = attributes.get("flagOUTs", [])
    found: list[Any] = []
    for item in items if isinstance(items, list) else [None]:
        pair: tuple[Any, Any] = (None, None)
        if isinstance(item, dict):
            pair = item.get("id", item.get("flagOUT")), item.get("weight")
        if not all(type(n) is int and 0 <= n <= MAX_UINT32 for n in pair):
            raise RuleRefused("attributes", 'flagOUTs must be like [{"id": 3, "weight": 1}]')
        found.append(pair)
    return tuple(found) if sum(weight for _, weight in found) else ()
