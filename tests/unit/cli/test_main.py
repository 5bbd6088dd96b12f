# SPDX-License-Identifier: Apache-2.0
"""The commands as an operator meets them: what is printed where, and the exit codes."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

import hproxy
from hproxy.cli.main import main
from hproxy.config.document import template
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, HandoverError
from hproxy.net.tls import ensure_certificate
from hproxy.process import angel, single
from hproxy.process.origin import Origin
from hproxy.process.outside import Outside
from hproxy.telemetry import log

GOOD = '[proxy]\nbackends = ["127.0.0.1:3306"]\n'
REDIS = '[proxy]\nmode = "redis"\ncluster_nodes = ["127.0.0.1:7001"]\n'


@pytest.fixture(autouse=True)
def former_output() -> Iterator[None]:
    """`run` sets up the log for the whole process; put it back."""
    output, root = log._output, logging.getLogger()
    sinks, threshold, handlers = output.sinks, output.threshold, list(root.handlers)
    yield
    output.sinks, output.threshold, root.handlers[:] = sinks, threshold, handlers


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What `run` handed to the service, which is not started."""
    configs: list[Config] = []

    def guard(
        config: Config, origin: Origin, outside: Outside, *, initial: bool, workers: int
    ) -> int:
        assert not initial
        assert not outside.upgrade
        assert workers == (config.server.worker_threads or len(os.sched_getaffinity(0)))
        configs.append(config)
        return 0

    monkeypatch.setattr(angel, "guard", guard)
    return configs


def hproxy_(*arguments: str | Path, **environ: str) -> Result:
    bare: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HPROXY_")}
    return CliRunner(env=bare | environ).invoke(main, [str(argument) for argument in arguments])


def written(folder: Path, text: str) -> Path:
    path = folder / "h.toml"
    path.write_text(text)
    return path


def test_help_shows_examples_for_every_command() -> None:
    result = hproxy_("--help")
    assert result.exit_code == 0
    for command in ("run", "check", "demo", "version", "config"):
        assert command in result.output
        assert hproxy_(command, "-h").exit_code == 0
    assert "hproxy run --backend 10.0.0.1:3306" in result.output
    assert "hproxy run -c hproxy.toml --test" in hproxy_("run", "--help").output


def test_version() -> None:
    result = hproxy_("version")
    assert result.exit_code == 0
    first, python, loop = result.output.splitlines()
    assert first == f"hproxy {hproxy.__version__}"
    assert python.startswith("python 3.")
    assert loop.startswith("uvloop ")
    assert hproxy_("--version").output == f"hproxy {hproxy.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("run", "--fast"),
        ("run", "--auth", "magic"),
        ("run", "--log-level", "loud"),
        ("check",),
        ("config", "-m", "oracle"),
    ],
)
def test_a_wrong_command_line_is_2(arguments: tuple[str, ...]) -> None:
    result = hproxy_(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_run_hands_over_file_environment_and_flags(tmp_path: Path, served: list[Config]) -> None:
    path = written(tmp_path, GOOD + "connect_timeout_ms = 7\n")
    result = hproxy_(
        *("run", "-c", path, "--listen", ":0", "--backend", "a,b:1", "--backend", "c"),
        *("--auth", "relay", "--log-level", "WARN"),
        HPROXY_LISTEN=":1",
        HPROXY_SERVER__MAX_CONNECTIONS="9",
    )
    assert result.exit_code == 0, result.output
    (config,) = served
    assert config.server.listen_addr == ":0"
    assert config.server.max_connections == 9
    assert config.proxy.backends == ("a:3306", "b:1", "c:3306")
    assert config.proxy.connect_timeout_ms == 7
    assert config.proxy.auth == "relay"
    assert config.logging.level == "warn"
    assert log._output.threshold == log.WARN


def test_run_takes_the_file_from_the_environment(tmp_path: Path, served: list[Config]) -> None:
    path = written(tmp_path, GOOD)
    assert hproxy_("run", HPROXY_CONFIG=str(path)).exit_code == 0
    assert served[0].proxy.backends == ("127.0.0.1:3306",)


def test_run_ends_with_the_status_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(angel, "guard", lambda *_, initial, workers: workers)
    assert hproxy_("run", "-c", written(tmp_path, GOOD), "--workers", "3").exit_code == 3
    monkeypatch.setattr(single, "serve", lambda *_, initial: 4)
    assert hproxy_("run", "-c", written(tmp_path, GOOD), "--single").exit_code == 4


def test_run_names_keys_without_effect(tmp_path: Path, served: list[Config]) -> None:
    path = written(tmp_path, GOOD + "[health]\nsuccess_threshold = 3\n")
    result = hproxy_("run", "-c", path)
    line = orjson.loads(result.stdout)
    assert line["level"] == "warn"
    assert line["event"] == "accepted but without effect in this version"
    assert line["keys"] == "health.success_threshold"
    assert len(served) == 1


def test_run_refuses_on_stderr_with_1(tmp_path: Path, served: list[Config]) -> None:
    result = hproxy_("run")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("hproxy: configuration refused: proxy.backends: there is no")
    result = hproxy_("run", "--backend", "a", "--listen", "::1:2")
    assert "flag --listen: server.listen_addr: an IPv6 address needs brackets" in result.stderr
    path = written(tmp_path, "[proxy]\nbackends = 5\nauth = 6\n")
    result = hproxy_("run", "-c", path)
    assert result.exit_code == 1
    assert f"\n  {path}:2: proxy.backends: " in result.stderr
    assert f"\n  {path}:3: proxy.auth: " in result.stderr
    assert served == []


def test_run_refuses_a_log_file_that_cannot_be_opened(tmp_path: Path, served: list[Config]) -> None:
    path = written(tmp_path, GOOD + '[logging]\nfile = "none/h.log"\n')
    result = hproxy_("run", "-c", path)
    assert result.exit_code == 1
    assert "logging.file: cannot be opened" in result.stderr
    assert served == []


def test_run_refuses_other_modes(tmp_path: Path, served: list[Config]) -> None:
    result = hproxy_("run", "-c", written(tmp_path, REDIS))
    assert result.exit_code == 1
    assert '"redis" is not yet supported in this version' in result.stderr
    assert served == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("no", key="tls.cert"), "configuration refused: tls.cert: no"),
        (HandoverError("no"), "handover failed: no"),
    ],
)
def test_our_errors_are_a_message_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def guard(*_: object, initial: bool, workers: int) -> int:
        raise error

    monkeypatch.setattr(angel, "guard", guard)
    result = hproxy_("run", "-c", written(tmp_path, GOOD))
    assert result.exit_code == 1
    assert result.stderr == f"hproxy: {text}\n"


@pytest.mark.parametrize("flag", ["--test", "-t"])
def test_run_test_does_not_serve(tmp_path: Path, served: list[Config], flag: str) -> None:
    result = hproxy_("run", "-c", written(tmp_path, GOOD), flag)
    assert (result.exit_code, result.stdout) == (0, "Server Test passed, exiting\n")
    assert served == []


@pytest.mark.parametrize("command", ["check", "validate"])
def test_check_of_a_good_file(tmp_path: Path, command: str) -> None:
    path = written(tmp_path, GOOD)
    result = hproxy_(command, "-c", path)
    assert result.exit_code == 0
    assert result.stdout == f"{path}: ok (mode mysql on 0.0.0.0:6033, 1 backend, auth relay)\n"
    assert result.stderr == ""


def test_check_and_test_warn_of_what_is_doubtful(tmp_path: Path, served: list[Config]) -> None:
    path = written(tmp_path, GOOD + "[[mysql_users]]\nusername = 'ann'\ndefault_hostgroup = 7\n")
    doubt = (
        f"warning: {path}: mysql_users[0].default_hostgroup: no server is in this hostgroup, "
        "got 7 (add a row of mysql_servers with hostgroup_id = 7)\n"
    )
    for arguments in (("check",), ("run", "--test")):
        result = hproxy_(*arguments, "-c", path)
        assert (result.exit_code, result.stderr) == (0, doubt)
    assert served == []


RULED = """
[admin]
address = "127.0.0.1:0"
[[mysql_servers]]
hostname = "db1"
hostgroup_id = 1
[[mysql_servers]]
hostname = "db2"
hostgroup_id = 2
[[mysql_users]]
username = "ann"
password = "pw"
default_hostgroup = 1
default_schema = "shop"
[[mysql_query_rules]]
rule_id = 7
active = 1
schemaname = "shop"
match_digest = "^SELECT"
destination_hostgroup = 2
apply = 1
"""


def steps(result: Result) -> dict[str, str]:
    """What `explain` printed."""
    pairs = (line.split("  ", 1) for line in result.stdout.splitlines())
    return {step: detail.lstrip() for step, detail in pairs}


def test_explain_needs_no_proxy(tmp_path: Path) -> None:
    path = written(tmp_path, RULED)
    asked = ("explain", "-c", path, "SELECT name FROM t WHERE id = 5")
    result = hproxy_(*asked, "--user", "ann")
    assert result.exit_code == 0, result.output
    told = steps(result)
    assert told["digest"] == "SELECT name FROM t WHERE id=?"
    assert told["account"] == "ann, hostgroup 1"
    assert "schemaname shop, match_digest ^SELECT" in told["rule 7"]
    assert told["decision"].startswith("hostgroup 2: query rule 7")
    told = steps(hproxy_(*asked, "--user", "ann", "--schema", "other"))
    assert "rule 7" not in told
    assert told["decision"].startswith("hostgroup 1: the account's hostgroup")
    assert "none named" in hproxy_(*asked).stdout
    assert list(tmp_path.iterdir()) == [path], "nothing is written"


def test_explain_where_no_rule_is_asked(tmp_path: Path) -> None:
    result = hproxy_("explain", "-c", written(tmp_path, GOOD), "SELECT 1")
    assert "decision" in result.stdout
    assert "no rule is asked" in result.stdout


def test_explain_refuses_what_run_refuses(tmp_path: Path) -> None:
    path = written(tmp_path, RULED.replace('"^SELECT"', '"(SELECT"'))
    result = hproxy_("explain", "-c", path, "SELECT 1")
    assert result.exit_code == 1
    assert "match_digest" in result.stderr


def test_an_admin_port_may_add_what_is_missing(tmp_path: Path, served: list[Config]) -> None:
    result = hproxy_("run", "--admin", "127.0.0.1:0")
    assert result.exit_code == 0, result.output
    assert served[0].servers == ()
    result = hproxy_("run", "--admin", "")
    assert result.exit_code == 1
    assert "--admin HOST:PORT" in result.stderr


def test_check_tells_every_finding(tmp_path: Path) -> None:
    path = written(tmp_path, "[proxy]\nbackends = 5\nbackend = 6\n[server]\nmax_connections = 0\n")
    result = hproxy_("check", "-c", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f'{path}:2: proxy.backends: must be a list, like ["a", "b"], got 5',
        f"{path}:3: proxy.backend: unknown key (did you mean backends?)",
        f"{path}:5: server.max_connections: must be at least 1, got 0",
    ]


def test_check_of_no_file(tmp_path: Path) -> None:
    result = hproxy_("check", "-c", tmp_path / "none.toml")
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path}/none.toml: cannot be read: No such file or directory\n"


def test_check_of_a_mode_to_come(tmp_path: Path) -> None:
    path = written(tmp_path, REDIS + "[health]\nsuccess_threshold = 3\n")
    result = hproxy_("check", "-c", path)
    assert result.exit_code == 0
    assert "mode redis, which `hproxy run` does not serve yet in this version" in result.stdout
    assert "without effect in this version: proxy.cluster_nodes, health.success_threshold" in (
        result.stderr
    )


@pytest.mark.parametrize("command", [("check",), ("run", "--test")])
def test_certificates_are_tried(
    tmp_path: Path, served: list[Config], command: tuple[str, ...]
) -> None:
    ensure_certificate(tmp_path)
    tls = '[tls]\ncert = "server-cert.pem"\nkey = "server-key.pem"\nbackend = "required"\n'
    path = written(tmp_path, GOOD + tls)
    assert hproxy_(*command, "-c", path).exit_code == 0
    (tmp_path / "server-cert.pem").write_text("no certificate")
    result = hproxy_(*command, "-c", path)
    assert result.exit_code == 1
    assert "tls.cert: cannot use the certificate" in result.output
    written(tmp_path, GOOD + tls.replace("[tls]", '[tls]\nclient = "off"'))
    assert hproxy_(*command, "-c", path).exit_code == 0
    written(tmp_path, GOOD + '[tls]\nbackend = "verify"\nbackend_ca = "server-cert.pem"\n')
    result = hproxy_(*command, "-c", path)
    assert result.exit_code == 1
    assert "tls.backend_ca: cannot use the CA file" in result.output
    assert served == []


def test_config_writes_the_template(tmp_path: Path) -> None:
    assert hproxy_("config", "-m", "mysql").stdout == template()
    path = tmp_path / "new.toml"
    result = hproxy_("config", "-o", path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert path.read_text() == template()
    assert hproxy_("check", "-c", path).exit_code == 0


def test_config_replaces_a_file_only_when_told(tmp_path: Path) -> None:
    path = written(tmp_path, "mine")
    result = hproxy_("config", "-o", path)
    assert result.exit_code == 1
    assert "is there already (--force replaces it)" in result.stderr
    assert path.read_text() == "mine"
    assert hproxy_("config", "-o", path, "--force").exit_code == 0
    assert path.read_text() == template()
    result = hproxy_("config", "-o", tmp_path / "none" / "x.toml")
    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_a_real_run_serves_until_terminated(tmp_path: Path) -> None:
    """The line "serving" promises that a signal from now on drains and ends with 0."""
    environ = {**os.environ, "HPROXY_SERVER__DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "hproxy.cli.main", "run", "--single"]
    flags = ["--backend", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        try:
            told = until(process, b'"serving"', deadline=time.monotonic() + 20)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    events = [orjson.loads(line)["event"] for line in (told + out).splitlines()]
    assert events[0] == "starting"
    assert events[-1] == "stopped"
    assert (process.returncode, err) == (0, b"")


def until(process: subprocess.Popen[bytes], wanted: bytes, deadline: float) -> bytes:
    """What the process wrote up to and including the line with `wanted`."""
    assert process.stdout is not None
    told = b""
    while wanted not in told or not told.endswith(b"\n"):
        assert time.monotonic() < deadline, told
        if select.select([process.stdout], [], [], 0.5)[0]:
            part = os.read(process.stdout.fileno(), 65_536)
            assert part, told
            told += part
    return told
