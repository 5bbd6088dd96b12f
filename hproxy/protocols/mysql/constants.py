# SPDX-License-Identifier: Apache-2.0
"""Numbers of the MySQL and MariaDB protocols, under the servers' own names.

MySQL and MariaDB agree on everything below bit 29 of the capabilities and on commands below
32; above, each goes its own way. Where a value means two things both are said.
"""

from __future__ import annotations

from enum import IntEnum

from hproxy.protocols.mysql.flags import PeerFlag

__all__ = [
    "SQLSTATE",
    "Capability",
    "Charset",
    "ColumnFlag",
    "Command",
    "ErrorNumber",
    "FieldType",
    "MariadbCapability",
    "ServerStatus",
    "TrackedKind",
]


class Capability(PeerFlag):
    """CLIENT_*: what a server offers in its greeting and a client picks in its answer."""

    # MariaDB calls this bit CLIENT_MYSQL and clears it to say "I am MariaDB, look at the
    # four bytes of MariadbCapability".
    LONG_PASSWORD = 1 << 0
    FOUND_ROWS = 1 << 1
    LONG_FLAG = 1 << 2
    CONNECT_WITH_DB = 1 << 3
    NO_SCHEMA = 1 << 4
    COMPRESS = 1 << 5
    ODBC = 1 << 6
    LOCAL_FILES = 1 << 7
    IGNORE_SPACE = 1 << 8
    PROTOCOL_41 = 1 << 9
    INTERACTIVE = 1 << 10
    SSL = 1 << 11
    IGNORE_SIGPIPE = 1 << 12
    TRANSACTIONS = 1 << 13
    RESERVED = 1 << 14
    SECURE_CONNECTION = 1 << 15
    MULTI_STATEMENTS = 1 << 16
    MULTI_RESULTS = 1 << 17
    PS_MULTI_RESULTS = 1 << 18
    PLUGIN_AUTH = 1 << 19
    CONNECT_ATTRS = 1 << 20
    PLUGIN_AUTH_LENENC_CLIENT_DATA = 1 << 21
    CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22
    SESSION_TRACK = 1 << 23
    DEPRECATE_EOF = 1 << 24
    OPTIONAL_RESULTSET_METADATA = 1 << 25
    ZSTD_COMPRESSION = 1 << 26
    QUERY_ATTRIBUTES = 1 << 27
    MULTI_FACTOR_AUTHENTICATION = 1 << 28
    # MySQL: reserved to extend the capabilities; old MariaDB: progress reports.
    CAPABILITY_EXTENSION = 1 << 29
    SSL_VERIFY_SERVER_CERT = 1 << 30
    REMEMBER_OPTIONS = 1 << 31


class MariadbCapability(PeerFlag):
    """MARIADB_CLIENT_*: the four extra bytes, here counted from 0 (32 in MariaDB's sources)."""

    PROGRESS = 1 << 0
    COM_MULTI = 1 << 1
    STMT_BULK_OPERATIONS = 1 << 2
    EXTENDED_METADATA = 1 << 3
    CACHE_METADATA = 1 << 4
    BULK_UNIT_RESULTS = 1 << 5


class ServerStatus(PeerFlag):
    """SERVER_*: the flags at the end of OK and EOF packets."""

    IN_TRANS = 1 << 0
    AUTOCOMMIT = 1 << 1
    MORE_RESULTS_EXISTS = 1 << 3
    NO_GOOD_INDEX_USED = 1 << 4
    NO_INDEX_USED = 1 << 5
    CURSOR_EXISTS = 1 << 6
    LAST_ROW_SENT = 1 << 7
    DB_DROPPED = 1 << 8
    NO_BACKSLASH_ESCAPES = 1 << 9
    METADATA_CHANGED = 1 << 10
    QUERY_WAS_SLOW = 1 << 11
    PS_OUT_PARAMS = 1 << 12
    IN_TRANS_READONLY = 1 << 13
    SESSION_STATE_CHANGED = 1 << 14
    ANSI_QUOTES = 1 << 15


class Command(IntEnum):
    """COM_*: the first byte of what a client sends once it is logged in."""

    SLEEP = 0
    QUIT = 1
    INIT_DB = 2
    QUERY = 3
    FIELD_LIST = 4
    CREATE_DB = 5
    DROP_DB = 6
    REFRESH = 7
    SHUTDOWN = 8
    STATISTICS = 9
    PROCESS_INFO = 10
    CONNECT = 11
    PROCESS_KILL = 12
    DEBUG = 13
    PING = 14
    TIME = 15
    DELAYED_INSERT = 16
    CHANGE_USER = 17
    BINLOG_DUMP = 18
    TABLE_DUMP = 19
    CONNECT_OUT = 20
    REGISTER_SLAVE = 21
    STMT_PREPARE = 22
    STMT_EXECUTE = 23
    STMT_SEND_LONG_DATA = 24
    STMT_CLOSE = 25
    STMT_RESET = 26
    SET_OPTION = 27
    STMT_FETCH = 28
    DAEMON = 29
    BINLOG_DUMP_GTID = 30
    RESET_CONNECTION = 31
    CLONE = 32
    SUBSCRIBE_GROUP_REPLICATION_STREAM = 33
    STMT_BULK_EXECUTE = 0xFA
    SLAVE_WORKER = 0xFB
    SLAVE_IO = 0xFC
    SLAVE_SQL = 0xFD
    MULTI = 0xFE


class FieldType(IntEnum):
    """MYSQL_TYPE_*: of columns and of statement parameters."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    TYPED_ARRAY = 20
    VECTOR = 242
    INVALID = 243
    BOOL = 244
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


class ColumnFlag(PeerFlag):
    """Of a column definition."""

    NOT_NULL = 1 << 0
    PRIMARY_KEY = 1 << 1
    UNIQUE_KEY = 1 << 2
    MULTIPLE_KEY = 1 << 3
    BLOB = 1 << 4
    UNSIGNED = 1 << 5
    ZEROFILL = 1 << 6
    BINARY = 1 << 7
    ENUM = 1 << 8
    AUTO_INCREMENT = 1 << 9
    TIMESTAMP = 1 << 10
    SET = 1 << 11
    NUMERIC = 1 << 15


class Charset(IntEnum):
    """Collation numbers we send ourselves; any other passes through as a number."""

    LATIN1 = 8
    UTF8MB3 = 33
    UTF8MB4 = 45
    BINARY = 63
    UTF8MB4_0900 = 255


class TrackedKind(IntEnum):
    """SESSION_TRACK_*: what an entry of an OK packet's session-state part is about."""

    SYSTEM_VARIABLES = 0
    SCHEMA = 1
    STATE_CHANGE = 2
    GTIDS = 3
    TRANSACTION_CHARACTERISTICS = 4
    TRANSACTION_STATE = 5


class ErrorNumber(IntEnum):
    """The errors we say ourselves; those of a server pass through untouched."""

    CON_COUNT = 1040
    HANDSHAKE = 1043
    DBACCESS_DENIED = 1044
    ACCESS_DENIED = 1045
    NO_DB = 1046
    UNKNOWN_COM = 1047
    BAD_DB = 1049
    SERVER_SHUTDOWN = 1053
    PARSE = 1064
    NO_SUCH_THREAD = 1094
    UNKNOWN = 1105
    HOST_NOT_PRIVILEGED = 1130
    NET_PACKET_TOO_LARGE = 1153
    NET_PACKETS_OUT_OF_ORDER = 1156
    NET_READ_ERROR = 1158
    NET_READ_INTERRUPTED = 1159
    NEW_ABORTING_CONNECTION = 1184
    WRONG_ARGUMENTS = 1210
    UNKNOWN_STMT_HANDLER = 1243
    NOT_SUPPORTED_AUTH_MODE = 1251
    QUERY_INTERRUPTED = 1317
    PLUGIN_IS_NOT_LOADED = 1524
    MALFORMED_PACKET = 1835
    CONNECT_TO_BACKEND = 2003  # CR_CONN_HOST_ERROR: we are a client of the backend
    BACKEND_GONE = 2006  # CR_SERVER_GONE_ERROR
    BACKEND_LOST = 2013  # CR_SERVER_LOST
    SECURE_TRANSPORT_REQUIRED = 3159
    CLIENT_INTERACTION_TIMEOUT = 4031


# Errors that are not listed have the general one, HY000.
SQLSTATE: dict[int, bytes] = {
    ErrorNumber.CON_COUNT: b"08004",
    ErrorNumber.HANDSHAKE: b"08S01",
    ErrorNumber.DBACCESS_DENIED: b"42000",
    ErrorNumber.ACCESS_DENIED: b"28000",
    ErrorNumber.NO_DB: b"3D000",
    ErrorNumber.UNKNOWN_COM: b"08S01",
    ErrorNumber.BAD_DB: b"42000",
    ErrorNumber.SERVER_SHUTDOWN: b"08S01",
    ErrorNumber.PARSE: b"42000",
    ErrorNumber.NET_PACKET_TOO_LARGE: b"08S01",
    ErrorNumber.NET_PACKETS_OUT_OF_ORDER: b"08S01",
    ErrorNumber.NET_READ_ERROR: b"08S01",
    ErrorNumber.NET_READ_INTERRUPTED: b"08S01",
    ErrorNumber.NEW_ABORTING_CONNECTION: b"08S01",
    ErrorNumber.NOT_SUPPORTED_AUTH_MODE: b"08004",
    ErrorNumber.QUERY_INTERRUPTED: b"70100",
    ErrorNumber.BACKEND_LOST: b"08S01",
    ErrorNumber.BACKEND_GONE: b"08S01",
    ErrorNumber.CONNECT_TO_BACKEND: b"08S01",
}
