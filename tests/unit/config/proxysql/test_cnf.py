# SPDX-License-Identifier: Apache-2.0
"""proxysql.cnf: files as people have them, mistakes by line, what is written reads back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.config.load import load_config
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.cnf import read_cnf, tree_of, write_cnf
from hproxy.config.proxysql.rows import rows_of, variables_of, with_rows
from hproxy.config.proxysql.table import Column, Table
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.config.schema import Config
from hproxy.errors import ConfigError

SAMPLES = Path(__file__).parent / "samples"
CORE = SAMPLES / "core.cnf"


def values(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["variable_name"]: row["variable_value"] for row in rows}


def test_rows_have_every_column() -> None:
    document = read_cnf(CORE.read_text(encoding="utf-8"))
    for name, rows in document.tables.items():
        assert all(tuple(row) == CONFIG_TABLES[name].names for row in rows)
    first, second, socket = document.tables["mysql_servers"]
    assert (first["hostname"], first["hostgroup_id"], first["status"]) == ("db1", 10, "ONLINE")
    assert (second["weight"], second["use_ssl"], second["port"]) == (16, 1, 3306)
    assert (socket["hostname"], socket["port"], socket["comment"]) == (
        "/tmp/db.sock",
        0,
        "a socket",
    )
    app, batch = document.tables["mysql_users"]
    assert (app["password"], app["active"], batch["active"]) == ('pa"ss\\w', 1, 0)
    update, select = document.tables["mysql_query_rules"]
    assert (update["flagIN"], update["error_msg"], update["OK_msg"]) == (0, None, None)
    assert (select["active"], select["OK_msg"], select["re_modifiers"]) == (1, "", "CASELESS")
    assert document.tables["restapi_routes"][0]["uri"] == "health"
    variables = values(document.tables["global_variables"])
    assert variables["mysql-threads"] == "4"
    assert variables["mysql-have_compress"] == "true"
    assert variables["admin-cluster_username"] == "radmin"
    assert document.settings["datadir"] == "/var/lib/proxysql"
    assert document.warnings == []


def test_it_is_a_configuration() -> None:
    config = load_config(CORE, {}, {})
    assert str(config.server.data_dir) == "/var/lib/proxysql"
    assert str(config.logging.file) == "/var/lib/proxysql/proxysql.log"
    assert config.admin.credentials == "admin:admin;radmin:radmin"
    assert config.server.listen_addr == "0.0.0.0:6033;/tmp/proxysql.sock"
    assert config.server.max_connections == 2048
    assert (config.health.interval_sec, config.health.timeout_sec) == (2, 1)
    assert [str(row.address) for row in config.servers] == ["db1:3306", "db2:3306", "/tmp/db.sock"]
    assert [rule.active for rule in config.mysql_query_rules] == [True, True]
    assert config.mysql_query_rules[1].OK_msg == ""
    assert config.auth_mode == "table"
    # What the file says, and nothing else, is set.
    assert "re_modifiers" not in config.mysql_query_rules[0].model_fields_set


def test_a_node_that_is_filled_later_needs_no_backend() -> None:
    config = load_config(SAMPLES / "satellite.cnf", {}, {})
    assert config.servers == ()
    assert config.auth_mode == "table"
    assert [peer.hostname for peer in config.proxysql_servers] == ["proxysql-core"]


def test_flags_and_variables_win_over_the_file() -> None:
    config = load_config(
        CORE, {"auth": "relay", "listen": ":7033"}, {"HPROXY_MYSQL_VARIABLES__THREADS": "9"}
    )
    assert config.auth_mode == "relay"
    assert config.server.listen_addr == ":7033"
    assert config.mysql_variables["threads"] == "9"
    assert variables_of(config)["mysql-interfaces"] == ":7033"
    config = load_config(CORE, {}, {"HPROXY_MYSQL_VARIABLES__MAX_CONNECTIONS": "3"})
    assert config.server.max_connections == 3
    config = load_config(CORE, {}, {"HPROXY_MYSQL_VARIABLES__INTERFACES": ":1;:2"})
    assert config.server.listen_addr == ":1;:2"
    assert variables_of(config)["mysql-interfaces"] == ":1;:2"


MISTAKES = """\
datadir = { a = 1 }
nonsense = 1
mysql_varables = { }
mysql_variables =
{
    max_conections = 5
    max_connections = "many"
    long_query_time = (1)
    version = "x"
}
admin_variables = ( )
mysql_servers =
(
    { adress = "a" },
    { address = "a", hostname = "b" },
    { address = "a", port = "x" },
    { port = 3306 },
    7,
    { address = (1) },
    { address = "a", port = 3306.5, weight = "99999999999999999999" }
)
mysql_users = 3
mysql_query_rules = ( { active = 1 } )
"""


def test_every_mistake_is_told_by_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        read_cnf(MISTAKES, "p.cnf")
    told = [(f.source, f.key, f.message) for f in caught.value.findings]
    assert told == [
        ("p.cnf:1", "datadir", "must be a single value"),
        ("p.cnf:2", "nonsense", "unknown key"),
        ("p.cnf:3", "mysql_varables", "unknown key"),
        ("p.cnf:6", "mysql-max_conections", "unknown variable"),
        ("p.cnf:7", "mysql-max_connections", "must be a whole number"),
        ("p.cnf:8", "mysql_variables.long_query_time", "must be a single value"),
        ("p.cnf:9", "mysql-version", "unknown variable"),
        ("p.cnf:11", "admin_variables", "must be a group, { ... }"),
        ("p.cnf:14", "mysql_servers[0].adress", "unknown key"),
        ("p.cnf:14", "mysql_servers[0].hostname", "is required"),
        ("p.cnf:15", "mysql_servers[1].hostname", "is hostname, which is given too"),
        ("p.cnf:16", "mysql_servers[2].port", "must be a whole number"),
        ("p.cnf:17", "mysql_servers[3].hostname", "is required"),
        ("p.cnf:18", "mysql_servers[4]", "must be a group, { ... }"),
        ("p.cnf:19", "mysql_servers[5].address", "must be a single value"),
        ("p.cnf:19", "mysql_servers[5].hostname", "is required"),
        ("p.cnf:20", "mysql_servers[6].port", "must be a whole number"),
        ("p.cnf:20", "mysql_servers[6].weight", "must be a whole number"),
        ("p.cnf:22", "mysql_users", "must be a list of groups, ( { ... } )"),
        ("p.cnf:23", "mysql_query_rules[0].rule_id", "is required"),
    ]
    hints = {f.key: f.hint for f in caught.value.findings}
    assert hints["mysql_varables"] == "did you mean mysql_variables?"
    assert hints["mysql_servers[0].adress"] == "did you mean address?"
    assert "known are admin_variables," in hints["nonsense"]
    assert hints["mysql-max_conections"] == "did you mean mysql-max_connections?"


def test_what_is_not_libconfig_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        read_cnf('mysql_users = (\n{ password = "secret" username }\n)', "p.cnf")
    (finding,) = caught.value.findings
    assert finding.source == "p.cnf:2"
    assert "secret" not in str(caught.value)


def test_what_rows_may_not_hold_is_told_by_line_too(tmp_path: Path) -> None:
    path = tmp_path / "p.cnf"
    path.write_text('mysql_servers =\n(\n  { address="a" },\n  { address="b", weight=-1 }\n)\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, {})
    (finding,) = caught.value.findings
    assert (finding.source, finding.key) == (f"{path}:4", "mysql_servers[1].weight")


def test_other_databases_are_left_out_with_a_warning() -> None:
    document = read_cnf('pgsql_variables = { threads = 4 }\nuuid = "x"\nadmin_variables={}')
    assert [(w.source, w.key) for w in document.warnings] == [
        ("proxysql.cnf:1", "pgsql_variables"),
        ("proxysql.cnf:2", "uuid"),
    ]
    assert tree_of(document) == {}


def test_a_configuration_remembers_what_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "p.cnf"
    path.write_text('mysql_servers=({address="a"})\nmysql_users=({username="u"})\npgsql_users=()')
    (note,) = load_config(path, {}, {}).warnings()
    assert (note.source, note.key) == (f"{path}:3", "pgsql_users")


@given(st.data())
def test_any_text_is_read_or_refused(data: st.DataObject) -> None:
    text = CORE.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    with suppress(ConfigError):
        read_cnf(text[:start] + data.draw(st.text('{}()[]=;,"\\1x ', max_size=8)) + text[end:])


def cells(column: Column) -> st.SearchStrategy[Any]:
    if column.numeric:
        some: st.SearchStrategy[Any] = st.integers(0, 2**40)
    else:
        some = st.text(st.characters(codec="utf-8"), max_size=12)
    return some if column.not_null or column.primary else st.none() | some


def rows(table: Table) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries({column.name: cells(column) for column in table.columns})
    return st.lists(row, max_size=2)


TABLES = st.fixed_dictionaries(
    {name: rows(table) for name, table in CONFIG_TABLES.items() if name != "global_variables"}
)
NUMBERS = [v for v in VARIABLES.values() if v.kind == "int"]
TEXTS = [v for v in VARIABLES.values() if v.kind == "text" and not v.form]
SOME = st.sampled_from(NUMBERS).flatmap(
    lambda v: st.tuples(st.just(v.name), st.integers(v.low, v.high).map(str))
) | st.tuples(
    st.sampled_from([v.name for v in TEXTS]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
)


@given(TABLES, st.lists(SOME))
def test_what_is_written_reads_back(
    tables: dict[str, list[dict[str, Any]]], pairs: list[tuple[str, str]]
) -> None:
    tables["global_variables"] = [
        {"variable_name": name, "variable_value": value} for name, value in dict(pairs).items()
    ]
    read = read_cnf(write_cnf(tables, {"datadir": "/var/lib/x"})).tables
    for name, wanted in tables.items():
        if name == "mysql_query_rules":  # no modifiers, by either name
            wanted = [row | {"re_modifiers": row["re_modifiers"] or ""} for row in wanted]
        if name == "global_variables":
            assert values(read.get(name, [])) == values(wanted)
        else:
            assert read.get(name, []) == wanted


def test_a_whole_configuration_goes_out_and_in(tmp_path: Path) -> None:
    before = load_config(CORE, {}, {})
    path = tmp_path / "out.cnf"
    path.write_text(write_cnf(rows_of(before)), encoding="utf-8")
    after = load_config(path, {}, {})
    assert rows_of(after) == rows_of(before)
    # And through the admin port: LOAD ... FROM CONFIG, then TO RUNTIME.
    document = read_cnf(path.read_text(encoding="utf-8"))
    live = Config.model_validate({}, context={"live": True})
    for module in ("mysql_servers", "mysql_users", "mysql_query_rules", "mysql_variables"):
        live = with_rows(live, module, document.tables)
    assert rows_of(live)["mysql_servers"] == rows_of(before)["mysql_servers"]
    assert rows_of(live)["mysql_query_rules"] == rows_of(before)["mysql_query_rules"]
