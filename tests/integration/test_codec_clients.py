# SPDX-License-Identifier: Apache-2.0
"""The servers' own client programs read what our codecs write, and log in to them."""

from __future__ import annotations

import subprocess

import pytest

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.results import column
from tests.support.codec_server import OFFERED, CodecServer, Result
from tests.support.server import Server

RESULTS = {
    b"SELECT everything": Result(
        [column("i", int), column("f", float), column("s"), column("b", bytes)],
        [(1, 1.5, "größer", b"bytes"), (None, None, None, None), (-7, 1e300, "", b"")],
    ),
}
EXPECTED = "i\tf\ts\tb\n1\t1.5\tgrößer\tbytes\nNULL\tNULL\tNULL\tNULL\n-7\t1e+300\t\t\n"
QUIETLY = {
    "mariadb": ["--skip-ssl"],
    "mysql": ["--ssl-mode=DISABLED", "--get-server-public-key"],
}
MODERN = Capability.DEPRECATE_EOF | Capability.QUERY_ATTRIBUTES


def run(client: Server, server: CodecServer, password: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(client.client), "--no-defaults", "--host=127.0.0.1", f"--port={server.port}",
        "--user=u", f"--password={password}", *QUIETLY[client.name],
        "--default-character-set=utf8mb4", "--batch", "--execute=SELECT everything",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


# Of the hash of "secret" a client's fast answer proves nothing: it must go the full path, RSA.
@pytest.mark.parametrize("secret", ["secret", "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"])
@pytest.mark.parametrize("extra", [Capability(0), MODERN])
def test_client_program(server: Server, secret: str, extra: Capability) -> None:
    with CodecServer(RESULTS, secret=secret, offered=OFFERED | extra) as ours:
        done = run(server, ours, "secret")
    assert done.returncode == 0, done.stderr
    assert done.stdout == EXPECTED
    if server.name == "mysql":
        assert ours.agreed & MODERN == extra


@pytest.mark.parametrize(
    "plugin", [b"mysql_native_password", b"caching_sha2_password", b"client_ed25519"]
)
@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_mariadb_s_client_under_every_plugin(mariadb: Server, plugin: bytes, password: str) -> None:
    with CodecServer(RESULTS, plugin=b"mysql_native_password", account_plugin=plugin) as ours:
        done = run(mariadb, ours, password)
    assert (done.returncode == 0) is (password == "secret"), done.stderr
    assert ("ERROR 1045" in done.stderr) is (password == "wrong")
