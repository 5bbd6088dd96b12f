# SPDX-License-Identifier: Apache-2.0
"""Variables of statements: rules, cache, mirrors, prepared statements, digests, and their logs."""

from __future__ import annotations

from hproxy.config.proxysql.variable import Variable, flag, number, text

__all__ = ["QUERY"]

DAY_MS = 24 * 3600 * 1000
MIB = 1 << 20

QUERY: tuple[Variable, ...] = (
    number(
        "mysql-default_query_timeout",
        DAY_MS,
        1000,
        20 * DAY_MS,
        "A statement that runs longer is killed, unless its rule says otherwise, in milliseconds.",
    ),
    number(
        "mysql-default_query_delay",
        0,
        0,
        3_600_000,
        "Pause before each statement, unless its rule says otherwise, in milliseconds.",
    ),
    number(
        "mysql-query_processor_iterations",
        0,
        0,
        1_000_000,
        "Times the rules are gone through again when flagOUT led back.",
    ),
    number(
        "mysql-query_processor_regex",
        2,
        1,
        2,
        "Engine for the patterns of rules: 2 is RE2, which takes linear time; 1 is PCRE's syntax, "
        "with look-around and back-references. ProxySQL's default is 1.",
    ),
    number(
        "mysql-long_query_time",
        1000,
        0,
        20 * DAY_MS,
        "Statements that take longer count as slow, in milliseconds.",
        option="proxy.long_query_time",
    ),
    number("mysql-query_cache_size_MB", 256, 0, 10_240, "Memory for cached results, in MiB."),
    flag(
        "mysql-query_cache_stores_empty_result",
        True,
        "Whether results without a row are cached, unless the rule says otherwise.",
    ),
    number(
        "mysql-query_cache_soft_ttl_pct",
        0,
        0,
        100,
        "Share of its time to live after which one session renews an entry while others still "
        "get it, in percent; 0 is off.",
    ),
    number(
        "mysql-query_cache_handle_warnings",
        0,
        0,
        1,
        "Whether results that came with warnings are cached.",
    ),
    number("mysql-mirror_max_concurrency", 16, 1, 8192, "Mirrored statements that run at once."),
    number(
        "mysql-mirror_max_queue_length",
        32_000,
        0,
        MIB,
        "Mirrored statements that wait; further ones are dropped and counted.",
    ),
    number(
        "mysql-max_stmts_per_connection",
        20,
        1,
        1024,
        "Prepared statements one backend connection holds; the oldest are closed first.",
        option="proxy.max_stmts_per_connection",
    ),
    number(
        "mysql-max_stmts_cache",
        10_000,
        128,
        MIB,
        "Prepared statements remembered for all sessions.",
        option="proxy.max_stmts_cache",
    ),
    flag("mysql-commands_stats", True, "Whether stats_mysql_commands_counters counts."),
    flag("mysql-query_digests", True, "Whether stats_mysql_query_digest counts."),
    flag("mysql-query_digests_lowercase", False, "digest_text is in lower case."),
    flag("mysql-query_digests_no_digits", False, "Digits of names are ? in digest_text."),
    flag("mysql-query_digests_replace_null", False, "NULL as a value is ? in digest_text."),
    flag(
        "mysql-query_digests_track_hostname",
        False,
        "Whether digests are counted by client address as well.",
    ),
    number(
        "mysql-query_digests_max_digest_length",
        2048,
        16,
        MIB,
        "Characters of digest_text that are shown.",
    ),
    text(
        "mysql-eventslog_filename",
        "",
        "File of the log of statements; empty is none. Numbered files follow it.",
        option="proxy.eventslog_filename",
    ),
    number(
        "mysql-eventslog_filesize",
        100 * MIB,
        MIB,
        1 << 30,
        "A new file is begun at this size, in bytes.",
        option="proxy.eventslog_filesize",
    ),
    number(
        "mysql-eventslog_default_log",
        0,
        0,
        1,
        "Whether statements are logged that no rule says anything about.",
        option="proxy.eventslog_default_log",
    ),
    number(
        "mysql-eventslog_format",
        1,
        1,
        2,
        "1 is readable text (ProxySQL: its binary form), 2 is JSON, one statement a line.",
        option="proxy.eventslog_format",
    ),
    text(
        "mysql-auditlog_filename",
        "",
        "File of the log of logins and admin statements; empty is none.",
        option="proxy.auditlog_filename",
    ),
    number(
        "mysql-auditlog_filesize",
        100 * MIB,
        MIB,
        1 << 30,
        "A new file is begun at this size, in bytes.",
        option="proxy.auditlog_filesize",
    ),
)
