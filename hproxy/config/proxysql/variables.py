# SPDX-License-Identifier: Apache-2.0
"""The registry of every variable that tools may find in global_variables.

client   listeners, login, limits, firewall      backend  pool, shunning, transactions
query    rules, cache, digests, logs             monitor  probes
admin    the admin server                        ignored  kept without an effect, and why
"""

from __future__ import annotations

from difflib import get_close_matches

from hproxy.config.option import Refusal
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables_admin import ADMIN
from hproxy.config.proxysql.variables_backend import BACKEND
from hproxy.config.proxysql.variables_client import CLIENT
from hproxy.config.proxysql.variables_ignored import IGNORED, VERSION
from hproxy.config.proxysql.variables_monitor import MONITOR
from hproxy.config.proxysql.variables_query import QUERY

__all__ = ["PREFIXES", "VARIABLES", "VERSION", "find_variable", "suggestion"]

PREFIXES = ("mysql-", "admin-")

VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in sorted(
        (*CLIENT, *BACKEND, *QUERY, *MONITOR, *ADMIN, *IGNORED),
        key=lambda variable: variable.name,
    )
}
_LOWER = {name.lower(): variable for name, variable in VARIABLES.items()}


def find_variable(name: str) -> Variable:
    """The variable of that name, in any case. Raises Refusal with what may have been meant."""
    variable = _LOWER.get(name.lower())
    if variable is None:
        raise Refusal("unknown variable", suggestion(name))
    return variable


def suggestion(name: str) -> str:
    """A hint for an unknown name; "" when nothing is near."""
    near = get_close_matches(name.lower(), _LOWER, n=1, cutoff=0.75)
    if not near:
        near = [f"{prefix}{name.lower()}" for prefix in PREFIXES if f"{prefix}{name}" in _LOWER]
    return f"did you mean {_LOWER[near[0]].name}?" if near else ""
