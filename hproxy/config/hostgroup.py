# SPDX-License-Identifier: Apache-2.0
"""Rows of hostgroups whose members tell their roles: Group Replication, Galera, Aurora.

Columns, defaults and ranges are ProxySQL's.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from hproxy.config.address import MAX_PORT
from hproxy.config.option import OptionModel, Refusal, Whole, live
from hproxy.config.table import MAX_INT32

__all__ = [
    "MysqlAwsAuroraHostgroup",
    "MysqlGaleraHostgroup",
    "MysqlGroupReplicationHostgroup",
]

_FOUR = ("writer_hostgroup", "backup_writer_hostgroup", "reader_hostgroup", "offline_hostgroup")


class _FourHostgroups(OptionModel):
    """The columns that Group Replication and Galera share."""

    writer_hostgroup: Annotated[Whole, live("Hostgroup that takes writes.", ge=0, le=MAX_INT32)]
    backup_writer_hostgroup: Annotated[
        Whole, live("Hostgroup of writers above max_writers.", ge=0, le=MAX_INT32)
    ]
    reader_hostgroup: Annotated[Whole, live("Hostgroup of readers.", ge=1, le=MAX_INT32)]
    offline_hostgroup: Annotated[
        Whole, live("Hostgroup of members that cannot serve.", ge=0, le=MAX_INT32)
    ]
    active: Annotated[bool, live("Whether the row counts.")] = True
    max_writers: Annotated[Whole, live("Writers at most.", ge=0, le=MAX_INT32)] = 1
    writer_is_also_reader: Annotated[
        Whole,
        live(
            "Who reads: 0 no writer, 1 writers too, 2 only the backup writers besides readers.",
            ge=0,
            le=2,
        ),
    ] = 0
    max_transactions_behind: Annotated[
        Whole,
        live("A member further behind is shunned; 0 is any.", ge=0, le=MAX_INT32),
    ] = 0
    comment: Annotated[str | None, live("A remark.")] = None

    @model_validator(mode="after")
    def _differ(self) -> _FourHostgroups:
        seen: dict[int, str] = {}
        for column in _FOUR:
            hostgroup = getattr(self, column)
            if hostgroup in seen:
                raise Refusal(f"must differ from {seen[hostgroup]}", keys=(column,))
            seen[hostgroup] = column
        return self


class MysqlGroupReplicationHostgroup(_FourHostgroups):
    """One row of mysql_group_replication_hostgroups: a group and the hostgroups of its roles."""


class MysqlGaleraHostgroup(_FourHostgroups):
    """One row of mysql_galera_hostgroups: a cluster and the hostgroups of its nodes' roles."""


class MysqlAwsAuroraHostgroup(OptionModel):
    """One row of mysql_aws_aurora_hostgroups: kept for tools, and not monitored."""

    writer_hostgroup: Annotated[
        Whole, live("Hostgroup that takes writes.", ge=0, le=MAX_INT32, acts=False)
    ]
    reader_hostgroup: Annotated[
        Whole, live("Hostgroup of readers.", ge=1, le=MAX_INT32, acts=False)
    ]
    active: Annotated[bool, live("Whether the row counts.", acts=False)] = True
    aurora_port: Annotated[Whole, live("Port of its instances.", ge=0, le=MAX_PORT, acts=False)] = (
        3306
    )
    domain_name: Annotated[
        str, live("What their names end with, from the dot on.", pattern=r"^\.", acts=False)
    ]
    max_lag_ms: Annotated[
        Whole, live("A reader further behind is avoided.", ge=10, le=600_000, acts=False)
    ] = 600_000
    check_interval_ms: Annotated[
        Whole, live("Time between checks.", ge=100, le=600_000, acts=False)
    ] = 1000
    check_timeout_ms: Annotated[
        Whole, live("A check without an answer failed.", ge=80, le=3000, acts=False)
    ] = 800
    writer_is_also_reader: Annotated[bool, live("Whether the writer reads.", acts=False)] = False
    new_reader_weight: Annotated[
        Whole, live("Weight of readers that are found.", ge=0, le=10_000_000, acts=False)
    ] = 1
    add_lag_ms: Annotated[
        Whole, live("Added to the lag that was seen.", ge=0, le=600_000, acts=False)
    ] = 30
    min_lag_ms: Annotated[
        Whole, live("Smallest lag that is assumed.", ge=0, le=600_000, acts=False)
    ] = 30
    lag_num_checks: Annotated[
        Whole, live("Checks of which the largest lag counts.", ge=1, le=16, acts=False)
    ] = 1
    comment: Annotated[str | None, live("A remark.", acts=False)] = None

    @model_validator(mode="after")
    def _differ(self) -> MysqlAwsAuroraHostgroup:
        if self.reader_hostgroup == self.writer_hostgroup:
            raise Refusal("must differ from writer_hostgroup", keys=("reader_hostgroup",))
        return self
