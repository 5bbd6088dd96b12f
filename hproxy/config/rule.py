# SPDX-License-Identifier: Apache-2.0
"""Rows that say what happens to a statement: query rules, fast routing, the firewall's lists.

Columns, defaults and ranges are ProxySQL's. A column that is not given is None: the rule says
nothing about it, which is not the same as an empty text.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from hproxy.config.address import MAX_PORT
from hproxy.config.option import OptionModel, Refusal, Whole, live
from hproxy.config.table import MAX_INT32, json_or_empty, json_text

__all__ = [
    "FirewallMode",
    "MysqlFirewallRule",
    "MysqlFirewallSqliFingerprint",
    "MysqlFirewallUser",
    "MysqlQueryRule",
    "MysqlQueryRuleFastRouting",
]

FirewallMode = Literal["OFF", "DETECTING", "PROTECTING"]

MAX_UINT32 = 2**32 - 1
_MODIFIERS = frozenset({"CASELESS", "GLOBAL"})


def _modifiers(text: str) -> str:
    words = [word.strip().upper() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in _MODIFIERS:
            raise Refusal(f"{word} is not a modifier", "CASELESS and GLOBAL are, with a comma")
    return ",".join(words)


class MysqlQueryRule(OptionModel):
    """One row of mysql_query_rules: which statements it is about, and what happens to them."""

    rule_id: Annotated[
        Whole, live("Its number; rules are tried in this order.", ge=1, le=MAX_INT32)
    ]
    active: Annotated[bool, live("Whether the rule counts.")] = False
    username: Annotated[str | None, live("User it is about.")] = None
    schemaname: Annotated[str | None, live("Schema it is about.")] = None
    flagIN: Annotated[
        Whole, live("Flag a statement must have come to; it begins with 0.", ge=0, le=MAX_INT32)
    ] = 0
    client_addr: Annotated[
        str | None, live("Client's address; with % at its end, how it begins.")
    ] = None
    proxy_addr: Annotated[str | None, live("Address of the proxy the client came to.")] = None
    proxy_port: Annotated[
        Whole | None, live("Port of the proxy the client came to.", ge=0, le=MAX_PORT)
    ] = None
    digest: Annotated[str | None, live("Digest, as stats_mysql_query_digest has it.")] = None
    match_digest: Annotated[
        str | None, live("Pattern looked for in the digest text, where literals are ?.")
    ] = None
    match_pattern: Annotated[str | None, live("Pattern looked for in the statement.")] = None
    negate_match_pattern: Annotated[
        bool, live("Only a statement in which the pattern is not found matches.")
    ] = False
    re_modifiers: Annotated[
        str | None, AfterValidator(_modifiers), live("CASELESS, GLOBAL (replace everywhere).")
    ] = "CASELESS"
    flagOUT: Annotated[
        Whole | None, live("Flag for the rules that follow.", ge=0, le=MAX_INT32)
    ] = None
    replace_pattern: Annotated[
        str | None, live(r"What match_pattern's find is replaced with; \1 is a group.")
    ] = None
    destination_hostgroup: Annotated[
        Whole | None, live("Hostgroup the statement goes to.", ge=0, le=MAX_INT32)
    ] = None
    cache_ttl: Annotated[
        Whole | None,
        live("The result is cached for this long.", ge=1, le=MAX_INT32, unit="milliseconds"),
    ] = None
    cache_empty_result: Annotated[bool | None, live("Whether one without rows is cached.")] = None
    cache_timeout: Annotated[
        Whole | None, live("Not used, as in ProxySQL.", ge=0, le=MAX_INT32, acts=False)
    ] = None
    reconnect: Annotated[bool | None, live("Not used, as in ProxySQL.", acts=False)] = None
    timeout: Annotated[
        Whole | None,
        live("The statement is killed after this.", ge=0, le=MAX_UINT32, unit="milliseconds"),
    ] = None
    retries: Annotated[
        Whole | None, live("Times it is sent again after a failure.", ge=0, le=1000)
    ] = None
    delay: Annotated[
        Whole | None,
        live("It waits for this long before it is sent.", ge=0, le=MAX_UINT32, unit="milliseconds"),
    ] = None
    next_query_flagIN: Annotated[
        Whole | None, live("Flag the session's next statement begins with.", ge=0, le=MAX_UINT32)
    ] = None
    mirror_flagOUT: Annotated[
        Whole | None, live("Flag with which rules are tried for its copy.", ge=0, le=MAX_UINT32)
    ] = None
    mirror_hostgroup: Annotated[
        Whole | None, live("Hostgroup that gets a copy; its result is dropped.", ge=0, le=MAX_INT32)
    ] = None
    error_msg: Annotated[str | None, live("The statement is refused with this, as error 1148.")] = (
        None
    )
    OK_msg: Annotated[
        str | None, live("The statement is answered with OK and this, and sent nowhere.")
    ] = None
    sticky_conn: Annotated[bool | None, live("The session keeps its connection from then on.")] = (
        None
    )
    multiplex: Annotated[
        Whole | None,
        live(
            "0 keeps the connection with the session, 1 shares it again, 2 leaves it as it is.",
            ge=0,
            le=2,
        ),
    ] = None
    gtid_from_hostgroup: Annotated[
        Whole | None,
        live("Read after the writes of this hostgroup.", ge=0, le=MAX_INT32, acts=False),
    ] = None
    log: Annotated[bool | None, live("Whether the event log has it.")] = None
    apply: Annotated[bool, live("No rule is tried after this one.")] = False
    attributes: Annotated[
        str,
        BeforeValidator(json_text),
        AfterValidator(json_or_empty),
        live('JSON object or empty; {"flagOUTs": [{"flagOUT": 1, "weight": 1}]} draws lots.'),
    ] = ""
    comment: Annotated[str | None, live("A remark.")] = None

    @model_validator(mode="after")
    def _replaces_what_it_finds(self) -> MysqlQueryRule:
        if self.replace_pattern is not None and self.match_pattern is None:
            raise Refusal(
                "needs match_pattern", "it replaces what that finds", ("replace_pattern",)
            )
        return self


class MysqlQueryRuleFastRouting(OptionModel):
    """One row of mysql_query_rules_fast_routing: a user's hostgroup by schema, without a search."""

    username: Annotated[str, live("User it is about; empty is every user.")]
    schemaname: Annotated[str, live("Schema it is about; empty is every schema.")]
    flagIN: Annotated[
        Whole, live("Flag the rules left the statement with.", ge=0, le=MAX_INT32)
    ] = 0
    destination_hostgroup: Annotated[
        Whole, live("Hostgroup the statement goes to.", ge=0, le=MAX_INT32)
    ]
    comment: Annotated[str, live("A remark.")] = ""


class MysqlFirewallUser(OptionModel):
    """One row of mysql_firewall_whitelist_users: what the firewall does for a user."""

    active: Annotated[bool, live("Whether the row counts.")] = True
    username: Annotated[str, live("User it is about.")]
    client_address: Annotated[str, live("Client's address; empty is every address.")] = ""
    mode: Annotated[
        FirewallMode, live("OFF lets all pass, DETECTING logs, PROTECTING refuses.")
    ] = "OFF"
    comment: Annotated[str, live("A remark.")] = ""


class MysqlFirewallRule(OptionModel):
    """One row of mysql_firewall_whitelist_rules: a statement that may pass."""

    active: Annotated[bool, live("Whether the row counts.")] = True
    username: Annotated[str, live("User it is about.")]
    client_address: Annotated[str, live("Client's address; empty is every address.")] = ""
    schemaname: Annotated[str, live("Schema it is about; empty is every schema.")] = ""
    flagIN: Annotated[
        Whole, live("Flag the rules left the statement with.", ge=0, le=MAX_INT32)
    ] = 0
    digest: Annotated[str, live("Digest that may pass.")]
    comment: Annotated[str, live("A remark.")] = ""


class MysqlFirewallSqliFingerprint(OptionModel):
    """One row of mysql_firewall_whitelist_sqli_fingerprints: a suspicion that is none."""

    active: Annotated[bool, live("Whether the row counts.", acts=False)] = True
    fingerprint: Annotated[
        str, live("Fingerprint of libinjection that may pass.", min_length=1, acts=False)
    ]
