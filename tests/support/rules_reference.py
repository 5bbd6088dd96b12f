# SPDX-License-Identifier: Apache-2.0
"""Query rules as one loop over all rows, in the order in which ProxySQL asks its questions.

Slow and literal: what RuleSet answers must be the same. It reads the rows themselves, with the
regular expressions of Python, which for the patterns of the tests say what RE2 says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hproxy.routing.rules import Question

Row = Mapping[str, Any]

OVERRIDES = (
    "reconnect", "timeout", "retries", "delay", "next_query_flagIN", "mirror_flagOUT",
    "mirror_hostgroup", "error_msg", "OK_msg", "cache_ttl", "cache_empty_result", "cache_timeout",
    "sticky_conn", "multiplex", "gtid_from_hostgroup", "log", "destination_hostgroup",
)  # fmt: skip


def search(pattern: str, text: bytes, modifiers: str) -> bool:
    flags = re.IGNORECASE if "CASELESS" in modifiers else 0
    return re.search(pattern.encode(), text, flags) is not None


def answer(
    rows: Sequence[Row],
    fast: Mapping[tuple[bytes, bytes, int], int],
    question: Question,
    iterations: int,
    draw: Callable[[int], int],
) -> dict[str, Any]:
    """Every column that was set, `rules` that matched and `text` if it was rewritten."""
    found: dict[str, Any] = {"rules": ()}
    flag, text, applied = question.flag, question.text, False
    ordered = sorted((row for row in rows if row.get("active")), key=lambda row: row["rule_id"])
    at = 0
    while at < len(ordered) and not applied:
        row = ordered[at]
        at += 1
        if row.get("flagIN", 0) != flag:
            continue
        if row.get("username") and row["username"].encode() != question.user:
            continue
        if row.get("schemaname") and row["schemaname"].encode() != question.schema:
            continue
        address = row.get("client_addr")
        if address:
            head, percent, _ = address.partition("%")
            if not (question.client.startswith(head) if percent else question.client == address):
                continue
        if row.get("proxy_addr") and row["proxy_addr"] != question.proxy_addr:
            continue
        if row.get("proxy_port") is not None and row["proxy_port"] != question.proxy_port:
            continue
        if row.get("digest") and int(row["digest"], 16) != question.digest:
            continue
        modifiers = row.get("re_modifiers", "CASELESS")
        negate = bool(row.get("negate_match_pattern"))
        wanted = row.get("match_digest")
        if wanted is not None and search(wanted, question.digest_text, modifiers) == negate:
            continue
        wanted = row.get("match_pattern")
        if wanted is not None and search(wanted, text, modifiers) == negate:
            continue
        found["rules"] += (row["rule_id"],)
        out = None
        weights = json.loads(row.get("attributes") or "{}").get("flagOUTs", [])
        if weights:
            point = draw(sum(item["weight"] for item in weights))
            for item in weights:
                point -= item["weight"]
                if point < 0:
                    out = item["id"]
                    break
        if row.get("flagOUT") is not None:
            out = row["flagOUT"]
        for column in OVERRIDES:
            if row.get(column) is not None:
                found[column] = row[column]
        if row.get("replace_pattern") is not None:
            flags = re.IGNORECASE if "CASELESS" in modifiers else 0
            count = 0 if "GLOBAL" in modifiers else 1
            template = row["replace_pattern"].replace("\\0", "\\g<0>").encode()
            text = re.sub(row["match_pattern"].encode(), template, text, count=count, flags=flags)
            found["text"] = text
        if row.get("apply"):
            applied = True
        elif out is not None:
            flag = out
            if iterations:
                iterations -= 1
                at = 0
    if not applied:
        hostgroup = fast.get((question.user, question.schema, flag))
        if hostgroup is not None:
            found["destination_hostgroup"] = hostgroup
    return found
