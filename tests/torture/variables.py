# SPDX-License-Identifier: Apache-2.0
"""Which session variables a server lets be set, and values for each that it accepts.

Asked of the server itself: every session variable is set to candidates on a connection that is
thrown away. Left out is what would end the run, differ by itself, or is a step of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pymysql

from tests.support.server import Server

__all__ = ["SettableVariable", "settable_variables", "unsteady"]

# Those the scripts set by other means: transactions, character sets, the client's own tracking.
ELSEWHERE = {
    "autocommit", "character_set_client", "character_set_connection", "character_set_results",
    "collation_connection", "sql_mode", "tx_isolation", "tx_read_only", "transaction_isolation",
    "transaction_read_only", "completion_type", "time_zone", "last_insert_id", "identity",
    "insert_id", "timestamp", "rand_seed1", "rand_seed2", "sql_select_limit",
}  # fmt: skip
# Those that stop a session, need a setting of the server, or act on others.
DANGEROUS = re.compile(
    "session_track|^gtid|^wsrep|pseudo_|binlog|sql_log|server_id|domain_id|debug|dbug|timeout|"
    "max_statement_time|max_execution_time|max_allowed|net_|profiling|replic|slave|skip_|"
    "max_join_size|sql_big_selects|max_user|long_query|log_|slow|explicit_defaults|"
    "require_|password|proxy|ndb|unique_checks|foreign_key_checks|default_storage_engine|"
    "storage_engine|tmp_memory|max_heap|tmp_table|tmp_disk|sql_buffer_result|use_secondary|"
    "secondary_engine|rowid|show_create|show_gipk|generate_invisible|default_collation_for|"
    "big_tables|terminology|print_identified|keep_files|old|rbr_|thread_pool|resultset_metadata|"
    "internal_tmp|histogram|myisam_|parser_max|xa_|sequence|system_versioning|column_compression|"
    "check_constraint|sql_warnings|sql_notes|sql_safe|sql_auto_is_null|auto_increment|"
    "max_error_count|div_prec|group_concat|standard_compliant|updatable|windowing|lc_messages|"
    "max_session_mem|max_recursive|max_sp_rec|sql_require|block_encryption|sql_quote|original_|immediate_"
)
# What those among them are worth setting to: they change answers.
CURATED: dict[str, tuple[str, ...]] = {
    "sql_safe_updates": ("0", "ON"),
    "sql_notes": ("0", "1"),
    "sql_auto_is_null": ("0", "1"),
    "auto_increment_increment": ("1", "3", "10"),
    "auto_increment_offset": ("1", "2"),
    "max_error_count": ("64", "1", "100"),
    "div_precision_increment": ("4", "10", "0"),
    "group_concat_max_len": ("1024", "4", "100000"),
    "lc_messages": ("'en_US'", "'de_DE'", "'fr_FR'"),
    "lc_time_names": ("'en_US'", "'de_DE'", "'ja_JP'"),
    "foreign_key_checks": ("0", "1"),
    "unique_checks": ("0", "1"),
    "default_week_format": ("0", "3", "7"),
    "sql_quote_show_create": ("0", "1"),
    "big_tables": ("0", "1"),
    "net_write_timeout": ("60", "77"),
    "wait_timeout": ("28800", "7000"),
    "lock_wait_timeout": ("50", "60"),
    "innodb_lock_wait_timeout": ("50", "55"),
    "character_set_filesystem": ("binary", "utf8mb4", "'latin1'"),
    "character_set_database": ("latin1", "utf8mb4"),
    "collation_database": ("latin1_bin", "utf8mb4_general_ci"),
    "character_set_server": ("latin1", "utf8mb4", "'ascii'"),
    "collation_server": ("latin1_bin", "'utf8mb4_bin'"),
    "optimizer_switch": ("'mrr=on'", "'index_merge=off'", "'default'"),
    "time_zone": ("'+00:00'", "'-08:30'", "'SYSTEM'"),
    "default_storage_engine": ("InnoDB", "'MyISAM'", "MEMORY"),
    "explicit_defaults_for_timestamp": ("0", "1"),
    "block_encryption_mode": ("'aes-256-cbc'", "'aes-128-ecb'"),
    "old_mode": ("''", "'UTF8_IS_UTF8MB3'", "'NO_PROGRESS_INFO'"),
    "max_sp_recursion_depth": ("0", "10"),
    "windowing_use_high_precision": ("0", "1"),
    "default_collation_for_utf8mb4": ("utf8mb4_general_ci", "utf8mb4_0900_ai_ci"),
    "session_track_gtids": (),
    "innodb_strict_mode": ("0", "1"),
    "low_priority_updates": ("0", "1"),
    "long_query_time": ("10", "12.5", "9.25"),
    "eq_range_index_dive_limit": ("10", "200"),
    "profiling_history_size": ("15", "30"),
    "net_retry_count": ("10", "11"),
    "binlog_row_image": ("'FULL'", "MINIMAL"),
    "default_tmp_storage_engine": ("MEMORY", "InnoDB"),
}
# What differs by itself, from connection to connection or from one second to the next.
UNSTEADY = (
    "pseudo_thread_id", "pseudo_slave_mode", "pseudo_replica_mode", "statement_id", "timestamp",
    "last_gtid", "rand_seed1", "rand_seed2", "gtid_seq_no", "error_count", "warning_count",
    "gtid_binlog_pos", "gtid_current_pos", "gtid_executed", "gtid_binlog_state", "gtid_owned",
    "gtid_purged", "gtid_slave_pos", "insert_id", "last_insert_id", "identity", "in_transaction",
    "innodb_buffer_pool_load_status", "innodb_status_output",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SettableVariable:
    """Its name, and values as SQL."""

    name: str
    values: tuple[str, ...]


def unsteady() -> str:
    """The names to leave out of SHOW VARIABLES, as SQL."""
    return ", ".join(f"'{name}'" for name in UNSTEADY)


def settable_variables(server: Server) -> tuple[tuple[SettableVariable, ...], tuple[str, ...]]:
    """The settable ones with their values, and the names of all that can be selected."""
    connection = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SESSION VARIABLES")
            all_variables: list[tuple[str, str]] = list(cursor.fetchall())
            found = []
            readable = []
            for name, value in all_variables:
                if name not in UNSTEADY and _accepted(cursor, f"SELECT @@session.{name}"):
                    readable.append(name)
                if name in CURATED:
                    candidates = CURATED[name]
                elif name in ELSEWHERE or DANGEROUS.search(name):
                    continue
                else:
                    candidates = _candidates(value)
                values = [c for c in candidates if _accepted(cursor, f"SET SESSION {name} = {c}")]
                if values:
                    found.append(SettableVariable(name, tuple(values)))
    finally:
        connection.close()
    return tuple(found), tuple(readable)


def _candidates(value: str) -> tuple[str, ...]:
    if value in ("ON", "OFF"):
        return ("ON", "OFF", "0", "1", "TRUE", "'OFF'")
    if re.fullmatch(r"\d+", value):
        number = int(value)
        return (value, str(number + 4096), str(number // 2 + 1), str(number * 2))
    if re.fullmatch(r"\d+\.\d+", value):
        return (value, "0.5", "2.25")
    return (f"'{value}'",)


def _accepted(cursor: pymysql.cursors.Cursor, sql: str) -> bool:
    try:
        cursor.execute(sql)
        cursor.fetchall()
    except pymysql.MySQLError:
        return False
    return True
