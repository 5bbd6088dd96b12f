# SPDX-License-Identifier: Apache-2.0
"""Query rules with ProxySQL's columns and meanings; pure, and knows no session.

rows ── RuleSet.compile ──> RuleSet ── judge(Question) ──> Verdict
          │ model.py  a row, checked       │ candidates.py  which rules can match at all
          └ pattern.py  RE2 or PCRE2       └ comment.py     what the first comment asks for
"""

from hproxy.routing.rules.comment import Hints, read_hints
from hproxy.routing.rules.model import OUTCOMES, BadRule, Rule
from hproxy.routing.rules.pattern import PCRE, RE2, check_regex
from hproxy.routing.rules.ruleset import RuleSet
from hproxy.routing.rules.verdict import Question, Verdict

__all__ = [
    "OUTCOMES",
    "PCRE",
    "RE2",
    "BadRule",
    "Hints",
    "Question",
    "Rule",
    "RuleSet",
    "Verdict",
    "check_regex",
    "read_hints",
]
