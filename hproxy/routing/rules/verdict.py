# SPDX-License-Identifier: Apache-2.0
"""What rules are asked about a statement, and all they can answer.

`Verdict.by_text` and `by_chance` say for how long an answer holds: for every text of its digest,
for this text only, or for this once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Question", "Verdict"]


@dataclass(frozen=True, slots=True)
class Question:
    """One statement, and who wants it run."""

    user: bytes
    schema: bytes
    text: bytes
    digest_text: bytes
    digest: int = 0
    """The number that stands for `digest_text` in statistics and in the column `digest`."""
    flag: int = 0
    """What flagIN the walk begins with."""
    client: str = ""
    proxy_addr: str = ""
    proxy_port: int = 0
    comment: bytes = b""
    """The inside of the text's first comment."""


@dataclass(slots=True)
class Verdict:
    """None: no rule has said anything of it."""

    rules: tuple[int, ...] = ()
    """Ids of the rules that matched, in the order in which they did."""
    destination_hostgroup: int | None = None
    text: bytes | None = None
    """To be run instead."""
    error_msg: str | None = None
    OK_msg: str | None = None
    timeout: int | None = None
    retries: int | None = None
    delay: int | None = None
    reconnect: int | None = None
    sticky_conn: int | None = None
    multiplex: int | None = None
    next_query_flagIN: int | None = None
    log: int | None = None
    gtid_from_hostgroup: int | None = None
    cache_ttl: int | None = None
    cache_empty_result: int | None = None
    cache_timeout: int | None = None
    mirror_hostgroup: int | None = None
    mirror_flagOUT: int | None = None
    max_lag_ms: int | None = None
    min_epoch_ms: int | None = None
    min_gtid: str | None = None
    create_new_connection: bool = False
    fast_routed: bool = False
    """The hostgroup is that of mysql_query_rules_fast_routing."""
    hinted: tuple[str, ...] = field(default=())
    """What the first comment has set."""
    refusal: bytes | None = None
    """The answer instead, a whole packet: what was asked for cannot be had."""
    by_text: bool = False
    """Another text of the same digest may be judged otherwise."""
    by_chance: bool = False
    """So may the same text, the next time."""

    @property
    def plain(self) -> bool:
        """It has nothing to say."""
        return not (self.rules or self.fast_routed or self.hinted)

    @property
    def answered(self) -> bool:
        """No backend is asked."""
        return not (self.error_msg is None and self.OK_msg is None and self.refusal is None)

    @property
    def acts(self) -> bool:
        """It asks for more than compiled code does by itself."""
        return (
            self.answered
            or self.text is not None
            or bool(self.delay)
            or self.cache_ttl is not None
            or self.mirror_hostgroup is not None
            or self.mirror_flagOUT is not None
            or self.gtid_from_hostgroup is not None
            or self.min_gtid is not None
            or self.max_lag_ms is not None
            or self.min_epoch_ms is not None
            or self.create_new_connection
        )

    @property
    def why(self) -> str:
        """Where its hostgroup comes from, in a few words."""
        if "hostgroup" in self.hinted:
            return "the hostgroup its comment names"
        if self.fast_routed:
            return "fast routing"
        return f"query rule {', '.join(map(str, self.rules))}" if self.rules else ""
