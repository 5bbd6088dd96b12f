# SPDX-License-Identifier: Apache-2.0
"""Any rules, any statements: with and without the fast lane the same answers and the same hits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hproxy.routing.rules import RuleSet
from hproxy.session.ruling import hits, swap_rules
from tests.support.pooled import Client, ServerError, client, go, pooled
from tests.support.server import Server

ROUNDS = 6
STEPS = 120
COLUMNS: dict[str, list[Any]] = {
    "destination_hostgroup": [0, 1],
    "next_query_flagIN": [0, 1],
    "multiplex": [0, 1, 2],
    "error_msg": ["refused"],
    "OK_msg": ["fine"],
    "cache_ttl": [60_000],
    "timeout": [60_000],
    "retries": [0, 1],
    "delay": [0, 1],
    "log": [0, 1],
    "mirror_hostgroup": [1],
    "sticky_conn": [1],
}
TEXTS = [
    "SELECT 1", "SELECT 2", "SELECT 'a', @@port", "SELECT @@port", "SELECT @@port, 3",
    "/* hostgroup=1 */ SELECT @@port", "/* cache_ttl=9000 */ SELECT 5", "SET @a = 4", "SELECT @a",
    "SELECT DATABASE()", "USE test", "USE information_schema", "BEGIN", "COMMIT",
    "SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT 1 UNION SELECT 2", "SHOW WARNINGS",
    "SELECT nothing", "SELECT CAST('x' AS SIGNED)", "DO 1",
]  # fmt: skip


def some_rules(rng: random.Random) -> list[dict[str, Any]]:
    rules = []
    for number in range(rng.randrange(1, 12)):
        rule: dict[str, Any] = {"rule_id": number + 1, "active": 1, "flagIN": rng.choice([0, 0, 1])}
        if rng.random() < 0.7:
            rule["match_digest"] = rng.choice(["@@port", "^SELECT", "\\?", "USE|SET", "DATABASE"])
        if rng.random() < 0.3:
            rule["match_pattern"] = rng.choice(["1", "'a'", "^SELECT (\\d)$", "port"])
            if rng.random() < 0.5:
                rule["replace_pattern"] = rng.choice(["2", "'b'", "SELECT 3", "port"])
        if rng.random() < 0.2:
            rule["flagOUT"] = rng.choice([0, 1])
        for column, values in COLUMNS.items():
            if rng.random() < (0.05 if "msg" in column else 0.15):
                rule[column] = rng.choice(values)
        rule["apply"] = int(rng.random() < 0.3)
        rules.append(rule)
    return [rule for rule in rules if not RuleSet.compile([rule]).bad]


async def said(session: Client, step: tuple[str, str]) -> Any:
    how, text = step
    try:
        if how == "text":
            return await session.run(text)
        return await session.execute(await session.prepare(text))
    except ServerError as error:
        return error.args


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_same(tmp_path: Path, mariadb: Server, mysql9: Server, seed: int) -> None:
    rng = random.Random(seed)
    rules = some_rules(rng)
    more = some_rules(rng)
    steps = [(rng.choice(["text", "text", "execute"]), rng.choice(TEXTS)) for _ in range(STEPS)]
    rows = [
        {"hostname": s.host, "port": s.port, "hostgroup_id": at}
        for at, s in enumerate((mariadb, mysql9))
    ]

    async def play(lane: bool) -> tuple[list[Any], list[dict[int, int]]]:
        (tmp_path / str(lane)).mkdir()
        async with pooled(tmp_path / str(lane), *rows, proxy={"fast_lane": lane}) as runtime:
            answers: list[Any] = []
            counted: list[dict[int, int]] = []
            session = await client(runtime)
            for half, given in enumerate((rules, more)):
                swap_rules(runtime.services, RuleSet.compile(given))
                played = steps[half * STEPS // 2 : (half + 1) * STEPS // 2]
                answers += [(step, await said(session, step)) for step in played]
                counted.append(hits(runtime.services))
            return answers, counted

    async def work() -> None:
        fast, slow = await play(True), await play(False)
        for one, other in zip(fast[0], slow[0], strict=True):
            assert one == other, (rules, more)
        assert fast[1] == slow[1], (rules, more)

    go(work())
