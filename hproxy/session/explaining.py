# SPDX-License-Identifier: Apache-2.0
"""Why a statement would go where it goes, and what has been decided so far.

explain        each rule that matches and why, then the decision     EXPLAIN ROUTE, hproxy explain
decision_rows  what the fast lane finds                              stats_hproxy_decisions

    a worker's services ──┐
                          ├──> Scene ──> explain ──> steps
    a configuration ──────┘    (runtime/offline.py: nobody runs it)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hproxy.auth import Account, UserTable
from hproxy.protocols.base import Protocol
from hproxy.routing import Request, Router
from hproxy.routing.firewall import Firewall, Judgement
from hproxy.routing.rules import OUTCOMES, Question, RuleSet, Verdict
from hproxy.session.services import Services

__all__ = ["Scene", "Step", "decision_rows", "explain", "scene_of"]

Step = tuple[str, str]
JUDGED = {
    Judgement.DETECT: "not listed: it runs, and is told",
    Judgement.BLOCK: "not listed: answered with error 1148, no backend sees it",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What a route rests on."""

    protocol: Protocol
    users: UserTable
    home: int
    """Hostgroup of who is no account."""
    firewall: Firewall
    served: Callable[[int], bool]
    """Whether a hostgroup has servers."""
    rules: RuleSet | None
    """None where sessions keep one connection each: nothing is looked at."""
    router: Router | None


def scene_of(services: Services) -> Scene:
    """That of a worker, as it is now."""
    shared = services.multiplex
    return Scene(
        protocol=services.protocol,
        users=services.users,
        home=services.settings.hostgroup,
        firewall=services.firewall,
        served=lambda hostgroup: bool(services.topology.members(hostgroup)),
        rules=None if shared is None else shared.rules,
        router=None if shared is None else shared.router,
    )


def explain(
    scene: Scene, sql: str, user: str = "", schema: str = "", client_addr: str = ""
) -> list[Step]:
    """(step, detail) for a statement of a session that has done nothing yet.

    Nothing is run and no rule counts it as a hit."""
    mysql = scene.protocol.multiplexing
    text = sql.encode()
    digest = mysql.digest(text)
    account = scene.users.find(user.encode())
    home = scene.home if account is None else account.hostgroup
    steps: list[Step] = [
        ("digest", digest.decode("utf-8", "replace")),
        ("digest hash", f"0x{mysql.stable_hash(digest):016X}"),
        ("account", _account(user, account, home)),
    ]
    if scene.rules is None or scene.router is None or (account and account.fast_forward):
        steps.append(
            ("decision", f"hostgroup {home}: its session keeps one connection, no rule is asked")
        )
        return steps
    if not schema and account is not None:
        schema = account.default_schema.decode("utf-8", "replace")
    question = Question(
        user=user.encode(),
        schema=schema.encode(),
        text=text,
        digest_text=digest,
        digest=mysql.stable_hash(digest),
        client=client_addr,
        comment=mysql.first_comment(text),
    )
    judged = scene.firewall.judge(
        question.user, client_addr, question.schema, question.flag, question.digest
    )
    if judged in JUDGED:
        steps.append(("firewall", JUDGED[judged]))
    verdict = scene.rules.judge(question, trace=lambda *step: steps.append(step))
    if not verdict.rules:
        steps.append(("rules", f"none of {len(scene.rules)} matches"))
    if verdict.text is not None:
        steps.append(("rewritten", verdict.text.decode("utf-8", "replace")))
    traits = mysql.classify(text if verdict.text is None else verdict.text)
    steps.append(("traits", f"{traits.verb.decode()}: {_flags(traits.traits)}"))
    if judged is Judgement.BLOCK:
        steps.append(("decision", "blocked by the firewall"))
        return steps
    if verdict.answered:
        told = "OK_msg" if verdict.OK_msg is not None else "error_msg"
        steps.append(("decision", f"answered by the proxy, {told}: {getattr(verdict, told)}"))
        return steps
    steps.append(("decision", _route(scene, scene.router, verdict, traits, home, question)))
    if account is not None and not account.transaction_persistent:
        steps.append(("in a transaction", "the same"))
    else:
        steps.append(("in a transaction", "stays on the hostgroup it began in"))
    steps.append(("kept", _kept(verdict)))
    return steps


def _account(user: str, account: Account | None, home: int) -> str:
    if not user:
        return f"none named, hostgroup {home} is assumed"
    if account is None:
        return f"{user} is no account of ours, hostgroup {home} is assumed"
    return f"{user}, hostgroup {home}"


def _route(
    scene: Scene, router: Router, verdict: Verdict, traits: Any, home: int, question: Question
) -> str:
    ruled = verdict.destination_hostgroup
    if ruled is not None and not scene.served(ruled):
        return f"refused: hostgroup {ruled} has no servers"
    route = router.compile(
        Request(
            reads=bool(traits.traits & scene.protocol.multiplexing.Trait.READ),
            default_hostgroup=home,
            user=question.user,
            schema=question.schema,
            ruled=ruled,
            ruled_by=verdict.why,
        )
    )
    where = route.writer if route.reader is None else route.reader
    found = f"hostgroup {where}: {route.reason}"
    if route.reader is not None:
        found += f"; hostgroup {route.writer} while an own write must be seen"
    acts = [
        f"{name} = {getattr(verdict, name)}"
        for name in OUTCOMES
        if name != "destination_hostgroup" and getattr(verdict, name) is not None
    ]
    found = f"{found} ({', '.join(acts)})" if acts else found
    if not scene.served(where) and not scene.served(route.writer):
        found += "; it has no servers: the statement waits, and fails with 9001"
    return found


def _kept(verdict: Verdict) -> str:
    if verdict.by_chance:
        return "for this once: lots are drawn"
    if verdict.by_text:
        return "for this text: a rule looks at it"
    return "for every text of the digest"


def _flags(traits: Any) -> str:
    return ", ".join(flag.name for flag in type(traits) if flag in traits) or "nothing special"


def decision_rows(services: Services) -> Iterator[tuple[Any, ...]]:
    """One row of stats_hproxy_decisions per decision that is kept."""
    shared, mysql = services.sharing, services.protocol.multiplexing
    for decision in shared.decisions.entries():
        key = decision.counters.key or (None, b"", b"", b"")
        yield (
            decision.writer.key.account.username.decode("utf-8", "replace"),
            key[1].decode("utf-8", "replace"),
            f"0x{mysql.stable_hash(decision.text):016X}",
            decision.text.decode("utf-8", "replace"),
            decision.writer.key.hostgroup,
            None if decision.reader is None else decision.reader.key.hostgroup,
            ",".join(map(str, decision.tally.rules)) if decision.tally is not None else "",
            _actions(decision),
            decision.uses,
        )


def _actions(decision: Any) -> str:
    """What is done besides sending it there, and why there."""
    verdict = decision.verdict
    if verdict is None:
        return ""
    told = [verdict.why] if verdict.why else []
    for name in OUTCOMES:
        value = getattr(verdict, name, None)
        if value is not None and name != "destination_hostgroup":
            told.append(f"{name}={value}")
    if verdict.text is not None:
        told.append(f"rewritten={verdict.text.decode('utf-8', 'replace')}")
    return "; ".join(told)
