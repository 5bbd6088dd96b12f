# SPDX-License-Identifier: Apache-2.0
"""The examples of how it is run are right as far as can be told without systemd, Docker or a
cluster: their own checkers, and what they name is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from hproxy.cli.main import main
from hproxy.config.load import load_config

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
UNITS = sorted((EXAMPLES / "systemd").iterdir())
DOCKERFILE = EXAMPLES / "docker/Dockerfile"
MANIFEST = EXAMPLES / "kubernetes/hproxy.yaml"
PROGRAM = "/opt/hproxy/bin/hproxy"


def manifests() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


def container() -> Any:
    [found] = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


def parse(command: click.Command, name: str, arguments: list[str]) -> None:
    """Raises UsageError for what the command line does not know; nothing is run."""
    if not isinstance(command, click.Group):
        command.make_context(name, arguments)
        return
    context = command.make_context(name, arguments)
    rest = [*context._protected_args, *context.args]
    named, found, rest = command.resolve_command(context, rest)
    assert found is not None
    parse(found, str(named), rest)


def test_units_of_systemd(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace(PROGRAM, sys.executable)
        (tmp_path / unit.name).write_text(text)
    files = [str(tmp_path / unit.name) for unit in UNITS]
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [
        line for line in answer.stderr.splitlines() if str(tmp_path) in line or "hproxy" in line
    ]
    assert (answer.returncode, complaints) == (0, [])


def test_kubernetes_builds() -> None:
    answer = subprocess.run(
        ["kubectl", "kustomize", MANIFEST.parent], capture_output=True, text=True, check=True
    )
    assert answer.stdout.count("\nkind: ") >= 5


def test_kubernetes_configuration_is_accepted(tmp_path: Path) -> None:
    found = manifests()
    file = tmp_path / "hproxy.toml"
    file.write_text(found["ConfigMap"]["data"]["hproxy.toml"])
    environ = {
        name: value
        for name, value in found["Secret"]["stringData"].items()
        if name != "HPROXY_TOKEN"  # of `hproxy ctl`
    }
    load_config(file, {}, environ).require_runnable()


def test_kubernetes_names_that_must_agree() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    ports = {port["name"] for port in container()["ports"]}
    probes = [
        container()[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")
    ]
    assert [probe["path"] for probe in probes] == [
        "/healthz/started",
        "/healthz/ready",
        "/healthz/live",
    ]
    assert {probe["port"] for probe in probes} <= ports
    assert {port["targetPort"] for port in manifests()["Service"]["spec"]["ports"]} <= ports
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container()["volumeMounts"]} == volumes
    secret, token = manifests()["Secret"]["stringData"], "HPROXY_HTTP__TOKEN"
    assert secret[token] == secret["HPROXY_TOKEN"]
    drain = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert int(drain[drain.index("--deadline") + 1]) + 30 < pod["terminationGracePeriodSeconds"]


def test_commands_that_examples_run_are_commands() -> None:
    units = "".join(unit.read_text() for unit in UNITS)
    commands = [shlex.split(line) for line in re.findall(rf"=({PROGRAM}.*)", units)]
    commands.append(["hproxy", *container()["args"]])
    assert len(commands) == 4
    for _, *arguments in commands:
        parse(main, "hproxy", arguments)
    _, *drain = container()["lifecycle"]["preStop"]["exec"]["command"]
    if main.get_command(click.Context(main), drain[0]) is not None:
        parse(main, "hproxy", drain)


def test_dockerfile() -> None:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and line[0] != "#"]
    stages = [rest for word, rest in lines if word == "FROM"]
    assert len(stages) == 2
    assert [rest for word, rest in lines if word == "USER"] == ["10001:10001"]
    for word, rest in lines:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = shlex.split(rest)
            for source in sources:
                assert (ROOT / source).exists(), source
                assert f"\n!{source}\n" in DOCKERFILE.with_suffix(".dockerignore").read_text()
        if word in ("ENTRYPOINT", "CMD"):
            assert re.match(r"\[.*\]$", rest), rest
