# SPDX-License-Identifier: Apache-2.0
"""Loading: the order of the sources, all mistakes in one error, files that must keep loading."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.config.document import sections
from hproxy.config.load import load_config
from hproxy.config.schema import Config
from hproxy.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"
FILE = """\
[server]
listen_addr = "127.0.0.1:1000"
max_connections = 7
[proxy]
backends = ["file"]
"""

# What Puerta's manual shows as its two configurations: no [logging], host names, few keys.
PUERTA_MONGODB = """\
[server]
listen_addr = "0.0.0.0:27017"
max_connections = 10000
connection_timeout_sec = 60
worker_threads = 4

[server.daemon]
enabled = true
pid_file = "/var/run/puerta.pid"
error_log = "/var/log/puerta/error.log"
upgrade_sock = "/var/run/puerta_upgrade.sock"
user = "puerta"
group = "puerta"

[proxy]
mode = "mongodb"
mongos_endpoints = ["mongos-a.example.com:27017", "mongos-b.example.com:27017"]
session_affinity = true
session_timeout_sec = 1800

[health]
interval_sec = 30
"""
PUERTA_REDIS = """\
[server]
listen_addr = "0.0.0.0:6379"
max_connections = 10000
connection_timeout_sec = 60
worker_threads = 4

[proxy]
mode = "redis"
cluster_nodes = ["node-a.example.com:6379", "node-b.example.com:6379"]
slot_refresh_interval_sec = 60
max_redirects = 3
connection_timeout_ms = 5000

[health]
interval_sec = 30
"""
PUERTA_ALL_SECTIONS = """\
[server]
listen_addr = "127.0.0.1:8080"
max_connections = 1000
connection_timeout_sec = 60

[proxy]
mode = "redis"
cluster_nodes = ["127.0.0.1:7001", "127.0.0.1:7002"]
slot_refresh_interval_sec = 60
max_redirects = 3
connection_timeout_ms = 5000

[health]
interval_sec = 10
timeout_sec = 5
failure_threshold = 3
success_threshold = 2

[logging]
level = "info"
format = "text"
stdout = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "h.toml"
    path.write_text(textwrap.dedent(text))
    return path


def refusals(
    path: Path | None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(path, flags or {}, environ or {})
    folder = f"{path.parent}/" if path else ""
    return [str(finding).replace(folder, "") for finding in raised.value.findings]


def test_later_sources_win(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    config = load_config(path, {}, {})
    assert config.server.listen_addr == "127.0.0.1:1000"
    assert config.proxy.backends == ("file:3306",)
    environ = {"HPROXY_LISTEN": ":2000", "HPROXY_BACKENDS": "env1,env2"}
    config = load_config(path, {}, environ)
    assert config.server.listen_addr == ":2000"
    assert config.server.max_connections == 7
    assert config.proxy.backends == ("env1:3306", "env2:3306")
    config = load_config(path, {"listen": ":3000", "backend": ("flag",), "auth": None}, environ)
    assert config.server.listen_addr == ":3000"
    assert config.proxy.backends == ("flag:3306",)
    assert config.proxy.auth is None


def test_without_a_file() -> None:
    config = load_config(None, {"backend": "db", "proxy.idle_timeout_sec": 5}, {})
    assert (config.proxy.backends, config.proxy.idle_timeout_sec) == (("db:3306",), 5)


def test_environment_reaches_every_type(tmp_path: Path) -> None:
    config = load_config(
        None,
        {},
        {
            "HPROXY_PROXY__BACKENDS": "a, b:1",
            "HPROXY_PROXY__CONNECT_TIMEOUT_MS": "250",
            "HPROXY_PROXY__SHUN_RECOVERY_TIME_SEC": "0.5",
            "HPROXY_PROXY__KILL_QUERY_ON_DISCONNECT": "false",
            "HPROXY_TLS__MIN_VERSION": "1.3",
            "HPROXY_SERVER__DATA_DIR": str(tmp_path),
            "HPROXY_SERVER__DAEMON__USER": "nobody",
            "HPROXY_LOG_LEVEL": "debug",
            "HPROXY_AUTH": "table",
            "HPROXY_MYSQL_USERS": '[{username = "app", password = "x"}]',
            "HPROXY_SERVER__WORKER_THREADS": "",
        },
    )
    assert config.proxy.backends == ("a:3306", "b:1")
    assert config.proxy.connect_timeout_ms == 250
    assert config.proxy.shun_recovery_time_sec == 0.5
    assert config.proxy.kill_query_on_disconnect is False
    assert config.tls.min_version == "1.3"
    assert config.server.data_dir == tmp_path
    assert config.server.daemon is not None
    assert config.server.daemon.user == "nobody"
    assert config.server.worker_threads is None
    assert config.logging.level == "debug"
    assert config.mysql_users[0].password == "x"
    assert config.auth_mode == "table"


def test_a_column_of_a_row_from_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, FILE + '[[mysql_users]]\nusername = "app"\n')
    config = load_config(path, {}, {"HPROXY_MYSQL_USERS__0__PASSWORD": "hush"})
    assert config.mysql_users[0].password == "hush"
    assert refusals(path, environ={"HPROXY_MYSQL_USERS__1__PASSWORD": "hush"}) == [
        "env HPROXY_MYSQL_USERS__1__PASSWORD: mysql_users[1].password: "
        "there is no such row or section to set"
    ]
    (text,) = refusals(path, environ={"HPROXY_MYSQL_USERS__X__PASSWORD": "hush"})
    assert "no such row" in text
    (text,) = refusals(path, environ={"HPROXY_MYSQL_USERS__0__USERNAME": "x" * 200})
    assert text.startswith("env HPROXY_MYSQL_USERS__0__USERNAME: mysql_users[0].username: ")


def test_tables_of_hostgroups_from_file_and_environment(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """\
        [proxy]
        backends = ["a"]
        [[mysql_users]]
        username = "app"
        [[mysql_replication_hostgroups]]
        writer_hostgroup = 0
        reader_hostgroup = 1
        """,
    )
    environ = {
        "HPROXY_MYSQL_HOSTGROUP_ATTRIBUTES": "[{hostgroup = 1, multiplex = 0}]",
        "HPROXY_MYSQL_REPLICATION_HOSTGROUPS__0__READER_HOSTGROUP": "2",
        "HPROXY_PROXY__FAST_LANE": "off",
        "HPROXY_PROXY__SESSION_TRACKING": "off",
    }
    config = load_config(path, {}, environ)
    assert config.mysql_replication_hostgroups[0].reader_hostgroup == 2
    assert config.mysql_hostgroup_attributes[0].multiplex is False
    assert (config.proxy.fast_lane, config.proxy.session_tracking) == (False, "off")


def test_a_pair_of_one_hostgroup_is_refused_at_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """\
        [proxy]
        backends = ["a"]
        session_mode = "multiplex"
        [[mysql_replication_hostgroups]]
        writer_hostgroup = 1
        reader_hostgroup = 1
        """,
    )
    assert refusals(path, {}, {}) == [
        'h.toml:3: proxy.session_mode: needs auth "table" (in relay mode the proxy knows no '
        "password to open connections with: add [[mysql_users]], or session_mode = "
        '"session")',
        "h.toml:6: mysql_replication_hostgroups[0].reader_hostgroup: must differ from "
        "writer_hostgroup",
    ]


def test_every_mistake_at_once_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """\
        [server]
        listen_adr = ":1"

        [proxy]
        backends = [
          "a",
          "10.0.0.300",
        ]
        session_mode = "fast_forward"
        connect_timeout_ms = "5s"

        [health]
        interval_sec = 3

        [[mysql_servers]]
        hostname = "x"
        [[mysql_servers]]
        port = 99999
        """,
    )
    environ = {"HPROXY_TLS__CLIENT": "maybe", "HPROXY_BACKENS": "x"}
    assert refusals(path, {"auth": "x", "log_level": "warn"}, environ) == [
        "h.toml:2: server.listen_adr: unknown key (did you mean listen_addr?)",
        "h.toml:7: proxy.backends[1]: '10.0.0.300' is not an IPv4 address, got \"10.0.0.300\"",
        "h.toml:9: proxy.session_mode: is not yet supported in this version, "
        'got "fast_forward" (it serves "multiplex" and "session")',
        'h.toml:10: proxy.connect_timeout_ms: must be a whole number, got "5s" (milliseconds)',
        "h.toml:12: health.timeout_sec: must be below health.interval_sec (3)",
        "h.toml:17: mysql_servers[1].hostname: is required",
        "h.toml:18: mysql_servers[1].port: must be at most 65535, got 99999",
        "env HPROXY_BACKENS: unknown name (did you mean HPROXY_BACKENDS?)",
        'env HPROXY_TLS__CLIENT: tls.client: must be one of off, preferred, required, got "maybe"',
        'flag --auth: proxy.auth: must be one of relay, table, got "x"',
    ]


def test_checks_over_several_keys_report_beside_wrong_keys(tmp_path: Path) -> None:
    """Three rounds: a wrong value in [tls], then its pair, then what needs all sections."""
    path = written(
        tmp_path,
        """\
        [proxy]
        backends = ["a"]
        [tls]
        client = "maybe"
        key = "k"
        [[mysql_users]]
        username = "u"
        [[mysql_users]]
        username = "u"
        """,
    )
    assert refusals(path) == [
        'h.toml:4: tls.client: must be one of off, preferred, required, got "maybe"',
        "h.toml:5: tls.key: is set but tls.cert is not (give tls.cert too)",
        "h.toml:9: mysql_users[1].username: user 'u' is there already "
        "(first given as mysql_users[0])",
    ]


@pytest.mark.parametrize(
    "text",
    [
        'proxy.backends = ["a:x"]',  # not also "there is no backend"
        'proxy.backends = ["a"]\nproxy.auth = "table"\nmysql_users = [{username = 5}]',
        'proxy.backends = ["a"]\nproxy.mode = "mysq"\nproxy.max_redirects = 3',
        'proxy = {mode = "redis"}',
        "proxy = 5",
        'proxy.backends = ["a"]\nmysql_users = 5',
    ],
)
def test_one_mistake_is_told_once(tmp_path: Path, text: str) -> None:
    assert len(refusals(written(tmp_path, text))) == 1


def test_what_is_missing_is_placed_at_the_section_or_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\n[proxy]\n")
    assert refusals(path)[0].startswith("h.toml:2: proxy.backends: there is no backend")
    path = written(tmp_path, "")
    assert refusals(path)[0].startswith("h.toml: proxy.backends: there is no backend")
    assert refusals(None)[0].startswith("proxy.backends: there is no backend")


def test_a_table_is_not_forced_on_a_scalar(tmp_path: Path) -> None:
    path = written(tmp_path, "proxy = 5")
    assert refusals(path, {"backend": "a"}) == [
        "h.toml:1: proxy: must be a table",
        "flag --backend: proxy.backends: there is no such row or section to set",
    ]


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(
        tmp_path,
        """\
        server.data_dir = "state"
        proxy.backends = ["a"]
        logging.file = "~/h.log"
        admin.store = "/abs"
        """,
    )
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir("/")
    config = load_config(path, {}, {"HPROXY_SERVER__DAEMON__PID_FILE": "run/pid"})
    assert config.server.data_dir == tmp_path / "state"
    assert config.logging.file == Path("/home/me/h.log")
    assert config.admin.store == Path("/abs")
    assert config.server.daemon is not None
    assert config.server.daemon.pid_file == Path("/run/pid")


def test_home_of_nobody_stays_as_written(tmp_path: Path) -> None:
    path = written(tmp_path, 'proxy.backends = ["a"]\nserver.data_dir = "~nosuchuser/x"\n')
    assert load_config(path, {}, {}).server.data_dir == Path("~nosuchuser/x")


def test_certificates_must_be_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).write_text("x")
    text = """\
        proxy.backends = ["a"]
        [tls]
        cert = "cert.pem"
        key = "key.pem"
        ca = "."
        backend_ca = "ca.pem"
        """
    config = load_config(written(tmp_path, text), {}, {})
    assert config.tls.cert == tmp_path / "cert.pem"
    (tmp_path / "cert.pem").unlink()
    (tmp_path / "key.pem").unlink()
    (tmp_path / "key.pem").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "ca.pem")
    told = [text.replace(str(tmp_path), "") for text in refusals(tmp_path / "h.toml")]
    assert [text.partition(", got")[0] for text in told] == [
        "h.toml:3: tls.cert: does not exist",
        "h.toml:4: tls.key: is a folder",
        "h.toml:6: tls.backend_ca: cannot be read by this user",
    ]


@pytest.mark.parametrize("text", [PUERTA_MONGODB, PUERTA_REDIS, PUERTA_ALL_SECTIONS])
def test_puerta_files_load_as_they_are(tmp_path: Path, text: str) -> None:
    config = load_config(written(tmp_path, text), {}, {})
    assert config.proxy.mode in ("mongodb", "redis")
    with pytest.raises(ConfigError, match="not yet supported in this version"):
        config.require_runnable()


def test_puerta_values(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, PUERTA_MONGODB), {}, {})
    assert config.proxy.mongos_endpoints == (
        "mongos-a.example.com:27017",
        "mongos-b.example.com:27017",
    )
    assert (config.health.interval_sec, config.health.timeout_sec) == (30, 5)
    assert "server.daemon.enabled" not in config.dormant_keys()
    assert config.logging.level == "info"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_examples_load(path: Path) -> None:
    config = load_config(path, {}, {})
    config.require_runnable()
    assert config.dormant_keys() == ()


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} >= {"reference", "relay", "table", "tls"}


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["db:1", "relay", "table", "redis", "mysql", "verify", "1.3", "/x"]),
    ),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["hostname", "username", "password", "port", "enabled", "zzz"]),
            below,
            max_size=3,
        )
    ),
    max_leaves=6,
)
OPTIONS = [".".join(map(str, option.path)) for section in sections() for option in section.options]
settings = st.dictionaries(
    st.sampled_from([*OPTIONS, "mysql_users", "mysql_servers", "proxy", "x.y", "tls.cert.z"]),
    values,
    max_size=8,
)


@given(settings, settings)
def test_anything_loads_or_is_refused_with_findings(
    flags: dict[str, object], more: dict[str, object]
) -> None:
    environ = {f"HPROXY_{key.replace('.', '__').upper()}": str(more[key]) for key in more}
    refusal, config = None, None
    try:
        config = load_config(None, {"backend": "db", **flags}, environ)
    except ConfigError as error:
        refusal = error
    if refusal is None:
        assert config is not None
        assert config.servers or config.proxy.mode != "mysql"
        return
    told = [(finding.source, finding.key, finding.message) for finding in refusal.findings]
    assert told
    assert len(set(told)) == len(told)
    assert all(message for _, _, message in told)


def test_the_result_is_plain_and_equal(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    first, second = load_config(path, {}, {}), load_config(path, {}, {})
    assert isinstance(first, Config)
    assert first == second
    assert load_config(path, {"listen": ":1"}, {}) != first
